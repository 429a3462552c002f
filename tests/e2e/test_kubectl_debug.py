"""kubectl debug: a look into a pod that runs, a copy of it, a node; and pods whose containers see each other."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.kubectl import Kubectl
from tests.e2e.session import RunningLab
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
NAMESPACE = "debug"
SOON = 20.0
MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: nginx, ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: shared}
spec:
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 1
  containers:
    - {name: server, image: nginx}
    - {name: shell, image: busybox, command: [sleep, "600"], stdin: true}
"""


@pytest.fixture(scope="module")
def kubectl(lab: RunningLab) -> Iterator[Kubectl]:
    found = Kubectl.of(lab, NAMESPACE)
    found.output("create", "namespace", NAMESPACE)
    lab.apply(MANIFEST, NAMESPACE)
    lab.ready_pods(2, NAMESPACE)
    yield found
    found.output("delete", "namespace", NAMESPACE, "--wait=false")


def ephemeral(kubectl: Kubectl, name: str) -> dict[str, Any]:
    (pod,) = kubectl.lab.get("pod", "web", "-n", NAMESPACE)
    statuses = pod["status"].get("ephemeralContainerStatuses") or ()
    return next((status for status in statuses if status["name"] == name), {"state": {}})


def test_a_shell_beside_the_pods_containers(kubectl: Kubectl) -> None:
    with kubectl.at_a_terminal("debug", "web", "-it", "--image=busybox", "-c", "look") as terminal:
        terminal.wait_for("press")  # "If you don't see a command prompt, try pressing enter."
        terminal.type("\nwget -qO- localhost | grep -c title; hostname\n")
        terminal.wait_for("web")
        assert "running" in ephemeral(kubectl, "look")["state"]
        terminal.type("exit 3\n")
        terminal.end()
    ended = wait_until(lambda: ephemeral(kubectl, "look")["state"].get("terminated"), SOON)
    assert ended["exitCode"] == 3
    assert b"hostname" in kubectl.output("logs", "web", "-c", "look")
    (pod,) = kubectl.lab.get("pod", "web", "-n", NAMESPACE)
    assert pod["status"]["phase"] == "Running", "the end of a debugger changes nothing of the pod"
    assert ephemeral(kubectl, "look")["restartCount"] == 0, "it is not started again"


def test_a_debugger_sees_the_processes_of_its_target(kubectl: Kubectl) -> None:
    words = ("debug", "web", "--image=busybox", "--target=web", "-c", "ps", "--", "ps", "-o", "args")
    kubectl.output(*words)
    ended = wait_until(lambda: ephemeral(kubectl, "ps")["state"].get("terminated"), SOON)
    assert ended["exitCode"] == 0
    assert "nginx" in kubectl.output("logs", "web", "-c", "ps").decode()
    kubectl.output(
        "debug", "web", "--image=busybox", "-c", "alone", "--", "sh", "-c", "ps -o args; sleep 600"
    )
    wait_until(lambda: b"sleep" in kubectl.output("logs", "web", "-c", "alone"), SOON)
    assert b"nginx" not in kubectl.output("logs", "web", "-c", "alone"), "without a target it is alone"
    assert kubectl.output("exec", "web", "-c", "alone", "--", "hostname") == b"web\n"


def test_a_debugger_of_nothing_is_told(kubectl: Kubectl) -> None:
    kubectl.output("debug", "web", "--image=busybox", "--target=nobody", "-c", "lost", "--", "true")
    ended = wait_until(lambda: ephemeral(kubectl, "lost")["state"].get("terminated"), SOON)
    assert ended["reason"] == "StartError"
    assert "nobody" in ended["message"]


def test_a_copy_of_a_pod_with_another_command(kubectl: Kubectl) -> None:
    kubectl.output(
        "debug", "web", "--copy-to=web-copy", "--image=busybox", "-c", "look", "--", "sleep", "600"
    )
    kubectl.output("wait", "pod/web-copy", "--for=condition=Ready", f"--timeout={SOON:.0f}s")
    shown = kubectl.output("exec", "web-copy", "-c", "look", "--", "ps", "-o", "args").decode()
    assert "nginx" in shown, "a copy's containers share their processes"


def test_a_node_from_within(kubectl: Kubectl) -> None:
    with kubectl.at_a_terminal("debug", "node/worker1", "-it", "--image=busybox") as terminal:
        terminal.wait_for("press")
        terminal.type("\nhostname; ip addr; ls -d /host/usr/bin; echo do''ne\n")
        shown = terminal.wait_for("done")
        assert "worker1" in shown
        assert "192.168.50.21" in shown
        assert "/host/usr/bin" in shown
        terminal.type("ps -ef | grep -q topo''.forker && echo am''ong; echo ov''er\n")
        assert "among" in terminal.wait_for("over"), "it is among the node's processes"
        terminal.type("exit\n")
        assert terminal.end() == 0


def test_containers_that_share_their_processes(kubectl: Kubectl) -> None:
    shown = kubectl.output("exec", "shared", "-c", "shell", "--", "ps", "-o", "pid,args").decode()
    assert "nginx" in shown
    assert " 1 " in shown.replace("pause", "pause "), shown
    orphan = "(sleep 0.1 & ) ; sleep 0.5; ps -o stat,args | grep -c '^Z' || true"
    assert kubectl.output("exec", "shared", "-c", "shell", "--", "sh", "-c", orphan) == b"0\n"
    kill = "kill $(ps -o pid,args | awk '/[n]ginx/ {print $1; exit}')"
    kubectl.output("exec", "shared", "-c", "shell", "--", "sh", "-c", kill)

    def restarted() -> bool:
        pod = json.loads(kubectl.output("get", "pod", "shared", "-o", "json"))
        counts = {status["name"]: status["restartCount"] for status in pod["status"]["containerStatuses"]}
        return counts == {"server": 1, "shell": 0}

    wait_until(restarted, SOON, "one container can end another", every=0.3)
