"""A pod speaks to the API server with what it finds in its own files and variables."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.kubectl import Kubectl
from tests.e2e.session import RunningLab, place_of

pytestmark = pytest.mark.e2e
SPACE = "from-pods"
MANIFEST = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {SPACE}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: robot, namespace: {SPACE}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: {SPACE}}}
spec:
  serviceAccountName: robot
  terminationGracePeriodSeconds: 0
  containers: [{{name: c, image: curlimages/curl, command: [sleep, "600"]}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: quiet, namespace: {SPACE}}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  containers: [{{name: c, image: busybox, command: [sleep, "600"]}}]
"""
FILES = "/var/run/secrets/kubernetes.io/serviceaccount"
ASK = f"""
token=$(cat {FILES}/token)
curl -s --max-time 5 --cacert {FILES}/ca.crt -H "Authorization: Bearer $token" $0
"""


@pytest.fixture(scope="module")
def client(lab: RunningLab) -> Iterator[str]:
    lab.apply(MANIFEST)
    pods = lab.ready_pods(2, SPACE)
    yield next(place_of(pod) for pod in pods if pod["metadata"]["name"] == "client")
    Kubectl.of(lab, SPACE).output("delete", "namespace", SPACE, "--wait=false")


def test_a_pod_asks_the_api_server(lab: RunningLab, client: str) -> None:
    for host in (
        "https://kubernetes.default.svc",
        "https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT",
    ):
        pods = json.loads(
            lab.output(client, "sh", "-c", ASK.replace("$0", f"{host}/api/v1/namespaces/{SPACE}/pods"))
        )
        assert {pod["metadata"]["name"] for pod in pods["items"]} == {"client", "quiet"}
    review = (
        "-X POST -H 'Content-Type: application/json' -d '{}' "
        "https://kubernetes.default/apis/authentication.k8s.io/v1/selfsubjectreviews"
    )
    who = json.loads(lab.output(client, "sh", "-c", ASK.replace("$0", review)))
    assert who["status"]["userInfo"]["username"] == f"system:serviceaccount:{SPACE}:robot"
    assert lab.output(client, "cat", f"{FILES}/namespace") == SPACE
    assert lab.exec(client, "sh", "-c", f"echo x > {FILES}/token").returncode != 0


def test_without_its_token_it_is_nobody(lab: RunningLab, client: str) -> None:
    url = "https://kubernetes.default.svc/api/v1/pods"
    status = json.loads(lab.output(client, "curl", "-s", "--cacert", f"{FILES}/ca.crt", url))
    assert status["code"] == 401
    assert lab.exec(client, "curl", "-s", url).returncode != 0, "curl does not know the certificate by itself"


def test_a_pod_that_does_not_want_to_has_no_token(lab: RunningLab, client: str) -> None:
    assert lab.exec(f"pod/quiet.{SPACE}", "cat", f"{FILES}/token").returncode != 0
