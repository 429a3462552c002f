"""What `kubectl get` shows of workloads, Ingresses, claims and the rest."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.columns import columns_of

Obj = dict[str, Any]
NAMED = {"metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:00:00Z"}}
TEMPLATE = {"spec": {"containers": [{"name": "c", "image": "nginx"}], "nodeSelector": {"disk": "ssd"}}}


def row(kind: str, obj: Obj) -> dict[str, str | int]:
    """The cells by column, as a narrow table shows them."""
    return {c.name: c.value({**NAMED, **obj}) for c in columns_of(kind) if not c.priority and c.name != "Age"}


@pytest.mark.parametrize(
    ("kind", "obj", "expected"),
    [
        ("DaemonSet", {"spec": {"template": TEMPLATE}, "status": {"desiredNumberScheduled": 3, "numberReady": 2}},
         {"Name": "web", "Desired": 3, "Current": 0, "Ready": 2, "Up-to-date": 0, "Available": 0,
          "Node Selector": "disk=ssd"}),
        ("StatefulSet", {"spec": {"replicas": 3}, "status": {"readyReplicas": 1}}, {"Name": "web", "Ready": "1/3"}),
        ("Job", {"spec": {"completions": 5}, "status": {
            "succeeded": 2, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:01:00Z",
            "conditions": [{"type": "Failed", "status": "True"}]}},
         {"Name": "web", "Status": "Failed", "Completions": "2/5", "Duration": "60s"}),
        ("Job", {"spec": {"parallelism": 3}}, {"Name": "web", "Status": "Running", "Completions": "0/1 of 3",
                                              "Duration": ""}),
        ("CronJob", {"spec": {"schedule": "@daily"}},
         {"Name": "web", "Schedule": "@daily", "Timezone": "<none>", "Suspend": "False", "Active": 0,
          "Last Schedule": "<none>"}),
        ("Ingress", {"spec": {"ingressClassName": "haproxy", "rules": [{"host": "a"}, {"host": "b"}], "tls": [{}]},
                     "status": {"loadBalancer": {"ingress": [{"ip": "192.168.50.11"}]}}},
         {"Name": "web", "Class": "haproxy", "Hosts": "a,b", "Address": "192.168.50.11", "Ports": "80, 443"}),
        ("NetworkPolicy", {"spec": {"podSelector": {"matchLabels": {"role": "db"}}}},
         {"Name": "web", "Pod-Selector": "role=db"}),
        ("PersistentVolumeClaim",
         {"spec": {"accessModes": ["ReadWriteOnce"], "volumeName": "pv", "storageClassName": "standard"},
          "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}},
         {"Name": "web", "Status": "Bound", "Volume": "pv", "Capacity": "1Gi", "Access Modes": "RWO",
          "StorageClass": "standard", "VolumeAttributesClass": "<unset>"}),
        ("PodDisruptionBudget", {"spec": {"minAvailable": 2}, "status": {"disruptionsAllowed": 1}},
         {"Name": "web", "Min Available": 2, "Max Unavailable": "N/A", "Allowed Disruptions": 1}),
    ],
)  # fmt: skip
def test_rows(kind: str, obj: Obj, expected: dict[str, str | int]) -> None:
    assert row(kind, obj) == expected
