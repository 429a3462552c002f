"""Services in a lab: nothing is lost while pods come and go, policies hold, and what is broken comes back."""

import itertools
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kubectl import Kubectl
from tests.e2e.session import RunningLab
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
HERE = Path(__file__).parent
MANIFEST = (HERE / "manifests" / "services.yaml").read_text()
CLIENT = (HERE / "service_client.py").read_text()
SPACE = "services"
WORKER1, WORKER2 = "192.168.50.21", "192.168.50.22"
SOON = 15.0  # seconds
Answers = list[tuple[float, str]]


@pytest.fixture(scope="module")
def served(lab: RunningLab) -> Iterator[RunningLab]:
    lab.apply(MANIFEST)
    lab.ready_pods(4, SPACE)
    yield lab
    lab.delete(MANIFEST)


@pytest.fixture
def kubectl(served: RunningLab) -> Kubectl:
    return Kubectl.of(served, SPACE)


def spec(lab: RunningLab, name: str) -> dict[str, Any]:
    (found,) = lab.get("services", name, "-n", SPACE)
    return dict(found["spec"])


@contextmanager
def asking(
    lab: RunningLab, kind: str, address: str, machine: str = "node/control-plane"
) -> Iterator[Callable[[], Answers]]:
    """A client asks during the block; call what is yielded to end it and have its answers."""
    argv = ["python3", "-c", CLIENT, kind, address, "80"]
    process = lab.user.start(
        "exec", "--name", lab.name, "node/control-plane", "--", *argv, stdin=subprocess.PIPE
    )
    assert process.stderr
    assert process.stderr.readline() == "asking\n"

    def answers() -> Answers:
        stdout, stderr = process.communicate("", timeout=20)
        assert process.returncode == 0, stderr
        return [(moment, answer) for moment, answer in json.loads(stdout)]

    try:
        yield answers
    finally:
        process.kill()
        process.wait()


def failures(answers: Answers) -> Answers:
    return [(moment, answer) for moment, answer in answers if answer.startswith("!")]


def test_a_rolling_update_under_load_loses_no_request(served: RunningLab, kubectl: Kubectl) -> None:
    before = {pod["metadata"]["name"] for pod in served.pods(SPACE, "app=web")}
    with asking(served, "http", spec(served, "web")["clusterIP"]) as answers:
        kubectl.output("rollout", "restart", "deployment/web")
        kubectl.output("rollout", "status", "deployment/web", "--timeout=60s")
        wait_until(lambda: len(served.get("pods", "-n", SPACE, "-l", "app=web")) == 3, 30, "old pods gone")
        found = answers()
    assert failures(found) == []
    assert len(found) > 100
    answered = {answer for _, answer in found}
    assert answered & before, "none of the old pods was asked"
    assert answered - before, "none of the new pods was asked"


@pytest.mark.alone
def test_the_last_wrong_packet_comes_within_a_second_of_a_pods_death(served: RunningLab) -> None:
    victim, *_ = served.ready_pods(3, SPACE, "app=web")
    with asking(served, "http", spec(served, "web")["clusterIP"]) as answers:
        died = time.time()
        served.kubectl(
            "delete", "pod", "-n", SPACE, victim["metadata"]["name"], "--grace-period=0", "--force"
        )
        served.ready_pods(3, SPACE, "app=web")
        found = answers()
    wrong = failures(found)
    assert not wrong or wrong[-1][0] - died < 1.5, (
        f"{len(wrong)} failures, the last after {wrong[-1][0] - died:.2f} s"
    )
    assert wrong == [] or wrong[-1][0] - wrong[0][0] < 1.0


@pytest.mark.alone
def test_a_udp_flow_goes_on_with_a_living_endpoint(served: RunningLab) -> None:
    served.ready_pods(3, SPACE, "app=web")
    with asking(served, "udp", spec(served, "web")["clusterIP"]) as answers:
        before = {pod["metadata"]["name"] for pod in served.pods(SPACE, "app=web")}
        for name in before:
            served.kubectl("delete", "pod", "-n", SPACE, name, "--grace-period=0", "--force")
        served.ready_pods(3, SPACE, "app=web")
        moment = time.time()
        wait_until(lambda: time.time() > moment + 1.0, 5)  # what is asked after this must be answered
        found = answers()
    late = [answer for when, answer in found if when > moment + 0.5]
    assert late
    assert not [answer for answer in late if answer.startswith("!") or answer in before]


def test_a_client_keeps_its_endpoint(served: RunningLab) -> None:
    served.ready_pods(3, SPACE, "app=web")
    port = spec(served, "sticky")["ports"][0]["nodePort"]
    urls = [f"http://{WORKER1}:{port}/hostname"] * 12
    seen = {served.fetch("outside", url) for url in urls}
    assert len(seen) == 1
    assert "" not in seen


