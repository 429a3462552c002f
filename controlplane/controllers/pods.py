"""Questions about pods that several controllers ask."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable

from controlplane.meta import Obj, condition, controller_of, is_true, seconds


def is_active(pod: Obj) -> bool:
    """Neither finished nor going away."""
    return "deletionTimestamp" not in pod["metadata"] and not is_finished(pod)


def is_finished(pod: Obj) -> bool:
    """Phase Succeeded or Failed."""
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def is_ready(pod: Obj) -> bool:
    """The Ready condition."""
    return is_true(pod, "Ready")


def seconds_until_available(pod: Obj, min_ready_seconds: int) -> float | None:
    """0 for an available pod, the rest of minReadySeconds for one that has just become ready, None for one
    that is not ready.
    """
    ready = condition(pod, "Ready")
    if ready is None or ready["status"] != "True":
        return None
    if not min_ready_seconds or "lastTransitionTime" not in ready:
        return 0.0
    return max(0.0, seconds(ready["lastTransitionTime"]) + min_ready_seconds - time.time())


def by_controller(obj: Obj) -> Iterable[Hashable]:
    """Index: the uid of the controlling owner; for an orphan, ("orphan", namespace)."""
    owner = controller_of(obj)
    return (owner["uid"],) if owner else (("orphan", obj["metadata"]["namespace"]),)


def deletion_order(pod: Obj) -> tuple[bool, bool, bool, int, float]:
    """Sort key: who goes first when there are too many: without node, Pending, not ready, cheap, young."""
    status = pod["status"]
    cost = (pod["metadata"].get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost", "0")
    born = seconds(pod["metadata"]["creationTimestamp"])
    pending = status.get("phase") == "Pending"
    assigned = bool(pod["spec"].get("nodeName"))
    return assigned, not pending, is_ready(pod), int(cost) if cost.lstrip("-").isdigit() else 0, -born
