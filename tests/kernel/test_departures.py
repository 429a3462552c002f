"""The kernel tells that a pod's port is gone when its namespace is, and tells nothing else."""

import json
import sys

import pytest

from tests.kernel.cluster import REPOSITORY, Machine

pytestmark = pytest.mark.kernel
# On the node: a bridge with a port, which is up and whose peer is in another namespace. What is told, step by step.
STEPS = """
import json, select, subprocess, sys
sys.path.insert(0, sys.argv[1])
from topo.departures import Departures



def run(*lines):
    subprocess.run(["ip", "-batch", "-"], input="\\n".join(lines), text=True, check=True)

def holder():
    return subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE)

def make(name, pid):
    run(f"link add {name} master cni0 up type veth peer name eth0 netns {pid}", f"link set {name} alias x/{name}")

departures, told = Departures(), {}
run("link add cni0 type bridge", "link set cni0 up")
first, second = holder(), holder()
first.stdout.readline(), second.stdout.readline()
make("one", first.pid)
make("two", second.pid)
told["made"] = departures.read()
run("link set one nomaster")
told["off the bridge"] = departures.read()
first.kill(), first.wait()
told["readable"] = bool(select.select([departures], [], [], 20)[0])
told["ended"] = departures.read()
told["there"] = [departures.has(name) for name in ("one", "two")]
run("link del two")
told["deleted"] = departures.read()
second.kill(), second.wait()

print(json.dumps(told))
"""


def test_departures_are_told_when_a_device_is_gone(kernel: Machine) -> None:
    told = json.loads(kernel.run([sys.executable, "-c", STEPS, str(REPOSITORY)]))
    assert told == {
        "made": [],
        "off the bridge": [],
        "readable": True,
        "ended": ["one"],
        "there": [False, True],
        "deleted": ["two"],
    }
