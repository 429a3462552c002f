"""Ordinary Kubernetes manifests become Ready here as anywhere, and the four communication types hold on them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.session import READY, RunningLab, place_of
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
MANIFESTS = Path(__file__).parent / "manifests"
NODES = ("192.168.50.10", "192.168.50.21", "192.168.50.22")
SPACE = "second-set"
UDP = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(2)
client.sendto(b"hostname", (sys.argv[1], int(sys.argv[2])))
print(client.recv(100).decode().strip())
"""


@pytest.fixture(scope="module")
def cluster(lab: RunningLab) -> Iterator[RunningLab]:
    """The shared lab with both manifests, in a namespace of their own."""
    lab.apply(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SPACE}}}\n")
    for name in ("guestbook", "shapes"):
        lab.kubectl("apply", "-n", SPACE, "-f", str(MANIFESTS / f"{name}.yaml"))
    lab.ready_pods(7, SPACE)
    lab.settle(SPACE)
    wait_until(lambda: lab.fetch(f"pod/many.{SPACE}", "http://frontend/hostname"), READY, "names of services")
    yield lab
    lab.kubectl("delete", "namespace", SPACE)


def service(lab: RunningLab, name: str) -> dict[str, Any]:
    (found,) = lab.get("service", name, "-n", SPACE)
    return found


def frontends(lab: RunningLab) -> list[dict[str, Any]]:
    return lab.ready_pods(3, SPACE, "tier=frontend")


def answers(lab: RunningLab, source: str, url: str, wanted: set[str]) -> None:
    """Assert that within a while every one of `wanted` has answered at `url`, and nobody else."""
    seen: set[str] = set()

    def all_seen() -> bool:
        seen.add(lab.fetch(source, url))
        return seen >= wanted

    wait_until(all_seen, READY, f"answers of {wanted}")
    assert seen == wanted


# ---------------------------------------------------------------- containers of one pod


def test_containers_of_a_pod_share_network_and_volume(cluster: RunningLab) -> None:
    pair = f"pod/pair.{SPACE}"
    assert (
        cluster.exec(pair, "curl", "-s", "http://localhost:8080/hostname", container="side").stdout == "left"
    )
    assert cluster.output(pair, "readlink", "/proc/self/ns/net") == cluster.output(
        pair, "readlink", "/proc/self/ns/net", container="side"
    )
    cluster.output(pair, "sh", "-c", "echo hello > /shared/note", container="web")
    assert cluster.output(pair, "cat", "/elsewhere/note", container="side") == "hello\n"
    cluster.output(pair, "sh", "-c", "echo own > /tmp/own", container="web")
    assert cluster.exec(pair, "cat", "/tmp/own", container="side").returncode == 1


def test_a_pod_has_names_of_its_own(cluster: RunningLab) -> None:
    pair = f"pod/pair.{SPACE}"
    (pod,) = cluster.pods(SPACE, "app=pair")
    address = pod["status"]["podIP"]
    hosts = cluster.output(pair, "cat", "/etc/hosts", container="side")
    assert f"{address}\tleft.hands.{SPACE}.svc.cluster.local\tleft\n" in hosts
    assert "192.0.2.1\tfriend\n" in hosts
    assert cluster.output(pair, "hostname", container="side") == "left\n"
    resolv = cluster.output(pair, "cat", "/etc/resolv.conf", container="side").splitlines()
    assert resolv == [
        f"search {SPACE}.svc.cluster.local svc.cluster.local cluster.local",
        "nameserver 10.96.0.10",
        "options ndots:5",
    ]
    client = place_of(frontends(cluster)[0])
    wait_until(lambda: cluster.fetch(client, f"http://left.hands.{SPACE}:8080/hostname") == "left", READY)


# ---------------------------------------------------------------- pod to pod


def test_pods_see_each_others_own_addresses(cluster: RunningLab) -> None:
    pods = frontends(cluster)
    assert {pod["spec"]["nodeName"] for pod in pods} == {"worker1", "worker2"}
    for source in pods:
        for target in pods:
            seen = cluster.fetch(place_of(source), f"http://{target['status']['podIP']}/clientip")
            assert seen.rpartition(":")[0] == source["status"]["podIP"], (source["metadata"], seen)


def test_a_headless_name_is_the_addresses_of_its_pods(cluster: RunningLab) -> None:
    wanted = {pod["status"]["podIP"] for pod in frontends(cluster)}
    name = f"each-frontend.{SPACE}.svc.cluster.local"

    def addresses() -> set[str]:
        found = cluster.exec(place_of(frontends(cluster)[0]), "getent", "ahostsv4", name).stdout
        return {line.split()[0] for line in found.splitlines()}

    wait_until(lambda: addresses() == wanted, READY, f"{name} is {wanted}")


# ---------------------------------------------------------------- pod to service


def test_every_endpoint_answers_behind_a_service(cluster: RunningLab) -> None:
    names = {pod["metadata"]["name"] for pod in frontends(cluster)}
    client = f"pod/many.{SPACE}"
    for host in (
        "frontend",
        f"frontend.{SPACE}.svc.cluster.local",
        service(cluster, "frontend")["spec"]["clusterIP"],
    ):
        answers(cluster, client, f"http://{host}/hostname", names)


