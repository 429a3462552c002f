"""The doors of an object: each lets in one part of what a writer wants, and the rest stays as it is.

    /pods/x                       spec and metadata     /pods/x/status               status
    /namespaces/x/finalize        spec                  /pods/x/ephemeralcontainers  spec.ephemeralContainers

Source: Kubernetes API conventions, "Spec and Status"; API reference of Pod and Namespace.
"""

from __future__ import annotations

from controlplane.kinds import Kind
from controlplane.meta import Obj
from controlplane.schema.zero import with_zeros

EPHEMERAL = "ephemeralcontainers"
SYSTEM_METADATA = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)


def merge_parts(kind: Kind, current: Obj, wanted: Obj, subresource: str) -> Obj:
    """Which parts of the wanted object may come through this door, and which stay as they are."""
    if subresource == "status":
        status = with_zeros(wanted.get("status") or {}, kind.status_schema)
        return {**current, "metadata": dict(current["metadata"]), "status": status}
    if subresource == "finalize":
        return {**current, "metadata": dict(current["metadata"]), "spec": wanted.get("spec") or {}}
    if subresource == EPHEMERAL:
        added = (wanted.get("spec") or {}).get("ephemeralContainers") or []
        spec = {**current["spec"], "ephemeralContainers": added}
        return {**current, "metadata": dict(current["metadata"]), "spec": spec}
    old = current["metadata"]
    metadata = {
        name: value for name, value in (wanted.get("metadata") or {}).items() if name not in SYSTEM_METADATA
    }
    metadata |= {
        name: old[name] for name in (*SYSTEM_METADATA, "resourceVersion", "namespace") if name in old
    }
    new = {**wanted, "metadata": metadata}
    if kind.has_status:
        new.pop("status", None)
        if "status" in current:
            new["status"] = current["status"]
    return new