def test_policy_local_keeps_the_client_and_names_the_nodes_that_serve(served: RunningLab) -> None:
    said = spec(served, "local")
    port, health = said["ports"][0]["nodePort"], said["healthCheckNodePort"]
    wait_until(lambda: served.fetch("outside", f"http://{WORKER1}:{health}/"), SOON)
    assert json.loads(served.fetch("outside", f"http://{WORKER1}:{health}/"))["localEndpoints"] == 1
    status = served.output(
        "outside", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{WORKER2}:{health}/"
    )
    assert status == "503"
    assert served.fetch("outside", f"http://{WORKER1}:{port}/clientip").startswith("203.0.113.10:")
    assert served.fetch("outside", f"http://{WORKER2}:{port}/clientip") == "", "worker2 has no endpoint"
    (service,) = served.get("services", "local", "-n", SPACE)
    balanced = service["status"]["loadBalancer"]["ingress"][0]["ip"]

    def turns() -> list[str]:
        """The answers of more turns than there are nodes, up to the first that is missing."""
        pages = (served.fetch("outside", f"http://{balanced}/hostname") for _ in range(4))
        return list(itertools.takewhile(bool, pages))

    wait_until(lambda: len(turns()) == 4, SOON, "the balancer knows which nodes serve")
    assert turns() == ["lone"] * 4, "the balancer asks only nodes that serve"


def test_a_service_without_selector_follows_its_slices(served: RunningLab, kubectl: Kubectl) -> None:
    url = f"http://{spec(served, 'by-hand')['clusterIP']}/hostname"
    refused = served.exec("node/worker2", "curl", "-s", "--max-time", "5", url)
    assert refused.returncode == 7, "without endpoints: refused at once"
    (lone,) = served.pods(SPACE, "app=lone")
    by_hand = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "by-hand", "labels": {"kubernetes.io/service-name": "by-hand"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": [lone["status"]["podIP"]]}],
    }
    kubectl.output("apply", "-f", "-", stdin=json.dumps(by_hand).encode())
    wait_until(lambda: served.fetch("node/worker2", url) == "lone", SOON)
    kubectl.output("delete", "endpointslice", "by-hand")
    wait_until(
        lambda: served.exec("node/worker2", "curl", "-s", "--max-time", "5", url).returncode == 7, SOON
    )


def test_rules_that_somebody_flushed_come_back(served: RunningLab) -> None:
    url = f"http://{spec(served, 'web')['clusterIP']}/hostname"
    served.output("node/worker2", "nft", "flush", "ruleset")
    wait_until(lambda: served.fetch("node/worker2", url).startswith("web-"), SOON)
    assert "masquerading" in served.output("node/worker2", "nft", "list", "tables")


def service(name: str = "bad", **said: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}], **said},
    }


def endpoint_slice(address_type: str, *addresses: str) -> dict[str, Any]:
    kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "bad"}}
    return {**kind, "addressType": address_type, "endpoints": [{"addresses": list(addresses)}]}


TWICE = [{"name": "a", "port": 80}, {"name": "b", "port": 80}]
OUT_OF_RANGE = "failed to allocate IP 10.97.0.1: the provided IP (10.97.0.1) is not in the valid range"
BAD: list[tuple[dict[str, Any], str]] = [
    (
        service(ports=[{"port": 70000}]),
        "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535",
    ),
    (service(ports=TWICE), "spec.ports[1]: Duplicate value"),
    (service(clusterIP="10.97.0.1"), f'spec.clusterIPs: Invalid value: ["10.97.0.1"]: {OUT_OF_RANGE}'),
    (service(clusterIP="10.96.0.1"), "failed to allocate IP 10.96.0.1: provided IP is already allocated"),
    (
        service(type="NodePort", ports=[{"port": 80, "nodePort": 80}]),
        "The range of valid ports is 30000-32767",
    ),
    (service("9bad"), "a DNS-1035 label must consist of"),
    (service(externalIPs=["127.0.0.1"]), "may not be in the loopback range"),
    (service(externalTrafficPolicy="Local"), "may only be set for externally-accessible services"),
    (
        endpoint_slice("IPv4", "fd00::1"),
        'endpoints[0].addresses[0]: Invalid value: "fd00::1": must be a valid IPv4',
    ),
    (
        endpoint_slice("IPv6", "10.0.0.1"),
        'endpoints[0].addresses[0]: Invalid value: "10.0.0.1": must be a valid IPv6',
    ),
]


def test_bad_input_is_refused_as_kubernetes_refuses_and_disturbs_nobody(
    served: RunningLab, kubectl: Kubectl
) -> None:
    taken = spec(served, "sticky")["ports"][0]["nodePort"]
    node_port = (
        service(type="NodePort", ports=[{"port": 80, "nodePort": taken}]),
        "provided port is already allocated",
    )
    for obj, complaint in [*BAD, node_port]:
        done = kubectl.run("create", "-f", "-", stdin=json.dumps(obj).encode())
        assert done.returncode == 1, obj
        assert complaint in done.stderr.decode()
    assert served.fetch("node/worker1", f"http://{spec(served, 'web')['clusterIP']}/hostname").startswith(
        "web-"
    )


def test_two_services_with_one_external_address_disturb_nobody(served: RunningLab, kubectl: Kubectl) -> None:
    """The first has the address, the second works but for it, and an event tells."""
    for name in ("first", "second"):
        wants = service(
            name,
            externalIPs=[WORKER1],
            selector={"app": "lone"},
            ports=[{"port": 8088, "targetPort": "http"}],
        )
        kubectl.output("create", "-f", "-", stdin=json.dumps(wants).encode())
    wait_until(lambda: served.fetch("outside", f"http://{WORKER1}:8088/hostname") == "lone", SOON)
    second = f"http://{spec(served, 'second')['clusterIP']}:8088/hostname"
    wait_until(lambda: served.fetch("node/worker2", second) == "lone", SOON)
    told = f"{WORKER1}: port 8088/TCP is services/first's"
    wait_until(lambda: [e for e in served.events() if told in (e.get("note") or e.get("message", ""))], SOON)
    kubectl.output("delete", "service", "first", "second")
