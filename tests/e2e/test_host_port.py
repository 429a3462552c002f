"""hostPort: a port of the node on which the pod runs, there once, and gone with the pod."""

import pytest

from tests.e2e.session import READY, RunningLab
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
SPACE = "host-port"
POD = """
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: web
      image: registry.k8s.io/e2e-test-images/agnhost:2.53
      args: [netexec]
      ports: [{containerPort: 8080, hostPort: 8088}]
"""


def test_a_port_of_a_node_leads_into_its_pod_as_long_as_that_is_there(lab: RunningLab) -> None:
    lab.apply(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SPACE}}}\n")
    for name in ("one", "two", "three"):
        lab.apply(POD.replace("NAME", name), SPACE)
    wait_until(lambda: sum(bool(pod["status"].get("podIP")) for pod in lab.pods(SPACE)) == 2, READY)
    there = {pod["metadata"]["name"]: pod for pod in lab.pods(SPACE)}
    assert {pod["spec"].get("nodeName") for pod in there.values()} == {"worker1", "worker2", None}

    def answers(machine: str, address: str) -> str:
        return lab.fetch(machine, f"http://{address}:8088/hostname")

    for name in ("one", "two"):
        address, node = there[name]["status"]["hostIP"], there[name]["spec"]["nodeName"]
        wait_until(lambda address=address, name=name: answers("outside", address) == name, READY)  # type: ignore[misc]
        assert lab.fetch("outside", f"http://{address}:8088/clientip").startswith("203.0.113.10:")
        assert answers(f"node/{node}", "localhost") == name
    no_room = "2 node(s) didn't have free ports for the requested pod ports"
    wait_until(lambda: no_room in str(lab.get("pod", "three", "-n", SPACE)[0]["status"]), READY)
    forced = POD.replace("NAME", "four").replace(
        "spec:", f"spec:\n  nodeName: {there['one']['spec']['nodeName']}"
    )
    lab.apply(forced, SPACE)
    wait_until(lambda: lab.get("pod", "four", "-n", SPACE)[0]["status"].get("reason") == "NodePorts", READY)
    lab.delete(POD.replace("NAME", "one"), SPACE)
    wait_until(lambda: answers("outside", there["one"]["status"]["hostIP"]) == "three", READY)
    lab.delete(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SPACE}}}\n")
    wait_until(lambda: answers("outside", there["one"]["status"]["hostIP"]) == "", READY, "no answer")
