"""The Python balancer on lb2, beside HAProxy on lb1: whom it serves, with which rights, and what a kill does."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.session import RunningLab
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
NAMESPACE = "python-balancer"
SERVED = 15.0  # seconds
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: python-balancer}}
spec:
  type: LoadBalancer
  {extra}
  selector: {{app: echo}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
"""
MANIFEST = (
    """\
apiVersion: v1
kind: Namespace
metadata: {name: python-balancer}
---
apiVersion: v1
kind: Pod
metadata: {name: echo, namespace: python-balancer, labels: {app: echo}}
spec:
  containers: [{name: echo, image: registry.k8s.io/e2e-test-images/agnhost:2.47, args: [netexec]}]
---
"""
    + SERVICE.format(name="python", extra="loadBalancerClass: minipod.dev/python")
    + SERVICE.format(name="haproxy", extra="")
    + SERVICE.format(name="foreign", extra="loadBalancerClass: example.com/other")
)


@pytest.fixture
def served(either_lab: RunningLab) -> Iterator[RunningLab]:
    either_lab.apply(MANIFEST)
    either_lab.ready_pods(1, NAMESPACE)
    yield either_lab
    either_lab.delete(MANIFEST)


def address(lab: RunningLab, name: str) -> str:
    (service,) = lab.get("service", name, "-n", NAMESPACE)
    ingress = service["status"].get("loadBalancer", {}).get("ingress", [])
    return str(ingress[0]["ip"]) if ingress else ""


def control(lab: RunningLab, path: str) -> str:
    where = ("--unix-socket", "/run/minipod/files/lb2/balancer.sock")
    return lab.output("lb/lb2", "curl", "-s", "--max-time", "2", *where, f"http://lb2{path}")


def servers(lab: RunningLab) -> list[dict[str, Any]]:
    """The servers of the only Service that the balancer serves, as it tells of them."""
    (frontend,) = json.loads(control(lab, "/stat.json"))["frontends"]
    return list(frontend["servers"])


def up(lab: RunningLab) -> set[str]:
    return {server["node"] for server in servers(lab) if server["status"] == "UP"}


def notes(lab: RunningLab) -> list[str]:
    return [event.get("note") or event.get("message", "") for event in lab.events()]


def process(lab: RunningLab) -> str:
    """The confined process; its launcher, which has the same command line, is older."""
    return lab.output("lb/lb2", "pgrep", "-n", "-f", "agents.python_balancer_process import main").strip()


def test_it_serves_its_class_without_rights_and_is_started_again(served: RunningLab) -> None:
    def answered() -> bool:
        found = address(served, "python")
        return bool(found) and served.fetch("outside", f"http://{found}/hostname") == "echo"

    wait_until(answered, SERVED, "an answer through lb2", every=0.1)
    wait_until(lambda: address(served, "haproxy"), SERVED, "an address on lb1", every=0.1)
    addresses = [address(served, name) for name in ("python", "haproxy", "foreign")]
    assert addresses[0] != addresses[1]
    assert addresses[2] == "", "another class is left alone"
    held = served.output("lb/lb2", "ip", "-br", "address", "show", "dev", "eth0")
    assert f"{addresses[0]}/32" in held
    assert f"{addresses[1]}/32" not in held

    url = f"http://{addresses[0]}/hostname"
    wait_until(
        lambda: up(served) == {"control-plane", "worker1", "worker2"}, SERVED, "all servers", every=0.1
    )
    before = {server["node"]: server["total"] for server in servers(served)}
    loop = f"for i in 1 2 3 4 5 6; do curl -s --max-time 2 {url} || exit 1; done"
    assert served.output("outside", "sh", "-c", loop) == "echo" * 6
    assert {server["total"] - before[server["node"]] for server in servers(served)} == {2}, (
        "equally many each"
    )
    assert "203.0.113.10:" in control(served, "/log"), "the client's own address is in the log"

    pid = process(served)
    rights = served.output("lb/lb2", "grep", "-E", "^(Cap|NoNewPrivs|Seccomp:)", f"/proc/{pid}/status")
    assert set(rights.split()[1::2]) == {"0" * 16, "1", "2"}, "no capability, none to come, a filter"
    lb2, its = (served.output("lb/lb2", "readlink", f"/proc/{who}/ns/net") for who in ("self", pid))
    assert its == lb2

    served.output("lb/lb2", "kill", "-9", pid)
    wait_until(answered, SERVED, "an answer of the next process", every=0.1)
    ended = "the Python balancer ended with status 137: it is started again"
    wait_until(lambda: any(ended in note for note in notes(served)), SERVED, "an event that tells it")


