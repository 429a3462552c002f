"""The same text, by `ip -batch` and by topo.netlink, leaves the same links, addresses and routes in the kernel."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.cluster import REPOSITORY, Sandbox, new_machine

pytestmark = pytest.mark.kernel
NODE = """
link add v1 mtu 1450 address 02:00:00:00:01:01 master cni0 up type veth peer name eth0 mtu 1450 netns PID
link set dev v1 alias "pod default/web" addrgenmode none
link set v1 type bridge_slave hairpin on
link add v2 address 02:00:00:00:02:01 type veth peer name v3 address 02:00:00:00:02:02 netns PID
link set v2 mtu 1400 master cni0 down
link add v4 type veth peer name v5 netns PID
link add v6 numtxqueues 1 numrxqueues 1 type veth peer name v7 numtxqueues 3 netns PID
link del v4
addr add fd00:244:0:1::1/64 dev cni0 nodad
route add 10.96.0.0/16 dev cni0
route add 10.244.2.0/24 via 10.244.2.9 dev cni0 onlink
"""
POD = """
link set lo up   # the loopback
link set eth0 mtu 1440
link set eth0 addrgenmode none
link set eth0 up
addr add 10.244.1.2/24 dev eth0
addr add fd00:244:0:1::2/64 dev eth0 nodad
route add default via 10.244.1.1 dev eth0
route add default via fd00:244:0:1::1 dev eth0
"""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox()
    yield made
    made.close()


def left_by(sandbox: Sandbox, way: str, node: str = NODE, pod: str = POD) -> dict[str, Any]:
    machine = new_machine(sandbox, way)
    script = Path(__file__).with_name("netlink_state.py")
    argv = ["env", f"PYTHONPATH={REPOSITORY}", sys.executable, str(script), way]
    found: dict[str, Any] = json.loads(machine.run(argv, json.dumps({"node": node, "pod": pod})))
    return found


def test_both_ways_leave_the_same(sandbox: Sandbox) -> None:
    expected = left_by(sandbox, "ip")
    assert left_by(sandbox, "netlink") == expected
    links = {link["ifname"]: link for link in (*expected["node"]["links"], *expected["pod"]["links"])}
    assert (links["v1"]["hairpin"], links["v1"]["ifalias"]) == (True, "pod default/web"), (
        "the texts did something"
    )
    assert (links["v2"]["mtu"], links["v2"]["up"], links["eth0"]["up"]) == (1400, False, True)
    queues = {name: (links[name]["num_tx_queues"], links[name]["num_rx_queues"]) for name in ("v6", "v7")}
    assert (queues["v6"], queues["v7"][0]) == ((1, 1), 3)
    assert len(expected["pod"]["routes"]) >= 4


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("addr add 10.244.1.1/24 dev cni0", "File exists"),
        ("link set v9 up", "Cannot find device v9"),
        ("route add 10.0.0.0/8 via 172.16.0.1 dev cni0", "unreachable"),
    ],
)
def test_a_refused_line_is_told_with_its_reason(sandbox: Sandbox, line: str, reason: str) -> None:
    error = left_by(sandbox, "netlink", node=line)["error"]
    assert reason in error
    assert line in error or "device" in error
