"""`minipod explain`: an object at each arrow, and what differs between wanted and held."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.session import RunningLab
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
NAMESPACE = "explained"
MANIFEST = """\
apiVersion: v1
kind: Namespace
metadata: {name: explained}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: explained, labels: {app: web}}
spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: nginx}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: explained}
spec: {type: NodePort, selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: old, namespace: explained}
spec: {type: ExternalName, externalName: www.outside.example}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: open, namespace: explained}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{}]}
"""


@pytest.fixture(scope="module")
def explained(lab: RunningLab) -> Iterator[RunningLab]:
    lab.apply(MANIFEST)
    lab.ready_pods(1, NAMESPACE)
    yield lab
    lab.delete(MANIFEST)


def story(lab: RunningLab, *words: str) -> dict[str, Any]:
    done = lab.minipod("explain", *words, "-o", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def step(found: dict[str, Any], name: str) -> Any:
    return next(one["data"] for one in found["steps"] if one["name"] == name)


def whole(lab: RunningLab, *words: str) -> dict[str, Any]:
    """The story once nothing differs: agents may be a moment behind."""
    found: dict[str, Any] = {}

    def settled() -> bool:
        nonlocal found
        found = story(lab, *words)
        return bool(found["differences"] == 0)

    wait_until(settled, 10.0, f"no difference in {words}", every=0.1)
    return found


def test_a_service_from_its_manifest_to_its_packets(explained: RunningLab) -> None:
    (service,) = explained.get("service", "web", "-n", NAMESPACE)
    (pod,) = explained.pods(NAMESPACE)
    address, pod_address = service["spec"]["clusterIP"], pod["status"]["podIP"]
    wait_until(
        lambda: explained.fetch("node/worker1", f"http://{address}/"),
        10.0,
        "an answer of the service",
        every=0.1,
    )
    found = whole(explained, "service/web.explained")
    assert step(found, "object")["spec"]["selector"] == {"app": "web"}
    assert step(found, "slices")[0]["endpoints"][0]["addresses"] == [pod_address]
    assert step(found, "record")["cluster_ips"] == [address]
    assert f"{NAMESPACE}/web" in step(found, "text")
    assert any(address in row["line"] for row in step(found, "kernel"))
    assert {(one["to"], one["answered_by"]) for one in step(found, "packets")} >= {
        (f"{address}:80", f"{pod_address}:80")
    }
    assert f"web.{NAMESPACE}.svc.cluster.local. 5 IN A {address}" in [
        row["line"] for row in step(found, "names")
    ]
    assert {a["answer"] for a in step(found, "answers") if a["type"] == "A"} == {f"NOERROR {address}"}
    shown = explained.minipod("explain", "svc/web", "-n", NAMESPACE, "--node", "worker2").stdout
    assert "seen at node worker2" in shown
    assert "everything that is wanted is there, and nothing else" in shown


def test_a_name_only_has_no_rules(explained: RunningLab) -> None:
    found = whole(explained, "service/old.explained")
    assert step(found, "record") is None
    assert [row["line"] for row in step(found, "names")] == [
        f"old.{NAMESPACE}.svc.cluster.local. 5 IN CNAME www.outside.example."
    ]
    assert {a["answer"] for a in step(found, "answers") if a["type"] == "A"} == {
        "NOERROR www.outside.example. 203.0.113.10"
    }


def test_a_pod_a_node_and_a_policy(explained: RunningLab) -> None:
    (pod,) = explained.pods(NAMESPACE)
    found = whole(explained, "pod/web.explained")
    assert found["node"] == pod["spec"]["nodeName"]
    assert [row["service"] for row in step(found, "services")] == ["web"]
    assert whole(explained, f"node/{pod['spec']['nodeName']}")["steps"]
    policy = whole(explained, "networkpolicy/open.explained")
    assert step(policy, "pods") == [{"pod": "web", "node": pod["spec"]["nodeName"]}]
    assert step(policy, "kernel")


def test_what_is_held_and_not_wanted_is_marked(explained: RunningLab) -> None:
    """A rule of somebody's own in the service's name."""
    (service,) = explained.get("service", "web", "-n", NAMESPACE)
    extra = f'10.96.250.250 comment "{NAMESPACE}/web"'
    before = explained.exec(
        "node/worker2", "nft", "add", "element", "ip", "service", "cluster_ips", f"{{ {extra} }}"
    )
    if before.returncode:
        pytest.fail(before.stderr)
    done = explained.minipod("explain", "service/web", "-n", NAMESPACE, "--node", "worker2")
    explained.exec(
        "node/worker2", "nft", "delete", "element", "ip", "service", "cluster_ips", "{ 10.96.250.250 }"
    )
    assert f"+ ip service cluster_ips: {extra}" in done.stdout
    assert service["spec"]["clusterIP"] in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["web"], "want KIND/NAME, such as service/web"),
        (["colour/red"], "no such kind to explain: want one of service, pod, node, networkpolicy"),
        (["service/nope"], "service/nope: not found in namespace default"),
        (["service/web.explained", "--node", "worker9"], "node/worker9: not found"),
    ],
)
def test_mistakes_are_told_in_a_line(explained: RunningLab, words: list[str], told: str) -> None:
    done = explained.minipod("explain", *words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert told in done.stderr