def test_a_service_of_another_protocol_and_port(cluster: RunningLab) -> None:
    client = place_of(frontends(cluster)[0])
    ping = r"exec 3<>/dev/tcp/leader/6379; printf 'PING\r\n' >&3; head -1 <&3"
    assert cluster.output(client, "bash", "-c", ping).strip() == "+PONG"
    for port in (80, 8000):
        assert cluster.fetch(client, f"http://many:{port}/hostname") == "many"
    echo = service(cluster, "echo")["spec"]
    assert udp(cluster, client, echo["clusterIP"], 7) == "many"


def udp(lab: RunningLab, machine: str, address: str, port: int) -> str:
    done = lab.exec(machine, "python3", "-c", UDP, address, str(port))
    return done.stdout.strip() if done.returncode == 0 else done.stderr


def test_an_image_that_nobody_knows_stands_in_and_says_so(cluster: RunningLab) -> None:
    assert "unknown" in cluster.fetch(f"pod/many.{SPACE}", "http://unknown/")
    events = [
        event for event in cluster.get("events", "-n", SPACE) if event["involvedObject"]["name"] == "unknown"
    ]
    assert any("nobody-knows-it" in event["message"] for event in events), events


def test_an_external_name_leads_outside(cluster: RunningLab) -> None:
    client = f"pod/many.{SPACE}"
    assert cluster.fetch(client, "http://elsewhere/hostname") == "outside"
    (node,) = {pod["status"]["hostIP"] for pod in cluster.pods(SPACE, "app=many")}
    seen = cluster.fetch(client, "http://elsewhere/clientip")
    assert seen.rpartition(":")[0] == node, "outside sees the node, not the pod"


# ---------------------------------------------------------------- outside to service


def test_outside_reaches_node_ports_and_balancer_but_no_cluster_address(cluster: RunningLab) -> None:
    names = {pod["metadata"]["name"] for pod in frontends(cluster)}
    port = service(cluster, "frontend")["spec"]["ports"][0]["nodePort"]
    for node in NODES:
        answers(cluster, "outside", f"http://{node}:{port}/hostname", names)
    echo = service(cluster, "echo")["spec"]["ports"][0]["nodePort"]
    assert udp(cluster, "outside", NODES[1], echo) == "many"
    balanced = wait_until(lambda: service(cluster, "many")["status"]["loadBalancer"].get("ingress"), READY)[
        0
    ]["ip"]
    for number in (80, 8000):
        wait_until(partial(cluster.fetch, "outside", f"http://{balanced}:{number}/hostname"), READY, "served")
        assert cluster.fetch("outside", f"http://{balanced}:{number}/hostname") == "many"
    assert cluster.fetch("outside", f"http://{service(cluster, 'frontend')['spec']['clusterIP']}/") == ""


# ---------------------------------------------------------------- replicas


def test_a_lost_pod_is_replaced_and_no_request_fails_after_that(cluster: RunningLab) -> None:
    lost, *others = frontends(cluster)
    cluster.kubectl("delete", "pod", lost["metadata"]["name"], "-n", SPACE)
    now = frontends(cluster)
    assert lost["metadata"]["uid"] not in {pod["metadata"]["uid"] for pod in now}
    (new,) = ({pod["status"]["podIP"] for pod in now}) - {pod["status"]["podIP"] for pod in others}
    assert new != lost["status"]["podIP"]
    loop = "for i in $(seq 60); do curl -s --max-time 2 -o /dev/null -w '%{http_code} ' http://frontend/ || true; done"
    codes = cluster.output(f"pod/many.{SPACE}", "sh", "-c", loop).split()
    assert codes == ["200"] * 60


def test_replicas_follow_the_deployment(cluster: RunningLab) -> None:
    manifest = MANIFESTS.joinpath("guestbook.yaml").read_text()
    for count in (5, 1, 3):
        changed = manifest.replace("replicas: 3", f"replicas: {count}")
        cluster.kubectl("apply", "-n", SPACE, "-f", "-", stdin=changed)
        cluster.ready_pods(count, SPACE, "tier=frontend")

    def available() -> bool:  # told by the ReplicaSet's status, some time after its pods are Ready
        (deployment,) = cluster.get("deployment", "frontend", "-n", SPACE)
        return bool(deployment["status"].get("availableReplicas") == 3)

    wait_until(available, READY, "3 available replicas")


def test_what_is_applied_twice_is_unchanged(cluster: RunningLab) -> None:
    """kubectl says `configured` of a pod with volumes all the same: its service account's, which the manifest does not
    name, stands in that list too. What counts is that nothing is another.
    """

    def specs() -> list[dict[str, Any]]:
        return [obj["spec"] for kind in ("pods", "services") for obj in cluster.get(kind, "-n", SPACE)]

    before = specs()
    printed = cluster.kubectl("apply", "-n", SPACE, "-f", str(MANIFESTS / "shapes.yaml"))
    said = dict(line.split() for line in printed.splitlines())
    assert set(said.values()) <= {"unchanged", "configured"}
    assert {name for name, word in said.items() if word == "configured"} <= {"pod/pair"}
    assert specs() == before
