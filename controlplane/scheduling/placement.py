"""May this pod run on that node? Taints and tolerations, node selectors, node affinity: pure functions.

Sources: Kubernetes documentation "Taints and Tolerations", "Assigning Pods to Nodes".
"""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.meta import Obj, labels_of
from controlplane.selectors import Requirement

UNSCHEDULABLE: Obj = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
REPELLING = ("NoSchedule", "NoExecute")


def tolerates(toleration: Obj, taint: Obj) -> bool:
    """Whether one toleration covers one taint."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def untolerated(pod: Obj, taints: Sequence[Obj]) -> list[Obj]:
    """The taints that no toleration of the pod covers."""
    if not taints:
        return []
    tolerations = pod["spec"].get("tolerations") or ()
    return [taint for taint in taints if not any(tolerates(entry, taint) for entry in tolerations)]


def why_not(pod: Obj, node: Obj) -> str:
    """Why the node is out of the question, in the scheduler's words; "" if it is not."""
    spec = node.get("spec") or {}
    if spec.get("unschedulable") and untolerated(pod, [UNSCHEDULABLE]):
        return "node(s) were unschedulable"
    for taint in untolerated(pod, spec.get("taints") or ()):
        if taint["effect"] in REPELLING:
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    if not is_selected(pod["spec"], node):
        return "node(s) didn't match Pod's node affinity/selector"
    return ""


def preference(pod: Obj, node: Obj) -> int:
    """How much the pod's preferred node affinity speaks for the node: the weights of the terms that hold."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity")
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") if affinity else None
    if not preferred:
        return 0
    return sum(term["weight"] for term in preferred if _term_matches(term["preference"], node))


def disliked_taints(pod: Obj, node: Obj) -> int:
    """How many PreferNoSchedule taints speak against the node."""
    taints = (node.get("spec") or {}).get("taints")
    if not taints:
        return 0
    return len([taint for taint in untolerated(pod, taints) if taint["effect"] == "PreferNoSchedule"])


def differs(old: Obj, new: Obj) -> bool:
    """Whether a node's change can change an answer."""
    return (
        labels_of(old) != labels_of(new)
        or old.get("spec") != new.get("spec")
        or (old.get("status") or {}).get("allocatable") != (new.get("status") or {}).get("allocatable")
    )


def is_selected(spec: Obj, node: Obj) -> bool:
    """Whether a pod's node selector and required node affinity choose the node."""
    selector = spec.get("nodeSelector")
    if selector:
        labels = labels_of(node)
        if not all(labels.get(key) == value for key, value in selector.items()):
            return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity")
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") if affinity else None
    return required is None or any(
        _term_matches(term, node) for term in required.get("nodeSelectorTerms") or ()
    )


def _term_matches(term: Obj, node: Obj) -> bool:
    """All expressions of a term must hold; an empty term holds nowhere."""
    fields = {"metadata.name": node["metadata"]["name"]}
    expressions = [(entry, labels_of(node)) for entry in term.get("matchExpressions") or ()]
    expressions += [(entry, fields) for entry in term.get("matchFields") or ()]
    return bool(expressions) and all(
        Requirement(entry["key"], entry["operator"], frozenset(entry.get("values") or ())).matches(values)
        for entry, values in expressions
    )
