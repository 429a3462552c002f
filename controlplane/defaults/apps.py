"""Defaults of Deployment, ReplicaSet, DaemonSet and StatefulSet."""

from __future__ import annotations

from controlplane.defaults import pod, storage
from controlplane.meta import Obj

DEPLOYMENT_SPEC: Obj = {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}
STATEFUL_SET_SPEC: Obj = {"replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady"}
ROLLING_UPDATE: Obj = {"maxSurge": "25%", "maxUnavailable": "25%"}


def deployment(obj: Obj) -> Obj:
    """One replica, rolling updates by a quarter at a time, ten old revisions kept."""
    spec = {**DEPLOYMENT_SPEC, **(obj.get("spec") or {})}
    strategy = {"type": "RollingUpdate", **(spec.get("strategy") or {})}
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {**ROLLING_UPDATE, **(strategy.get("rollingUpdate") or {})}
    spec["strategy"] = strategy
    return {**obj, "spec": with_template(spec)}


def replica_set(obj: Obj) -> Obj:
    """One replica; the labels of the template unless it has its own."""
    spec = with_template({"replicas": 1, **(obj.get("spec") or {})})
    metadata = obj["metadata"]
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels and not metadata.get("labels"):
        metadata = {**metadata, "labels": labels}
    return {**obj, "metadata": metadata, "spec": spec}


def replication_controller(obj: Obj) -> Obj:
    """As a ReplicaSet; it also selects by the labels of its template unless it says otherwise."""
    made = replica_set(obj)
    labels = ((made["spec"].get("template") or {}).get("metadata") or {}).get("labels")
    if labels and not made["spec"].get("selector"):
        made = {**made, "spec": {**made["spec"], "selector": labels}}
    return made


def daemon_set(obj: Obj) -> Obj:
    """Rolling updates, one node at a time; ten old revisions kept."""
    spec = {"revisionHistoryLimit": 10, **(obj.get("spec") or {})}
    strategy = {"type": "RollingUpdate", **(spec.get("updateStrategy") or {})}
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {
            "maxUnavailable": 1,
            "maxSurge": 0,
            **(strategy.get("rollingUpdate") or {}),
        }
    spec["updateStrategy"] = strategy
    return {**obj, "spec": with_template(spec)}


def stateful_set(obj: Obj) -> Obj:
    """One replica, one pod after the other, rolling updates of all, claims kept for ever."""
    spec = {**STATEFUL_SET_SPEC, **(obj.get("spec") or {})}
    strategy = {"type": "RollingUpdate", **(spec.get("updateStrategy") or {})}
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {"partition": 0, **(strategy.get("rollingUpdate") or {})}
    spec["updateStrategy"] = strategy
    retention = {"whenDeleted": "Retain", "whenScaled": "Retain"}
    spec["persistentVolumeClaimRetentionPolicy"] = {
        **retention,
        **(spec.get("persistentVolumeClaimRetentionPolicy") or {}),
    }
    if spec.get("volumeClaimTemplates"):
        spec["volumeClaimTemplates"] = [_claim_template(entry) for entry in spec["volumeClaimTemplates"]]
    return {**obj, "spec": with_template(spec)}


def _claim_template(template: Obj) -> Obj:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {}, **template}
    return {**storage.claim(claim), "status": {"phase": "Pending"}}


def with_template(spec: Obj) -> Obj:
    """The spec of a workload with the defaults of its pod template."""
    template = spec.get("template")
    if template is None:
        return spec
    metadata = template.get("metadata") or {}
    return {
        **spec,
        "template": {**template, "metadata": metadata, "spec": pod.template(template.get("spec") or {})},
    }
