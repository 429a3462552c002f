"""What clients of the cluster's DNS notice of its restart, in any proxy mode."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.kubectl import Kubectl
from tests.e2e.session import RunningLab
from tests.e2e.waiting import wait_until

CLIENT = (Path(__file__).parent / "dns_client.py").read_text()
ASKER = """\
apiVersion: v1
kind: Pod
metadata: {name: asker, labels: {app: asker}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: busybox, command: [sleep, infinity]}]
"""
LONGEST = 2.0  # seconds; one question that is lost costs the C library five


def nobody_waits_while_dns_restarts(lab: RunningLab, namespace: str) -> None:
    """Clients in a pod ask all the time while each DNS pod is replaced: fails where one of them had to wait."""
    lab.apply(ASKER, namespace)
    lab.ready_pods(1, namespace, "app=asker")
    pods = {pod["metadata"]["name"] for pod in lab.ready_pods(2, "kube-system", "k8s-app=kube-dns")}
    try:
        found = _asking(lab, f"pod/asker.{namespace}", pods)
    finally:
        lab.delete(ASKER, namespace)
    assert max(found["waits"]) < LONGEST, f"{max(found['waits']):.2f} s for a lookup"
    # A question may be on its way in the very moment in which its flow is forgotten, as in any cluster.
    assert len(found["lost"]) <= 1, f"{len(found['lost'])} of {found['asked']} questions have no answer"
    assert len(found["waits"]) > 100
    assert found["asked"] > 400


def _asking(lab: RunningLab, machine: str, pods: set[str]) -> dict[str, Any]:
    kubectl = Kubectl.of(lab, "kube-system")
    argv = ["exec", "--name", lab.name, machine, "--", "python3", "-c", CLIENT]
    with lab.user.start(*argv, stdin=subprocess.PIPE) as client:
        assert client.stderr
        assert client.stderr.readline() == "asking\n"

        def replaced() -> bool:
            there = lab.get("pods", "-n", "kube-system", "-l", "k8s-app=kube-dns")
            return not pods & {pod["metadata"]["name"] for pod in there}

        kubectl.output("rollout", "restart", "deployment/coredns")
        wait_until(replaced, 60.0, "the old DNS pods are gone", every=0.2)
        lab.ready_pods(2, "kube-system", "k8s-app=kube-dns")
        stdout, stderr = client.communicate("", timeout=30)
    assert client.returncode == 0, stderr
    return dict(json.loads(stdout))
