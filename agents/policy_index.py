"""Who matches what: pods, namespaces and policies, kept so that a change costs what it touches.

    set_pod, set_namespace, set_policy --> ClusterIndex --touched pod--> NodeRules, one a node
                                            pod -> peers that it is among
                                            pod -> policies that isolate it

With a thousand policies, a pod whose labels change must not be held against a thousand selectors. So selectors
are found by a hint: a label that whoever matches must have, else the namespace that it must be in, else none.
A pod is held against those that its labels and its namespace point at, and no others.

Invariant: `peers_of` and `isolating` are what selector by selector would give; an address belongs to one pod,
the one that was the last to get it.

Source: Kubernetes documentation, "Labels and Selectors"; client-go's indexers, for the habit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from netfns.policy_types import ALL_PODS, DIRECTIONS, Block, Cluster, Peer, Pod, Pods, Policy, Selector

T = TypeVar("T", bound=Hashable)
PolicyKey = tuple[str, str]


class Listener(Protocol):
    """Whoever wants to know which pods to look at again."""

    def touched(self, uid: str) -> None:
        """A pod is new, gone, or other peers or policies match it now."""

    def policy_changed(self, key: PolicyKey, isolated: AbstractSet[str]) -> None:
        """A policy is new, gone or different: the pods that it isolates, or did, are to be isolated otherwise.
        Nothing else about them is different.
        """


class Hinted(Generic[T]):
    """Things that are found by hints: those of a pod lead to all that may match it."""

    def __init__(self) -> None:
        self._by_hint: dict[Hashable, dict[T, None]] = defaultdict(dict)

    def add(self, thing: T, hints: Iterable[Hashable]) -> None:
        """Find it by each of these hints."""
        for hint in hints:
            self._by_hint[hint][thing] = None

    def remove(self, thing: T, hints: Iterable[Hashable]) -> None:
        """Find it no more."""
        for hint in hints:
            self._by_hint[hint].pop(thing, None)
            if not self._by_hint[hint]:
                del self._by_hint[hint]

    def find(self, hints: Iterable[Hashable]) -> Iterator[T]:
        """Everything that one of the hints leads to."""
        for hint in hints:
            yield from self._by_hint.get(hint, ())


class ClusterIndex:
    """See the head of this file. Pods are known by their uid, policies by namespace and name."""

    def __init__(self) -> None:
        self.pods: dict[str, Pod] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.policies: dict[PolicyKey, Policy] = {}
        self.peers_of: dict[str, frozenset[Peer]] = {}
        self.matching: dict[Peer, set[str]] = {}  # the uids of the pods among a peer in use
        self.listeners: list[Listener] = []
        self._uses = Counter[Peer]()
        self._peers, self._selecting = Hinted[Peer](), Hinted[PolicyKey]()
        self._in_namespace: dict[str, set[str]] = defaultdict(set)
        self._said: dict[str, tuple[str, ...]] = {}  # the addresses that a pod was last said to have
        self._holder: dict[str, str] = {}  # address -> uid

    # ---------------------------------------------------------------- changes

    def set_pod(self, uid: str, pod: Pod | None) -> None:
        """A pod is so now; None: it is gone."""
        addresses = pod.addresses if pod is not None else ()
        losers = [self._holder[a] for a in addresses if self._claims(uid, a)]
        for address in self._said.get(uid, ()):
            if self._holder.get(address) == uid and address not in addresses:
                del self._holder[address]
        for address in addresses:
            if address not in self._said.get(uid, ()):
                self._holder[address] = uid
        if pod is None:
            self._said.pop(uid, None)
        else:
            self._said[uid] = addresses
            pod = replace(pod, addresses=tuple(a for a in addresses if self._holder.get(a) == uid))
        for loser in losers:
            held = self.pods[loser]
            self._put(loser, replace(held, addresses=tuple(a for a in held.addresses if a not in addresses)))
        self._put(uid, pod)

    def _claims(self, uid: str, address: str) -> bool:
        """Whether a pod takes an address from another by being said to have it, which it was not before."""
        return self._holder.get(address, uid) != uid and address not in self._said.get(uid, ())

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """A namespace has these labels now; None: it is gone."""
        if labels is None:
            self.namespaces.pop(name, None)
        else:
            self.namespaces[name] = labels
        for uid in tuple(self._in_namespace.get(name, ())):
            self._put(uid, self.pods[uid])

    def set_policy(self, key: PolicyKey, policy: Policy | None) -> None:
        """A policy is so now; None: it is gone."""
        old = self.policies.pop(key, None)
        touched = self._isolated_by(old) | self._isolated_by(policy)
        if policy is not None:
            self.policies[key] = policy
            self._selecting.add(key, _policy_hints(policy))
            self._use(_peers(policy))
        if old is not None and (policy is None or _policy_hints(policy) != _policy_hints(old)):
            self._selecting.remove(key, _policy_hints(old))
            if policy is not None:
                self._selecting.add(key, _policy_hints(policy))
        for listener in self.listeners:
            listener.policy_changed(key, touched)
        if old is not None:  # now that nobody asks about them
            self._disuse(_peers(old))

    # ---------------------------------------------------------------- questions

    def selecting(self, pod: Pod) -> list[Policy]:
        """The policies that select a pod, by name."""
        keys = sorted(set(self._selecting.find(_pod_hints(pod, {}))))
        return [p for p in map(self.policies.__getitem__, keys) if p.pods.matches(pod.labels)]

    def isolating(self, pod: Pod, direction: str) -> list[Policy]:
        """The policies that isolate a pod in a direction, by name."""
        return [p for p in self.selecting(pod) if p.rules(direction) is not None]

    def cluster(self) -> Cluster:
        """Everybody, as `evaluate` wants to know them."""
        return Cluster(tuple(self.pods.values()), self.namespaces)

    # ---------------------------------------------------------------- inner

    def _put(self, uid: str, pod: Pod | None) -> None:
        before, peers_before = self.pods.get(uid), self.peers_of.get(uid)
        peers = frozenset(self._find_peers(pod)) if pod is not None else frozenset[Peer]()
        if (before, peers_before) == (pod, peers):
            return
        for peer in (peers_before or frozenset()) - peers:
            self.matching[peer].discard(uid)
        for peer in peers - (peers_before or frozenset()):
            self.matching[peer].add(uid)
        if before is not None:
            self._in_namespace[before.namespace].discard(uid)
        if pod is None:
            self.pods.pop(uid, None)
            self.peers_of.pop(uid, None)
        else:
            self.pods[uid], self.peers_of[uid] = pod, peers
            self._in_namespace[pod.namespace].add(uid)
        for listener in self.listeners:
            listener.touched(uid)

    def _find_peers(self, pod: Pod) -> Iterator[Peer]:
        labels = self.namespaces.get(pod.namespace, {})
        for peer in self._peers.find(_pod_hints(pod, labels)):
            if _is_among(peer, pod, labels):
                yield peer

    def _isolated_by(self, policy: Policy | None) -> set[str]:
        """The uids of the pods that a policy isolates."""
        if policy is None:
            return set()
        uids = self._in_namespace.get(policy.namespace, ())
        return {uid for uid in uids if policy.pods.matches(self.pods[uid].labels)}

    def _use(self, peers: Iterable[Peer]) -> None:
        for peer in peers:
            self._uses[peer] += 1
            if self._uses[peer] > 1:
                continue
            self._peers.add(peer, _peer_hints(peer))
            namespace = peer.namespace if isinstance(peer, Pods) else ""
            uids = self._in_namespace.get(namespace, ()) if namespace else self.pods
            self.matching[peer] = {uid for uid in uids if self._is_peer(peer, self.pods[uid])}
            for uid in self.matching[peer]:
                self.peers_of[uid] |= {peer}

    def _is_peer(self, peer: Peer, pod: Pod) -> bool:
        return _is_among(peer, pod, self.namespaces.get(pod.namespace, {}))

    def _disuse(self, peers: Iterable[Peer]) -> None:
        for peer in peers:
            self._uses[peer] -= 1
            if not self._uses[peer]:
                del self._uses[peer]
                self._peers.remove(peer, _peer_hints(peer))
                for uid in self.matching.pop(peer):
                    self.peers_of[uid] -= {peer}


def _is_among(peer: Peer, pod: Pod, namespace_labels: Mapping[str, str]) -> bool:
    if isinstance(peer, Block):
        return any(map(peer.contains, pod.addresses))
    if not peer.pods.matches(pod.labels):
        return False
    return pod.namespace == peer.namespace if peer.namespace else peer.namespaces.matches(namespace_labels)


def _peers(policy: Policy) -> list[Peer]:
    """Every peer of a policy that it matters to know the pods of.

    Blocks of addresses are asked about as they are. Only where a rule names a port, each of the pods inside may
    mean another number; and where it names no peer, all pods are meant.
    """
    found = list[Peer]()
    for direction in DIRECTIONS:
        for rule in policy.rules(direction) or ():
            named = any(port.name for port in rule.ports)
            found += [peer for peer in rule.peers if named or isinstance(peer, Pods)]
            if named and not rule.peers:
                found.append(ALL_PODS)
    return found


# ---------------------------------------------------------------- hints


def _required(word: str, selector: Selector) -> list[Hashable]:
    """Labels of which whoever matches has one; none when the selector asks for no particular value."""
    for requirement in selector.requirements:
        if requirement.operator == "In":
            return [(word, requirement.key, value) for value in requirement.values]
    return []


def _peer_hints(peer: Peer) -> list[Hashable]:
    if isinstance(peer, Block):
        return [()]
    labels = _required("pod", peer.pods)
    if labels:
        return labels
    return [("namespace", peer.namespace)] if peer.namespace else _required("of", peer.namespaces) or [()]


def _policy_hints(policy: Policy) -> list[Hashable]:
    labels = _required("pod", policy.pods)
    # A label alone would lead to the policies of every namespace that says the same of its pods.
    return [(policy.namespace, *label) for label in labels if isinstance(label, tuple)] or [
        ("namespace", policy.namespace)
    ]


def _pod_hints(pod: Pod, namespace_labels: Mapping[str, str]) -> Iterator[Hashable]:
    yield ()
    yield "namespace", pod.namespace
    for key, value in pod.labels.items():
        yield "pod", key, value
        yield pod.namespace, "pod", key, value
    for key, value in namespace_labels.items():
        yield "of", key, value
