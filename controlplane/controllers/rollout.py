"""The arithmetic of a Deployment, as pure functions: hashes, revisions, one step of a rolling update, the
status.

Source: k8s.io/kubernetes pkg/controller/deployment/rolling.go, util/deployment_util.go.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping

from controlplane.meta import Obj, annotations_of, condition, now, seconds, with_condition

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_NOT_COPIED = (
    REVISION,
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
)


def template_hash(template: Obj) -> str:
    """Ten characters that are the same for equal templates."""
    digest = hashlib.blake2s(json.dumps(template, sort_keys=True).encode(), digest_size=10).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest)


def with_hash(template: Obj, digest: str) -> Obj:
    """The template with the hash among its labels."""
    metadata = template["metadata"]
    return {
        **template,
        "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), HASH_LABEL: digest}},
    }


def without_hash(template: Obj) -> Obj:
    """The template as the Deployment has it."""
    metadata = template["metadata"]
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}


def copied_annotations(deployment: Obj) -> Mapping[str, str]:
    """A Deployment's annotations that its ReplicaSet carries too (e.g. kubernetes.io/change-cause)."""
    return {key: value for key, value in annotations_of(deployment).items() if key not in _NOT_COPIED}


def revision_of(replica_set: Obj) -> int:
    """The revision that a ReplicaSet stands for; 0 if it has none."""
    text = annotations_of(replica_set).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def share(value: int | str, replicas: int, *, round_up: bool) -> int:
    """A number of pods, given as such or as a percentage of `replicas`."""
    if isinstance(value, int):
        return value
    product = int(value.rstrip("%")) * replicas
    return -(-product // 100) if round_up else product // 100


def bounds(deployment: Obj) -> tuple[int, int]:
    """(pods that may exist beyond `replicas`, pods that may be missing of them); never both 0."""
    replicas = deployment["spec"]["replicas"]
    limits = deployment["spec"]["strategy"].get("rollingUpdate") or {}
    surge = share(limits.get("maxSurge", 0), replicas, round_up=True)
    unavailable = min(share(limits.get("maxUnavailable", 0), replicas, round_up=False), replicas)
    return surge, unavailable if surge or unavailable else 1


def rolling_step(deployment: Obj, old: list[Obj], new: Obj) -> dict[str, int]:
    """How many replicas each ReplicaSet (by name) shall have next; applied again and again it ends with all
    in `new`.
    """
    replicas = deployment["spec"]["replicas"]
    surge, unavailable = bounds(deployment)
    wanted = {entry["metadata"]["name"]: entry["spec"]["replicas"] for entry in (new, *old)}
    name = new["metadata"]["name"]
    total = sum(wanted.values())
    if wanted[name] > replicas:
        wanted[name] = replicas
    else:
        wanted[name] += min(max(0, replicas + surge - total), replicas - wanted[name])
    available = sum(_available(entry) for entry in (new, *old))
    starting = max(0, new["spec"]["replicas"] - _available(new))
    removable = max(0, total - (replicas - unavailable) - starting)
    removable -= _drop_unhealthy(old, wanted, removable)
    spare = min(removable, max(0, available - (replicas - unavailable)))
    for entry in old:
        cut = min(spare, wanted[entry["metadata"]["name"]])
        wanted[entry["metadata"]["name"]] -= cut
        spare -= cut
    return wanted


def _drop_unhealthy(old: list[Obj], wanted: dict[str, int], limit: int) -> int:
    """Old pods that are not available are worth nothing: they go first. Returns how many."""
    dropped = 0
    for entry in old:
        cut = min(limit - dropped, max(0, entry["spec"]["replicas"] - _available(entry)))
        wanted[entry["metadata"]["name"]] -= cut
        dropped += cut
    return dropped


def _available(replica_set: Obj) -> int:
    return int((replica_set.get("status") or {}).get("availableReplicas", 0))


def status(current: Obj, deployment: Obj, old: list[Obj], new: Obj | None) -> tuple[Obj, float | None]:
    """(the status as a merge patch, seconds until the progress deadline if that is running).

    `deployment` is the state that was acted on, `current` the one whose conditions are continued.
    """
    sets = [*old, *([new] if new else [])]
    replicas = deployment["spec"]["replicas"]
    total = _sum(sets, "replicas")
    updated = _sum([new] if new else [], "replicas")
    available = _sum(sets, "availableReplicas")
    counts = {
        "replicas": total,
        "updatedReplicas": updated,
        "readyReplicas": _sum(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, max(total, replicas) - available),
    }
    result: Obj = {name: count or None for name, count in counts.items()}
    result["observedGeneration"] = deployment["metadata"]["generation"]
    conditions = (current.get("status") or {}).get("conditions")
    conditions = _available_condition(conditions, available >= replicas - bounds(deployment)[1])
    done = updated == replicas == total == available and new is not None
    progressed = done or any((current.get("status") or {}).get(name, 0) != counts[name] for name in counts)
    conditions, deadline = _progressing_condition(conditions, current, deployment, new, done, progressed)
    result["conditions"] = conditions
    return result, deadline


def _sum(sets: list[Obj], field: str) -> int:
    return sum((entry.get("status") or {}).get(field, 0) for entry in sets)


def _available_condition(conditions: list[Obj] | None, available: bool) -> list[Obj]:
    texts = {
        True: ("MinimumReplicasAvailable", "Deployment has minimum availability."),
        False: ("MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
    }
    reason, message = texts[available]
    return _keep(conditions, "Available", str(available), reason, message, touch=False)


def _progressing_condition(
    conditions: list[Obj], current: Obj, deployment: Obj, new: Obj | None, done: bool, progressed: bool
) -> tuple[list[Obj], float | None]:
    name = new["metadata"]["name"] if new else deployment["metadata"]["name"]
    before = condition(current, "Progressing") or {}
    limit = deployment["spec"].get("progressDeadlineSeconds")
    if deployment["spec"].get("paused"):
        return _keep(
            conditions, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", touch=False
        ), None
    if done:
        message = f'ReplicaSet "{name}" has successfully progressed.'
        return _keep(conditions, "Progressing", "True", "NewReplicaSetAvailable", message, touch=False), None
    if progressed or not before or before.get("reason") in ("DeploymentPaused", "NewReplicaSetAvailable"):
        message = f'ReplicaSet "{name}" is progressing.'
        return _keep(conditions, "Progressing", "True", "ReplicaSetUpdated", message, touch=True), limit
    late = limit is not None and time.time() - seconds(before.get("lastUpdateTime", now())) >= limit
    if late:
        message = f'ReplicaSet "{name}" has timed out progressing.'
        return _keep(
            conditions, "Progressing", "False", "ProgressDeadlineExceeded", message, touch=False
        ), None
    return conditions, limit


def _keep(
    conditions: list[Obj] | None, kind: str, value: str, reason: str, message: str, *, touch: bool
) -> list[Obj]:
    """The conditions with this one; nothing moves when it says what it said before, unless `touch`."""
    for entry in conditions or ():
        same = (entry["type"], entry["status"], entry.get("reason"), entry.get("message")) == (
            kind,
            value,
            reason,
            message,
        )
        if same and not touch:
            return list(conditions or ())
    return with_condition(conditions, kind, value, reason=reason, message=message, lastUpdateTime=now())
