"""Ordinary manifests apply unchanged, with real kubectl, and all that they make becomes Ready.

    tests/e2e/manifests/ordinary/NAME.yaml --kubectl apply--> namespace NAME --> every workload says that it is done

The manifests have the shape of the guestbook, of the microservices demo and of the examples of the Kubernetes
documentation.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import new_name
from tests.e2e.kubectl import Kubectl
from tests.e2e.session import RunningLab, User
from tests.e2e.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
MANIFESTS = sorted((Path(__file__).parent / "manifests" / "ordinary").glob("*.yaml"))
READY_WITHIN = 60.0  # seconds
Obj = dict[str, Any]


@pytest.fixture(scope="module")
def lab(me: User) -> Iterator[RunningLab]:
    running = me.up(new_name())
    yield running
    running.down()


@pytest.fixture(params=MANIFESTS, ids=lambda path: path.stem)
def applied(request: pytest.FixtureRequest, lab: RunningLab) -> Kubectl:
    """kubectl in the namespace of a manifest, which is applied there, once."""
    path: Path = request.param
    kubectl = Kubectl.of(lab, path.stem)
    if kubectl.run("get", "namespace", path.stem).returncode != 0:
        kubectl.output("create", "namespace", path.stem)
        kubectl.output("apply", "-f", str(path))
    return kubectl


def unfinished(lab: RunningLab, namespace: str) -> list[str]:
    """What is not as its manifest wants it, in words."""
    kinds = {
        "deployments": deployment,
        "statefulsets": stateful_set,
        "daemonsets": daemon_set,
        "jobs": job,
        "pods": pod,
    }
    kinds["persistentvolumeclaims"] = claim
    found = []
    for plural, is_done in kinds.items():
        objects = lab.get(plural, "-n", namespace)
        found += [
            f"{plural}/{obj['metadata']['name']}: {obj.get('status')}" for obj in objects if not is_done(obj)
        ]
    return found


def deployment(obj: Obj) -> bool:
    status = obj["status"]
    replicas = obj["spec"]["replicas"]
    return bool(status.get("updatedReplicas") == status.get("availableReplicas") == replicas)


def stateful_set(obj: Obj) -> bool:
    return bool(
        obj["status"].get("updatedReplicas") == obj["status"]["availableReplicas"] == obj["spec"]["replicas"]
    )


def daemon_set(obj: Obj) -> bool:
    return bool(obj["status"].get("numberAvailable") == obj["status"]["desiredNumberScheduled"] > 0)


def job(obj: Obj) -> bool:
    return any(entry["type"] == "Complete" for entry in obj["status"].get("conditions") or ())


def pod(obj: Obj) -> bool:
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in obj["status"].get("conditions") or ())
    return bool(ready or obj["status"]["phase"] == "Succeeded")


def claim(obj: Obj) -> bool:
    return bool(obj["status"]["phase"] == "Bound")


def test_all_becomes_ready(applied: Kubectl) -> None:
    namespace, lab = applied.namespace, applied.lab
    try:
        wait_until(lambda: not unfinished(lab, namespace), READY_WITHIN, every=0.5)
    except AssertionError:
        pytest.fail("\n".join(unfinished(lab, namespace)))


def test_applied_again_nothing_changes(applied: Kubectl) -> None:
    """kubectl says `configured` of lists that it always sends whole; what counts is that nothing is another."""
    path = str(next(path for path in MANIFESTS if path.stem == applied.namespace))
    before = desired(applied, path)
    assert b" created" not in applied.output("apply", "-f", path)
    assert desired(applied, path) == before


def desired(kubectl: Kubectl, path: str) -> dict[tuple[str, str], Obj]:
    """What a manifest's objects are to be, without what is found out about them."""
    found = json.loads(kubectl.output("get", "-f", path, "-o", "json"))["items"]
    told = ("status", "metadata")
    return {
        (obj["kind"], obj["metadata"]["name"]): {
            "uid": obj["metadata"]["uid"],
            "generation": obj["metadata"].get("generation"),
            **{name: value for name, value in obj.items() if name not in told},
        }
        for obj in found
    }


def test_the_guestbook_is_served_outside(lab: RunningLab) -> None:
    def served() -> str:
        (service,) = lab.get("service", "frontend", "-n", "guestbook")
        given = service["status"]["loadBalancer"].get("ingress") or []
        return lab.fetch("outside", f"http://{given[0]['ip']}/") if given else ""

    assert "gb-frontend" in wait_until(served, READY_WITHIN, every=0.2)


def test_stateful_pods_have_names_in_the_dns(lab: RunningLab) -> None:
    name = "web-1.nginx.workloads.svc.cluster.local"
    (pod,) = lab.get("pod", "web-1", "-n", "workloads")

    def named() -> bool:
        return lab.exec("pod/web-0.workloads", "getent", "hosts", name).stdout.startswith(
            pod["status"]["podIP"] + " "
        )

    wait_until(named, READY_WITHIN, f"{name} is {pod['status']['podIP']}", every=0.1)
    assert (
        lab.output("pod/web-0.workloads", "hostname", "-f").strip()
        == "web-0.nginx.workloads.svc.cluster.local"
    )


def test_an_indexed_job_gave_each_pod_its_index(lab: RunningLab) -> None:
    kubectl = Kubectl.of(lab, "workloads")
    said = kubectl.output("logs", "--selector=job-name=indexed-job", "--tail=-1").decode().split()
    assert sorted(said) == sorted(word[::-1] for word in ("foo", "bar", "baz", "qux", "xyz"))
