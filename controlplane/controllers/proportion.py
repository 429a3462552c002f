"""A Deployment that is scaled while several of its ReplicaSets have pods: each gets its share, as pure functions.

    one ReplicaSet in use           it takes all
    the new one has all its pods    the old ones go to 0
    else                            what is added or taken away is divided by their sizes; the rest goes to the largest

Every ReplicaSet remembers, in two annotations, for how many replicas of its Deployment it was sized last: if that is no
longer the number, somebody has scaled.

Sources: Kubernetes documentation "Deployments: Proportional scaling"; k8s.io/kubernetes pkg/controller/deployment.
"""

from __future__ import annotations

from controlplane.controllers.rollout import bounds, revision_of
from controlplane.meta import Obj, annotations_of

DESIRED, MAXIMUM = "deployment.kubernetes.io/desired-replicas", "deployment.kubernetes.io/max-replicas"


def sized_for(deployment: Obj) -> dict[str, str]:
    """What a ReplicaSet that is sized now remembers."""
    replicas = deployment["spec"]["replicas"]
    return {DESIRED: str(replicas), MAXIMUM: str(replicas + _surge(deployment))}


def is_scaling(deployment: Obj, sets: list[Obj]) -> bool:
    """Whether the number of replicas has changed since the ReplicaSets in use were sized."""
    wanted = str(deployment["spec"]["replicas"])
    return any(
        annotations_of(entry).get(DESIRED, wanted) != wanted for entry in sets if entry["spec"]["replicas"]
    )


def sizes(deployment: Obj, old: list[Obj], new: Obj | None) -> dict[str, int]:
    """The size of each ReplicaSet that shall have another one, by name."""
    replicas = deployment["spec"]["replicas"]
    every = [*old, *([new] if new is not None else [])]
    active = [entry for entry in every if entry["spec"]["replicas"] > 0]
    if len(active) < 2:
        chosen = active or every[-1:]
        return {entry["metadata"]["name"]: replicas for entry in chosen}
    if new is not None and _is_saturated(new, replicas):
        return {entry["metadata"]["name"]: 0 for entry in old}
    if deployment["spec"]["strategy"]["type"] != "RollingUpdate":
        return {}
    return _divide(deployment, active)


def _divide(deployment: Obj, active: list[Obj]) -> dict[str, int]:
    replicas = deployment["spec"]["replicas"]
    allowed = replicas + _surge(deployment) if replicas else 0
    change = allowed - sum(entry["spec"]["replicas"] for entry in active)
    newest_first = 1 if change > 0 else -1
    active = sorted(
        active, key=lambda entry: (-entry["spec"]["replicas"], -newest_first * revision_of(entry))
    )
    result: dict[str, int] = {}
    given = 0
    for entry in active:
        share = _fraction(deployment, entry)
        share = min(share, change - given) if change > 0 else max(share, change - given)
        given += share
        result[entry["metadata"]["name"]] = entry["spec"]["replicas"] + share
    largest = active[0]["metadata"]["name"]
    result[largest] = max(0, result[largest] + change - given)
    return result


def _fraction(deployment: Obj, replica_set: Obj) -> int:
    """By how much this ReplicaSet changes, if all change in proportion."""
    replicas, size = deployment["spec"]["replicas"], replica_set["spec"]["replicas"]
    if not replicas:
        return -int(size)
    before = int(annotations_of(replica_set).get(MAXIMUM, 0)) or (deployment.get("status") or {}).get(
        "replicas", 0
    )
    if not before:
        return 0
    return int(size * (replicas + _surge(deployment)) / before + 0.5) - int(size)


def _is_saturated(new: Obj, replicas: int) -> bool:
    available = (new.get("status") or {}).get("availableReplicas", 0)
    return bool(new["spec"]["replicas"] == replicas == available)


def _surge(deployment: Obj) -> int:
    return bounds(deployment)[0] if deployment["spec"]["strategy"]["type"] == "RollingUpdate" else 0
