"""Which pods may be near which, and which should be: inter-pod affinity, anti-affinity, topology spreading.

    domain     the nodes that have the same value of a label (the topology key): a host, a zone
    term       a choice of pods, and a topology key: "in a domain where one of them is", or where none is
    spreading  no domain shall have more than maxSkew pods of a choice more than the one with the fewest

For one pod the terms are worked out once, into sets of domains; asking for each node is then a look-up.

Sources: Kubernetes documentation "Assigning Pods to Nodes", "Pod Topology Spread Constraints"; the scheduler's plugins
InterPodAffinity and PodTopologySpread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from controlplane.meta import Obj, labels_of
from controlplane.scheduling import placement
from controlplane.selectors import LabelSelector, Requirement, from_object

Domain = tuple[str, str]  # a node's label: key, value
Choice = Callable[[Obj], bool]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True)
class Scene:
    """What there is: nodes by name, the pods that are on them, the labels of namespaces."""

    nodes: Mapping[str, Obj]
    pods: Sequence[Obj]
    namespaces: Mapping[str, Mapping[str, str]]

    def domains(self, key: str, choice: Choice) -> Counter[str]:
        """How many of the pods that are chosen each domain has."""
        found: Counter[str] = Counter()
        for pod in self.pods:
            if choice(pod):
                value = labels_of(self.nodes.get(pod["spec"]["nodeName"], _NOWHERE)).get(key)
                if value is not None:
                    found[value] += 1
        return found


_NOWHERE: Obj = {"metadata": {}}


def wishes(pod: Obj) -> bool:
    """Whether a pod says anything about its neighbours."""
    affinity = pod["spec"].get("affinity") or {}
    return bool(
        affinity.get("podAffinity")
        or affinity.get("podAntiAffinity")
        or pod["spec"].get("topologySpreadConstraints")
    )


def repels(pod: Obj) -> bool:
    """Whether a pod that runs may keep others away."""
    return bool(((pod["spec"].get("affinity") or {}).get("podAntiAffinity") or {}).get(REQUIRED))


class Neighbours:
    """What one pod asks of each node, by who else is there."""

    def __init__(self, pod: Obj, scene: Scene) -> None:
        affinity = pod["spec"].get("affinity") or {}
        near, far = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
        self._near = [_Near(pod, term, scene) for term in near.get(REQUIRED) or ()]
        self._far = {
            (term["topologyKey"], value)
            for term in far.get(REQUIRED) or ()
            for value in scene.domains(term["topologyKey"], chosen(pod, term, scene))
        }
        self._kept_away = set(_kept_away(pod, scene))
        constraints = pod["spec"].get("topologySpreadConstraints") or ()
        self._spreads = [_Spread(pod, constraint, scene) for constraint in constraints]
        self._weights: Counter[Domain] = Counter()
        for sign, terms in ((1, near.get(PREFERRED)), (-1, far.get(PREFERRED))):
            for weighted in terms or ():
                term = weighted["podAffinityTerm"]
                for value, count in scene.domains(term["topologyKey"], chosen(pod, term, scene)).items():
                    self._weights[term["topologyKey"], value] += sign * weighted["weight"] * count

    def why_not(self, node: Obj) -> list[str]:
        """Why the pod may not be on the node, in the scheduler's words."""
        labels = labels_of(node)
        reasons = [reason for spread in self._spreads if (reason := spread.why_not(labels))]
        if not all(near.holds(labels) for near in self._near):
            reasons.append("node(s) didn't match pod affinity rules")
        if any(labels.get(key) == value for key, value in self._far):
            reasons.append("node(s) didn't match pod anti-affinity rules")
        if any(labels.get(key) == value for key, value in self._kept_away):
            reasons.append("node(s) didn't satisfy existing pods anti-affinity rules")
        return reasons

    def dislike(self, node: Obj) -> float:
        """How little the pod likes the node for who else is there; less is better."""
        labels = labels_of(node)
        liked = sum(weight for (key, value), weight in self._weights.items() if labels.get(key) == value)
        return sum(spread.crowd(labels) for spread in self._spreads) - liked


