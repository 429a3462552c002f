"""Defaults of Deployment and ReplicaSet."""

from __future__ import annotations

from controlplane.defaults import pod
from controlplane.meta import Obj

DEPLOYMENT_SPEC: Obj = {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}
ROLLING_UPDATE: Obj = {"maxSurge": "25%", "maxUnavailable": "25%"}


def deployment(obj: Obj) -> Obj:
    """One replica, rolling updates by a quarter at a time, ten old revisions kept."""
    spec = {**DEPLOYMENT_SPEC, **(obj.get("spec") or {})}
    strategy = {"type": "RollingUpdate", **(spec.get("strategy") or {})}
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {**ROLLING_UPDATE, **(strategy.get("rollingUpdate") or {})}
    spec["strategy"] = strategy
    return {**obj, "spec": _with_template(spec)}


def replica_set(obj: Obj) -> Obj:
    """One replica; the labels of the template unless it has its own."""
    spec = _with_template({"replicas": 1, **(obj.get("spec") or {})})
    metadata = obj["metadata"]
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels and not metadata.get("labels"):
        metadata = {**metadata, "labels": labels}
    return {**obj, "metadata": metadata, "spec": spec}


def _with_template(spec: Obj) -> Obj:
    template = spec.get("template")
    if template is None:
        return spec
    metadata = template.get("metadata") or {}
    return {
        **spec,
        "template": {**template, "metadata": metadata, "spec": pod.template(template.get("spec") or {})},
    }
