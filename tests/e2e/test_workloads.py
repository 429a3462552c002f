"""Workloads in a whole lab: a node that dies, a drain that a budget slows down, a rolling update under load.

What each controller does in detail is in tests/unit/controlplane/test_workloads.py; here packets are sent.
"""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from labs.lab import Lab
from labs.state import StateFolder
from tests.e2e.conftest import new_name
from tests.e2e.kubectl import Kubectl
from tests.e2e.session import READY, RunningLab, User
from tests.e2e.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
LOST_WITHIN = 90.0  # seconds: a Lease is worth 40 s, and the pods tolerate the loss for one
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: NAME}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 3
      tolerations:
        - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      containers:
        - name: server
          image: registry.k8s.io/e2e-test-images/agnhost:2.53
          args: [netexec, --http-port=8080, --udp-port=-1, --delay-shutdown=2]
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {path: /hostname, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec:
  selector: {app: NAME}
  ports: [{port: 80, targetPort: 8080}]
"""


@pytest.fixture(scope="module")
def lab(me: User) -> Iterator[RunningLab]:
    running = me.up(new_name())
    yield running
    running.down()


def node_of(pod: dict[str, Any]) -> str:
    return str(pod["spec"]["nodeName"])


def deployment(name: str, replicas: int) -> str:
    return DEPLOYMENT.replace("NAME", name).replace("REPLICAS", str(replicas))


def test_a_rolling_update_loses_no_request(lab: RunningLab) -> None:
    lab.apply(deployment("rolling", 3))
    lab.ready_pods(3, selector="app=rolling")
    kubectl = Kubectl.of(lab, "default")
    address = lab.get("service", "rolling")[0]["spec"]["clusterIP"]
    stop = threading.Event()
    outcomes: list[str] = []

    def ask() -> None:
        with_code = [
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--max-time",
            "3",
            f"http://{address}/",
        ]
        while not stop.is_set():
            outcomes.append(lab.exec("node/control-plane", *with_code).stdout)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        wait_until(lambda: len(outcomes) > 3, 20.0, "requests are answered")
        kubectl.output("set", "env", "deployment/rolling", "ROUND=2")
        kubectl.output("rollout", "status", "deployment/rolling", "--timeout=60s")
        lab.ready_pods(3, selector="app=rolling")
    finally:
        stop.set()
        asking.join()
    assert set(outcomes) == {"200"}, f"{outcomes}"


def test_a_budget_slows_a_drain_down(lab: RunningLab) -> None:
    lab.apply(deployment("drained", 2))
    before = {pod["metadata"]["uid"] for pod in lab.ready_pods(2, selector="app=drained")}
    kubectl = Kubectl.of(lab, "default")
    kubectl.output("create", "poddisruptionbudget", "drained", "--selector=app=drained", "--min-available=2")
    node = node_of(lab.pods(selector="app=drained")[0])
    held = kubectl.run("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=2s",
                       "--pod-selector=app=drained")  # fmt: skip
    assert held.returncode != 0
    assert b"violate the pod's disruption budget" in held.stderr
    kubectl.output("scale", "deployment/drained", "--replicas=3")
    lab.ready_pods(3, selector="app=drained")
    kubectl.output("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s",
                   "--pod-selector=app=drained")  # fmt: skip
    pods = lab.ready_pods(3, selector="app=drained")
    assert node not in {node_of(pod) for pod in pods}
    assert {pod["metadata"]["uid"] for pod in pods} != before
    kubectl.output("uncordon", node)


def test_a_dead_nodes_pods_are_replaced(lab: RunningLab) -> None:
    lab.apply(deployment("moving", 2))
    pods = lab.ready_pods(2, selector="app=moving")
    dead = node_of(pods[0])
    folder = StateFolder(lab.name, lab.user.home / lab.name)
    Lab(folder, lab.info()).ask(do="stop-kubelet", node=dead)

    def replaced() -> bool:
        (node,) = lab.get("node", dead)
        ready = next(entry for entry in node["status"]["conditions"] if entry["type"] == "Ready")
        alive = lab.pods(selector="app=moving")
        return (
            ready["status"] == "Unknown" and len(alive) == 2 and dead not in {node_of(pod) for pod in alive}
        )

    wait_until(replaced, LOST_WITHIN, f"{dead} is NotReady, its pods are elsewhere", every=0.5)
    lab.ready_pods(2, selector="app=moving")

    def serving() -> set[str]:
        slices = lab.get("endpointslices", "-l", "kubernetes.io/service-name=moving")
        endpoints = [entry for found in slices for entry in found["endpoints"]]
        return {entry["nodeName"] for entry in endpoints if entry["conditions"]["ready"]}

    wait_until(lambda: serving() and dead not in serving(), READY, "no traffic for the dead node")
    answer = Kubectl.of(lab, "default").output("get", "node", dead, "--no-headers").split()
    assert answer[1].startswith(b"NotReady")
