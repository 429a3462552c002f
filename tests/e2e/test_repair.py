"""kill -9 of any process of a lab but its first: it is repaired, packets flow again, and an event says so.

Everything is killed in one lab, one after the other, as a curious student would do it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import new_name
from tests.e2e.session import RunningLab, User, place_of
from tests.e2e.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
MANIFEST = (Path(__file__).parent / "manifests" / "echo.yaml").read_text()
CLIENT, SERVICE = "pod/client.repair", "http://echo.repair.svc.cluster.local/clientip"
REPAIRED = 20.0  # seconds until packets flow again and the event is there


@dataclass(frozen=True)
class Inside:
    """A process as the lab's own `ps` shows it."""

    pid: int
    parent: int
    command: str


@pytest.fixture(scope="module")
def lab(me: User) -> Iterator[RunningLab]:
    running = me.up(new_name())
    running.apply(MANIFEST)
    running.ready_pods(3, "repair")
    yield running
    running.down()


def processes(lab: RunningLab) -> list[Inside]:
    lines = lab.output("router", "ps", "-ww", "-eo", "pid=,ppid=,args=").splitlines()
    words = (line.split(None, 2) for line in lines)
    return [Inside(int(pid), int(parent), command) for pid, parent, command in words]


def by_command(pattern: str) -> Callable[[RunningLab], Inside]:
    def find(lab: RunningLab) -> Inside:
        return next(process for process in processes(lab) if re.search(pattern, process.command))

    return find


def balancer_worker(lab: RunningLab) -> Inside:
    everyone = processes(lab)
    masters = {process.pid for process in everyone if "haproxy -W" in process.command}
    return next(process for process in everyone if process.parent in masters)


def of_pod(namespace: str, selector: str, *, container: bool) -> Callable[[RunningLab], Inside]:
    """A pod's first process, which holds the pod's namespaces, or the first process of its container."""

    def find(lab: RunningLab) -> Inside:
        pod = place_of(lab.pods(namespace, selector)[0])
        network = lab.output(pod, "readlink", "/proc/self/ns/net").strip()
        # Both are in the pod's network; a container is in a pid namespace of its own as well.
        script = (
            'for p in /proc/[0-9]*; do [ "$(readlink $p/ns/net)" = "$0" ] && '
            f'[ "$(readlink $p/ns/pid)" {"!=" if container else "="} "$(readlink /proc/1/ns/pid)" ] && '
            "echo ${p#/proc/}; done; true"
        )
        pids = [int(pid) for pid in lab.output("router", "sh", "-c", script, network).split()]
        return next(process for process in processes(lab) if process.pid in pids)

    return find


# What is killed, and the event that tells of it: the kind of object and a word of reason or message.
VICTIMS: dict[str, tuple[Callable[[RunningLab], Inside], tuple[str, str]]] = {
    "a worker's shell": (by_command("mininet:worker1$"), ("Node", "MachineRevived")),
    "the control plane's shell": (by_command("mininet:control-plane$"), ("Node", "MachineRevived")),
    "the router's shell": (by_command("mininet:router$"), ("Node", "MachineRevived")),
    "a load balancer's shell": (by_command("mininet:lb1$"), ("Node", "MachineRevived")),
    "the outside world's shell": (by_command("mininet:outside$"), ("Node", "MachineRevived")),
    "a switch's shell": (by_command("mininet:s1$"), ("Node", "MachineRevived")),
    "the pod runtime": (by_command(r"topo\.forker"), ("Node", "RuntimeRestarted")),
    "a pod": (of_pod("repair", "app=echo", container=False), ("Pod", "SandboxChanged")),
    "a container": (of_pod("repair", "app=echo", container=True), ("Pod", "Started")),
    "a DNS server's pod": (
        of_pod("kube-system", "k8s-app=kube-dns", container=False),
        ("Pod", "SandboxChanged"),
    ),
    "a DNS server": (of_pod("kube-system", "k8s-app=kube-dns", container=True), ("Pod", "Started")),
    "the balancer's master": (by_command("haproxy -W"), ("Node", "haproxy ended")),
    "the balancer's worker": (balancer_worker, ("Node", "haproxy ended")),
    "the outside world's page": (by_command("agnhost netexec --http-port=80 "), ("Node", "ProcessRestarted")),
    "the outside world's name server": (
        by_command(r"netfns\.dns_server .*outside"),
        ("Node", "ProcessRestarted"),
    ),
}


