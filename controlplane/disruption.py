"""How many pods may go: PodDisruptionBudgets, and the eviction that respects them.

    budget: healthy pods of the selector - those that must stay = disruptionsAllowed
    evict:  every budget of the pod allows one? the pod is deleted : 429, try again later

A pod that is not running yet, or over, is nobody's loss; one that is not ready goes when its budget is met without it.

Sources: Kubernetes documentation "Disruptions", "API-initiated Eviction"; k8s.io/kubernetes pkg/controller/disruption.
"""

from __future__ import annotations

from controlplane.api import API
from controlplane.controllers.pods import is_active, is_ready
from controlplane.controllers.rollout import share
from controlplane.errors import StatusError
from controlplane.meta import Obj, controller_of, key_of, labels_of
from controlplane.selectors import from_object

SCALED = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")


def budgets_of(api: API, pod: Obj) -> list[Obj]:
    """The budgets whose selector matches the pod."""
    namespace = pod["metadata"]["namespace"]
    return [budget for budget in api.list("PodDisruptionBudget", namespace)[0] if _covers(budget, pod)]


def _covers(budget: Obj, pod: Obj) -> bool:
    selector = from_object((budget.get("spec") or {}).get("selector"))
    return selector is not None and selector.matches(labels_of(pod))


def status_of(api: API, budget: Obj) -> Obj:
    """The status of a budget, from what there is now."""
    namespace = budget["metadata"]["namespace"]
    pods = [pod for pod in api.list("Pod", namespace)[0] if _covers(budget, pod) and is_active(pod)]
    healthy = sum(is_ready(pod) for pod in pods)
    spec = budget.get("spec") or {}
    least = spec.get("minAvailable")
    expected = len(pods) if isinstance(least, int) else _expected(api, pods)
    if "maxUnavailable" in spec:
        desired = expected - share(spec["maxUnavailable"], expected, round_up=True)
    else:
        desired = share(1 if least is None else least, expected, round_up=True)
    return {
        "observedGeneration": budget["metadata"]["generation"],
        "expectedPods": expected,
        "currentHealthy": healthy,
        "desiredHealthy": max(0, desired),
        "disruptionsAllowed": max(0, healthy - max(0, desired)) if expected else 0,
    }


def _expected(api: API, pods: list[Obj]) -> int:
    """How many pods their owners want to have; a pod without such an owner counts for itself."""
    wanted: dict[str, int] = {}
    for pod in pods:
        owner = _top_owner(api, pod)
        replicas = (owner or {}).get("spec", {}).get("replicas")
        key = owner["metadata"]["uid"] if owner is not None else pod["metadata"]["uid"]
        wanted[key] = wanted.get(key, 0) + 1 if replicas is None else int(replicas)
    return sum(wanted.values())


def _top_owner(api: API, obj: Obj) -> Obj | None:
    """The workload at the top of the owners."""
    found = None
    reference = controller_of(obj)
    while reference is not None and reference["kind"] in SCALED:
        owner = api.find(reference["kind"], reference["name"], obj["metadata"]["namespace"])
        if owner is None:
            break
        found = owner
        reference = controller_of(owner)
    return found


def evict(api: API, name: str, namespace: str, options: Obj, *, dry_run: bool = False) -> None:
    """Delete a pod if all budgets allow it; `options` are DeleteOptions. Raises StatusError 404, 409, 429."""
    pod = api.get("Pod", name, namespace)
    if pod["status"].get("phase") not in ("Pending", "Succeeded", "Failed") and is_active(pod):
        _ask_budgets(api, pod)
    preconditions = options.get("preconditions") or {}
    api.delete(
        "Pod",
        name,
        namespace,
        grace_period=options.get("gracePeriodSeconds"),
        uid=preconditions.get("uid", ""),
        resource_version=preconditions.get("resourceVersion", ""),
        dry_run=dry_run,
    )


def _ask_budgets(api: API, pod: Obj) -> None:
    budgets = budgets_of(api, pod)
    if len(budgets) > 1:
        text = (
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
        raise StatusError(500, "InternalError", text)
    for budget in budgets:
        status = status_of(api, budget)
        surplus = status["currentHealthy"] >= status["desiredHealthy"] > 0
        if status["disruptionsAllowed"] > 0 or (not is_ready(pod) and surplus):
            continue
        needs = f"needs {status['desiredHealthy']} healthy pods and has {status['currentHealthy']} currently"
        cause = f"The disruption budget {key_of(budget)[1]} {needs}"
        text = "Cannot evict pod as it would violate the pod's disruption budget."
        raise StatusError(
            429, "TooManyRequests", text, {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
        )