def test_an_address_that_haproxy_had_is_served_at_once(lab: RunningLab) -> None:
    def answered(name: str) -> bool:
        return lab.fetch("outside", "http://192.168.50.219/hostname") == "echo" and bool(address(lab, name))

    fixed = "loadBalancerIP: 192.168.50.219"
    first = SERVICE.format(name="before", extra=fixed)
    second = SERVICE.format(name="after", extra=f"{fixed}\n  loadBalancerClass: minipod.dev/python")
    lab.apply(MANIFEST)
    try:
        lab.ready_pods(1, NAMESPACE)
        lab.apply(first)
        wait_until(partial(answered, "before"), SERVED, "an answer through lb1", every=0.1)
        lab.delete(first)
        lab.apply(second)
        wait_until(partial(answered, "after"), SERVED, "an answer through lb2", every=0.1)
        assert not [note for note in notes(lab) if "192.168.50.219: not free" in note], (
            "it was only waited for"
        )
    finally:
        lab.delete(MANIFEST)


def test_it_asks_nodes_for_their_health_and_keeps_to_source_ranges(lab: RunningLab) -> None:
    def answered() -> bool:
        found = address(lab, "python")
        return bool(found) and lab.fetch("outside", f"http://{found}/hostname") == "echo"

    def answers_as(wanted: bool) -> bool:
        return answered() == wanted

    lab.apply(MANIFEST)
    try:
        (pod,) = lab.ready_pods(1, NAMESPACE)
        wait_until(answered, SERVED, "an answer through lb2", every=0.1)
        wait_until(lambda: len(up(lab)) == 3, SERVED, "three servers by policy Cluster", every=0.1)
        spec = '{"spec": {"externalTrafficPolicy": "Local"}}'
        lab.kubectl("patch", "service", "python", "-n", NAMESPACE, "-p", spec)
        wait_until(lambda: up(lab) == {pod["spec"]["nodeName"]}, SERVED, "the pod's node alone", every=0.1)
        assert all(answered() for _ in range(6))
        for ranges, open_ in (("192.0.2.0/24", False), ("203.0.113.0/24", True)):
            spec = f'{{"spec": {{"loadBalancerSourceRanges": ["{ranges}"]}}}}'
            lab.kubectl("patch", "service", "python", "-n", NAMESPACE, "-p", spec)
            wait_until(partial(answers_as, open_), SERVED, f"{ranges}: {open_}", every=0.1)
        assert "refused: the sender is in none of the source ranges" in control(lab, "/log")
    finally:
        lab.delete(MANIFEST)


STUDENT = """
from netfns.balancer_types import ServerState

def choose(servers, last):
    return len(servers) - 1

def checked(state, passed, rise, fall):
    return open("/etc/passwd")

def reload(servers, wanted):
    return tuple(ServerState(server) for server in wanted)
"""


def test_a_students_file_decides_behind_the_walls(lab: RunningLab, tmp_path: Path) -> None:
    file = tmp_path / "python_balancer.py"
    file.write_text(STUDENT)
    lab.apply(MANIFEST)
    lab.ready_pods(1, NAMESPACE)
    try:
        lab.minipod("netfn", f"python_balancer={file}")
        wait_until(lambda: address(lab, "python"), SERVED, "an address")
        lab.settle(NAMESPACE)
        for _ in range(4):
            assert lab.fetch("outside", f"http://{address(lab, 'python')}/hostname") == "echo"
        assert [server["total"] for server in servers(lab)] == [0, 0, 4]
        (mistake,) = wait_until(
            lambda: json.loads(control(lab, "/stat.json"))["mistakes"], SERVED, "a check of a server"
        )
        assert mistake.startswith("checked: FileNotFoundError"), "the machine's files are not there"
        wait_until(lambda: mistake in notes(lab), SERVED, "an event that tells it")
    finally:
        assert lab.minipod("netfn", "python_balancer=reference").returncode == 0
        lab.delete(MANIFEST)
