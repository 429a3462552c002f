"""One node's policy rules, kept up to date pod by pod.

    ClusterIndex --touched(uid)--> the pod's gates, if it is on this node
                                   the pod's elements: behind its gates, among the peers that gates ask about
                                       |
                                       v  take_change(): only what is different since the last time
                                   (PolicyRules before, PolicyRules now) --render_change--> kernel

What a gate asks about is held only while a pod of this node is behind it, so a node knows of the cluster
what its own pods' policies need and nothing else.

Invariant: `everything()` is what a fresh NodeRules over the same index would say; `take_change` forgets what
it has told.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from operator import attrgetter

from agents.policy_index import ClusterIndex, PolicyKey
from netfns.policy_rules import (
    Element,
    Gate,
    NamedPorts,
    Peers,
    PolicyRules,
    behind,
    gate,
    isolation,
    itself,
    membership,
    named_membership,
)
from netfns.policy_types import DIRECTIONS, NamedPort, Peer, Pod, Policy, Port

Place = tuple[str, str]  # a set's or map's name and a key in it
Kind = tuple[frozenset[tuple[str, str]], tuple[NamedPort, ...]]  # labels, and ports that have names
MOST_KINDS = 1000  # of a namespace's pods that are remembered


@dataclass
class Alike:
    """Pods of one kind: the policies that select them, by name, and their gates."""

    policies: tuple[Policy, ...]
    gates: tuple[Gate, ...]


class NodeRules:
    """See the head of this file. `node` is the node's name."""

    def __init__(self, node: str, index: ClusterIndex) -> None:
        self.node = node
        self._index = index
        self._gates: dict[str, Gate] = {}
        self._behind: dict[str, set[str]] = defaultdict(set)  # gate -> uids
        self._gates_of: dict[str, tuple[Gate, ...]] = {}
        self._asking: dict[Peers | NamedPorts, set[str]] = {}  # what gates ask about -> their names
        self._among: dict[Peer, dict[Peers, None]] = defaultdict(dict)
        self._named: dict[Peer, dict[tuple[NamedPorts, Port], None]] = defaultdict(dict)
        self._elements: dict[Place, Element] = {}
        self._elements_of: dict[str, set[Element]] = {}
        self._alike: dict[str, dict[Kind, Alike]] = defaultdict(dict)  # by namespace
        self._told: dict[Place, Element | None] = {}  # what was different at the last time, as it was then
        self._told_gates: dict[str, Gate | None] = {}
        self._told_asking: dict[Peers | NamedPorts, bool] = {}
        index.listeners.append(self)
        for uid in tuple(index.pods):
            self.touched(uid)

    @property
    def empty(self) -> bool:
        """Whether no pod of the node is isolated."""
        return not self._gates

    @property
    def changed(self) -> bool:
        """Whether `take_change` has something to tell."""
        return bool(self._told or self._told_gates or self._told_asking)

    def isolates(self, uid: str) -> bool:
        """Whether a pod is behind a gate of this node."""
        return bool(self._gates_of.get(uid))

    def isolated(self) -> Iterator[Element]:
        """The elements that put the node's pods behind their gates."""
        for uid, gates in self._gates_of.items():
            pod = self._index.pods.get(uid)
            if pod is not None:
                yield from isolation(pod, gates)

    # ---------------------------------------------------------------- changes

    def policy_changed(self, key: PolicyKey, isolated: AbstractSet[str]) -> None:
        """Put the pods that it isolates, or did, behind the gates that are theirs now."""
        namespace, name = key
        policy = self._index.policies.get(key)
        for (labels, named_ports), alike in self._alike[namespace].items():
            others = [one for one in alike.policies if one.name != name]
            if policy is not None and policy.pods.matches(dict(labels)):
                insort(others, policy, key=attrgetter("name"))
            if len(others) != len(alike.policies) or policy in others:
                alike.policies = tuple(others)
                alike.gates = _gates(alike.policies, named_ports)
        for uid in isolated:
            pod = self._index.pods[uid]
            if pod.node == self.node:
                before = self._gates_of.get(uid, ())
                now = self._isolate(uid, pod)
                self._drop(uid, behind(pod, [one for one in before if one not in now]))
                self._hold(uid, behind(pod, [one for one in now if one not in before]))
                if before and not now:
                    self._drop(uid, itself(pod))
                elif now and not before:
                    self._hold(uid, itself(pod))

    def touched(self, uid: str) -> None:
        """Look at a pod again."""
        pod = self._index.pods.get(uid)
        self._isolate(uid, pod)
        self._place(uid, pod)

    def _isolate(self, uid: str, pod: Pod | None) -> tuple[Gate, ...]:
        """Put a pod behind its gates, which are returned, and behind no others."""
        gates = self._find_gates(pod) if pod is not None and pod.node == self.node else ()
        before = self._gates_of.get(uid, ())
        if gates != before:
            for one in gates:
                if one not in before:
                    self._enter(uid, one)
            for name in {one.name for one in before} - {one.name for one in gates}:
                self._leave(uid, name)
            self._gates_of[uid] = gates
            if not gates:
                del self._gates_of[uid]
        return gates

    def _find_gates(self, pod: Pod) -> tuple[Gate, ...]:
        """The gates of a pod; pods of one kind have the same ones."""
        known, kind = self._alike[pod.namespace], (frozenset(pod.labels.items()), pod.named_ports)
        if kind not in known:
            if len(known) >= MOST_KINDS:
                known.clear()
            policies = tuple(self._index.selecting(pod))
            known[kind] = Alike(policies, _gates(policies, pod.named_ports))
        return known[kind].gates

    def _enter(self, uid: str, one: Gate) -> None:
        """A pod is behind a gate, which may be new or different from what it was."""
        self._behind[one.name].add(uid)
        before = self._gates.get(one.name)
        if before == one:
            return
        self._told_gates.setdefault(one.name, before)
        self._gates[one.name] = one
        asked = _asked(one)
        for new in asked - (_asked(before) if before else set()):
            self._ask(new, one.name)
        for old in (_asked(before) if before else set()) - asked:
            self._ask_no_more(old, one.name)

    def _leave(self, uid: str, name: str) -> None:
        self._behind[name].discard(uid)
        if self._behind[name]:
            return
        del self._behind[name]
        one = self._gates.pop(name)
        self._told_gates.setdefault(name, one)
        for old in _asked(one):
            self._ask_no_more(old, name)

    def _ask(self, asked: Peers | NamedPorts, name: str) -> None:
        if asked in self._asking:
            self._asking[asked].add(name)
            return
        self._told_asking.setdefault(asked, False)
        self._asking[asked] = {name}
        if isinstance(asked, Peers):
            for member in asked.pods:
                self._among[member][asked] = None
        else:
            for peer, port in asked.members:
                self._named[peer][asked, port] = None
        for uid, element in self._answering(asked):
            self._hold(uid, [element])

    def _ask_no_more(self, asked: Peers | NamedPorts, name: str) -> None:
        self._asking[asked].discard(name)
        if self._asking[asked]:
            return
        del self._asking[asked]
        self._told_asking.setdefault(asked, True)
        if isinstance(asked, Peers):
            for member in asked.pods:
                del self._among[member][asked]
        else:
            for peer, port in asked.members:
                del self._named[peer][asked, port]
        for uid, element in self._answering(asked):
            self._drop(uid, [element])

    def _answering(self, asked: Peers | NamedPorts) -> Iterator[tuple[str, Element]]:
        """The pods that a gate asks about, by uid, with their elements."""
        if isinstance(asked, Peers):
            uids = {uid for member in asked.pods for uid in self._index.matching.get(member, ())}
            for uid in uids:
                for element in membership(self._index.pods[uid], asked):
                    yield uid, element
            return
        for peer, port in asked.members:
            for uid in tuple(self._index.matching.get(peer, ())):
                for element in named_membership(self._index.pods[uid], asked, peer, port):
                    yield uid, element

    def _place(self, uid: str, pod: Pod | None) -> None:
        """The elements of a pod, as they are to be now."""
        now = set(self._find_elements(uid, pod)) if pod is not None else set[Element]()
        before = self._elements_of.get(uid, set())
        self._drop(uid, before - now)
        self._hold(uid, now - before)
        if not now:
            self._elements_of.pop(uid, None)

    def _hold(self, uid: str, elements: Iterable[Element]) -> None:
        held = self._elements_of.setdefault(uid, set())
        for element in elements:
            if element not in held:
                held.add(element)
                place = element.place, element.key
                self._told.setdefault(place, self._elements.get(place))
                self._elements[place] = element

    def _drop(self, uid: str, elements: Iterable[Element]) -> None:
        held = self._elements_of.get(uid, set())
        for element in elements:
            held.discard(element)
            place = element.place, element.key
            if self._elements.get(place) == element:
                self._told.setdefault(place, element)
                del self._elements[place]

    def _find_elements(self, uid: str, pod: Pod) -> Iterator[Element]:
        yield from isolation(pod, self._gates_of.get(uid, ()))
        for peer in self._index.peers_of.get(uid, ()):
            for peers in self._among.get(peer, ()):
                yield from membership(pod, peers)
            for named, port in self._named.get(peer, ()):
                yield from named_membership(pod, named, peer, port)

    # ---------------------------------------------------------------- what to load

    def everything(self) -> PolicyRules:
        """All rules of the node; nothing is left to tell."""
        self._forget()
        return PolicyRules(
            tuple(self._gates[name] for name in sorted(self._gates)),
            tuple(sorted((a for a in self._asking if isinstance(a, Peers)), key=lambda a: a.id)),
            tuple(sorted((a for a in self._asking if isinstance(a, NamedPorts)), key=lambda a: a.id)),
            tuple(self._elements[place] for place in sorted(self._elements)),
        )

    def take_change(self) -> tuple[PolicyRules, PolicyRules]:
        """What is different since the last time: as it was, and as it is."""
        asked = [(a, was, a in self._asking) for a, was in self._told_asking.items()]
        old, new = (
            PolicyRules(
                tuple(one for one in gates if one is not None),
                tuple(a for a, *there in asked if isinstance(a, Peers) and there[i]),
                tuple(a for a, *there in asked if isinstance(a, NamedPorts) and there[i]),
                tuple(element for element in elements if element is not None),
            )
            for i, gates, elements in (
                (0, self._told_gates.values(), self._told.values()),
                (1, map(self._gates.get, self._told_gates), map(self._elements.get, self._told)),
            )
        )
        self._forget()
        return old, new

    def _forget(self) -> None:
        self._told, self._told_gates, self._told_asking = {}, {}, {}


def _gates(policies: Sequence[Policy], named_ports: tuple[NamedPort, ...]) -> tuple[Gate, ...]:
    """The gates of pods that have these named ports and that these policies select."""
    found = list[Gate]()
    for direction in DIRECTIONS:
        isolating = tuple(policy for policy in policies if policy.rules(direction) is not None)
        if isolating:
            found.append(gate(direction, isolating, named_ports))
    return tuple(found)


def _asked(one: Gate) -> set[Peers | NamedPorts]:
    """What a gate asks about."""
    return {*one.peers, *([one.named] if one.named else [])}
