"""Many pods at once: more requests than the pod runtime's socket holds at a time."""

import pytest

from tests.e2e.session import RunningLab
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
MANY = 300
MANIFEST = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: many}}
spec:
  replicas: {MANY}
  selector: {{matchLabels: {{app: many}}}}
  template:
    metadata: {{labels: {{app: many}}}}
    spec:
      containers: [{{name: c, image: registry.k8s.io/pause}}]
"""


def test_hundreds_of_pods_start_at_once_and_the_api_answers_meanwhile(lab: RunningLab) -> None:
    lab.apply(MANIFEST)

    def ready() -> int:
        (deployment,) = lab.get("deployment", "many")
        return int((deployment.get("status") or {}).get("readyReplicas", 0))

    wait_until(lambda: ready() == MANY, 60.0, f"{MANY} pods Ready", every=0.5)
    lab.delete(MANIFEST)
    wait_until(lambda: not lab.pods("default", "app=many"), 60.0, "all of them gone", every=0.5)