def flows(lab: RunningLab) -> list[str]:
    """The paths that do not answer: pod to service by name, outside to node port and balancer, pod to outside."""
    (service,) = lab.get("service", "echo", "-n", "repair")
    ingress = service["status"]["loadBalancer"].get("ingress") or [{"ip": "203.0.113.254"}]  # nobody's
    balanced = ingress[0]["ip"]
    paths = [
        (CLIENT, SERVICE),
        ("outside", "http://192.168.50.21:30080/clientip"),
        ("outside", "http://192.168.50.22:30080/clientip"),
        ("outside", f"http://{balanced}/clientip"),
        (CLIENT, "http://www.outside.example/clientip"),
    ]
    return [
        f"{source} -> {url}" for source, url in paths if not re.match(r"[\d.]+:\d+", lab.fetch(source, url))
    ]


def told(lab: RunningLab, kind: str, word: str) -> int:
    """How often events have told of something."""
    return sum(
        event.get("count") or 1
        for event in lab.events()
        if event["involvedObject"]["kind"] == kind and word in f"{event['reason']} {event['message']}"
    )


@pytest.mark.parametrize("victim", VICTIMS)
def test_what_is_killed_comes_back_with_an_event(victim: str, lab: RunningLab) -> None:
    find, (kind, word) = VICTIMS[victim]
    wait_until(lambda: not flows(lab), REPAIRED, "a lab that works")
    before, process = told(lab, kind, word), find(lab)
    killed = lab.output("router", "sh", "-c", f"kill -9 {process.pid} && echo killed")
    assert killed == "killed\n"
    wait_until(
        lambda: told(lab, kind, word) > before, REPAIRED, f"an event that tells {word} on a {kind}", every=0.1
    )

    def replaced() -> bool:
        try:
            return find(lab).pid != process.pid
        except (AssertionError, StopIteration, LookupError):
            return False  # not there yet

    wait_until(replaced, REPAIRED, f"another process in place of {victim}", every=0.1)
    try:
        wait_until(lambda: not flows(lab), REPAIRED, every=0.1)
    except AssertionError:
        pytest.fail(f"{victim} was killed; still no answer on {flows(lab)}")


def test_a_killed_pod_comes_back_under_a_new_address(lab: RunningLab) -> None:
    pods = {
        pod["metadata"]["uid"]: pod["status"]["podIP"] for pod in lab.ready_pods(1, "repair", "app=client")
    }
    process = of_pod("repair", "app=client", container=False)(lab)
    lab.output("router", "kill", "-9", str(process.pid))

    def moved() -> bool:
        now = {pod["metadata"]["uid"]: pod["status"].get("podIP") for pod in lab.pods("repair", "app=client")}
        return now.keys() == pods.keys() and set(now.values()).isdisjoint({*pods.values(), None})

    wait_until(moved, REPAIRED, "another address", every=0.1)
    lab.ready_pods(1, "repair", "app=client")


def test_links_and_rules_of_a_machine_survive_its_shell(lab: RunningLab) -> None:
    def picture() -> list[str]:
        return [
            lab.output("node/worker2", *argv)
            for argv in (("ip", "-br", "link"), ("ip", "route"), ("nft", "list", "tables"))
        ]

    before, shell = picture(), by_command("mininet:worker2$")(lab)
    lab.output("router", "kill", "-9", str(shell.pid))
    wait_until(
        lambda: shell.pid not in {p.pid for p in processes(lab)}, REPAIRED, "the shell's end", every=0.1
    )
    wait_until(lambda: lab.exec("node/worker2", "true").returncode == 0, REPAIRED, "a way in", every=0.1)
    assert picture() == before