class _Near:
    """A required term of affinity. The first of pods that want to be together may be anywhere."""

    def __init__(self, pod: Obj, term: Obj, scene: Scene) -> None:
        self._key = term["topologyKey"]
        choice = chosen(pod, term, scene)
        self._values = scene.domains(self._key, choice)
        self._first = not any(map(choice, scene.pods)) and choice(pod)

    def holds(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self._key)
        return value is not None and (self._first or value in self._values)


class _Spread:
    """One topology spread constraint."""

    def __init__(self, pod: Obj, constraint: Obj, scene: Scene) -> None:
        self._key, self._most = constraint["topologyKey"], constraint["maxSkew"]
        self._required = constraint.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule"
        selector = _with_own(from_object(constraint.get("labelSelector")), constraint, pod)
        self._counts: Counter[str] = Counter()
        for node in scene.nodes.values():
            value = labels_of(node).get(self._key)
            if value is not None and _counts(node, pod, constraint):
                self._counts[value] += 0
        same = pod["metadata"]["namespace"]

        def alike(other: Obj) -> bool:
            return (
                selector is not None
                and other["metadata"]["namespace"] == same
                and "deletionTimestamp" not in other["metadata"]
                and selector.matches(labels_of(other))
            )

        for value, count in scene.domains(self._key, alike).items():
            if value in self._counts:
                self._counts[value] += count
        self._itself = int(selector is not None and selector.matches(labels_of(pod)))
        few = len(self._counts) < constraint.get("minDomains", 1)
        self._least = 0 if few else min(self._counts.values(), default=0)

    def why_not(self, labels: Mapping[str, str]) -> str:
        if not self._required:
            return ""
        value = labels.get(self._key)
        if value is None:
            return "node(s) didn't match pod topology spread constraints (missing required label)"
        skew = self._counts.get(value, 0) + self._itself - self._least
        return "node(s) didn't match pod topology spread constraints" if skew > self._most else ""

    def crowd(self, labels: Mapping[str, str]) -> int:
        return self._counts.get(labels.get(self._key, ""), 0)


def _with_own(selector: LabelSelector | None, constraint: Obj, pod: Obj) -> LabelSelector | None:
    """The selector, and the pod's own values of matchLabelKeys."""
    keys = [key for key in constraint.get("matchLabelKeys") or () if key in labels_of(pod)]
    if selector is None or not keys:
        return selector
    own = tuple(Requirement(key, "In", frozenset([labels_of(pod)[key]])) for key in keys)
    return LabelSelector((*selector.requirements, *own))


def _counts(node: Obj, pod: Obj, constraint: Obj) -> bool:
    """Whether the node is one whose domain is to have its share."""
    if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and not placement.is_selected(
        pod["spec"], node
    ):
        return False
    taints = (node.get("spec") or {}).get("taints") or ()
    honoured = constraint.get("nodeTaintsPolicy") == "Honor"
    return not (honoured and placement.untolerated(pod, taints))


def chosen(pod: Obj, term: Obj, scene: Scene) -> Choice:
    """Which pods a term of `pod` means: by their labels, in its own namespace unless it names others."""
    selector = _with_own(from_object(term.get("labelSelector")), term, pod)
    names = set(term.get("namespaces") or ())
    by_labels = from_object(term.get("namespaceSelector"))
    if by_labels is not None:
        names |= {name for name, labels in scene.namespaces.items() if by_labels.matches(labels)}
    elif not names:
        names = {pod["metadata"]["namespace"]}

    def choice(other: Obj) -> bool:
        return (
            selector is not None
            and other["metadata"]["namespace"] in names
            and selector.matches(labels_of(other))
        )

    return choice


def _kept_away(pod: Obj, scene: Scene) -> Iterable[Domain]:
    """The domains of pods that do not want this one near them."""
    for other in scene.pods:
        if repels(other):
            labels = labels_of(scene.nodes.get(other["spec"]["nodeName"], _NOWHERE))
            for term in other["spec"]["affinity"]["podAntiAffinity"][REQUIRED]:
                if term["topologyKey"] in labels and chosen(other, term, scene)(pod):
                    yield term["topologyKey"], labels[term["topologyKey"]]
