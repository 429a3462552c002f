"""What holds a deletion back: finalizers, and for pods a grace period.

    delete --> finalizers?    mark with deletionTimestamp; the last finalizer that goes takes the object along
           --> pod on a node? mark with the time until which it may end; the kubelet deletes again (0 seconds)
           --> nothing?       it is gone

Source: Kubernetes documentation "Finalizers", "Pod Lifecycle: Termination of Pods", "Garbage Collection".
"""

from __future__ import annotations

import time

from controlplane.errors import FieldError, bad_request, forbidden
from controlplane.meta import Obj, timestamp, with_metadata

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
IMMORTAL = ("default", "kube-public", "kube-system")
_FINALIZER_OF = {"Background": None, "Foreground": FOREGROUND, "Orphan": ORPHAN}


def mark(kind: str, obj: Obj, grace_period: int | None, propagation: str) -> Obj | None:
    """The object marked as going away; the same object if it already is, no sooner; None if nothing holds it.

    `grace_period` is in seconds, None for the pod's own. Raises StatusError 400, and 403 for a namespace that every
    cluster has.
    """
    if propagation not in _FINALIZER_OF:
        text = f'Unsupported value: "{propagation}": supported values: "Background", "Foreground", "Orphan"'
        raise bad_request(
            f"propagationPolicy: {text}", [FieldError("FieldValueNotSupported", "propagationPolicy", text)]
        )
    if grace_period is not None and grace_period < 0:
        grace_period = 1
    metadata = obj["metadata"]
    if kind == "Namespace" and metadata["name"] in IMMORTAL:
        raise forbidden("namespaces", "", metadata["name"], "this namespace may not be deleted")
    finalizers = list(metadata.get("finalizers") or ())
    extra = _FINALIZER_OF[propagation]
    if extra and extra not in finalizers and "deletionTimestamp" not in metadata:
        finalizers.append(extra)
    seconds = _grace(kind, obj, grace_period)
    held = finalizers or seconds > 0 or (obj.get("spec") or {}).get("finalizers")
    if not held:
        return None
    if "deletionTimestamp" in metadata and seconds >= metadata.get("deletionGracePeriodSeconds", 0):
        return obj
    marked = with_metadata(
        obj,
        deletionTimestamp=timestamp(time.time() + seconds),
        deletionGracePeriodSeconds=seconds,
        finalizers=finalizers or None,
    )
    if kind == "Namespace":
        marked["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
    return marked


def _grace(kind: str, obj: Obj, wanted: int | None) -> int:
    """Seconds that the object may still have: only a pod that may be running on a node has any."""
    if kind != "Pod" or not obj["spec"].get("nodeName"):
        return 0
    if obj["status"].get("phase") in ("Succeeded", "Failed"):
        return 0
    return int(obj["spec"].get("terminationGracePeriodSeconds", 30)) if wanted is None else wanted


def is_over(obj: Obj) -> bool:
    """Whether nothing holds a marked object any more."""
    metadata = obj["metadata"]
    return (
        "deletionTimestamp" in metadata
        and not metadata.get("finalizers")
        and not (obj.get("spec") or {}).get("finalizers")
        and metadata.get("deletionGracePeriodSeconds", 0) == 0
    )


def without_finalizer(obj: Obj, finalizer: str) -> Obj:
    """A new object like `obj` without one finalizer: what a controller writes when its clean-up is done."""
    rest = [name for name in obj["metadata"].get("finalizers") or () if name != finalizer]
    return with_metadata(obj, finalizers=rest or None)
