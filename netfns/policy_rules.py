"""From policies to what can be looked up: gates, sets of peers, elements. The desired state of policy.py.

    the policies that isolate one pod in one direction
        |  gate()
        v
    Gate ingress/x/allow-web   80/TCP      -> Peers 3f0a…  (pods app=api of namespace x; 10.0.0.0/8)
                               1-79/UDP    -> everyone
                               otherwise   -> Peers {}     (whatever has no such port)

All rules of all these policies are laid over each other, and the ports are cut where a rule begins or ends:
then every port lies in one piece, and every piece has one set of peers. So a packet costs three lookups, its
pod's gate, its port's piece, its sender among the peers, however many policies and peers there are. Peers
are named by what they are (a hash of the selectors), not by who uses them: gates share them, and a pod whose
labels change goes in and out of sets without any rule being touched.

A named port is a number that each receiving pod decides. On the way in that is the pod behind the gate, so the
gate's name tells the numbers; on the way out it is the peer, so there is a set of address, protocol and port.

Invariant: the pieces of a gate do not overlap; equal policies give equal gates.

Source: Kubernetes API reference, NetworkPolicy v1; the layout is recorded in
docs/adr/0013-network-policy-layout.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

from netfns.policy_types import ALL_PODS, EGRESS, Block, NamedPort, Peer, Pod, Pods, Policy, Port, numbers_of

LONGEST_NAME = 100  # characters; nft takes 127 for a comment and 255 for a name


@dataclass(frozen=True)
class Peers:
    """Whoever is one of `members`, or anybody at all."""

    members: frozenset[Peer] = frozenset()
    everyone: bool = False

    def __bool__(self) -> bool:
        return self.everyone or bool(self.members)

    @staticmethod
    def together(those: Iterable[Peers]) -> Peers:
        """Whoever is among any of those."""
        every = set(those)
        if len(every) == 1:
            return every.pop()
        if EVERYONE in every:
            return EVERYONE
        return _peers(frozenset().union(*(one.members for one in every)))

    @cached_property
    def id(self) -> str:
        """A short name that equal peers share."""
        return _digest(member.key for member in self.members)

    @cached_property
    def pods(self) -> tuple[Pods, ...]:
        """The members that are pods."""
        return tuple(sorted((m for m in self.members if isinstance(m, Pods)), key=attrgetter("key")))

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The members that are blocks of addresses."""
        return tuple(sorted((m for m in self.members if isinstance(m, Block)), key=attrgetter("key")))

    def __str__(self) -> str:
        return "everyone" if self.everyone else "; ".join(map(str, (*self.pods, *self.blocks)))


@lru_cache(maxsize=4096)
def _peers(members: frozenset[Peer]) -> Peers:
    """The same ones again, which know their name already."""
    return Peers(members)


NOBODY, EVERYONE = Peers(), Peers(everyone=True)
Spans = dict[tuple[int, int], set[Peers]]  # first and last port -> who may use them


@dataclass(frozen=True)
class NamedPorts:
    """The ports that pods among some peers give these names: pairs of a peer and a Port with a name."""

    members: frozenset[tuple[Peer, Port]]

    @cached_property
    def id(self) -> str:
        """A short name that equal ones share."""
        return _digest(map(repr, self.members))

    def __str__(self) -> str:
        return "; ".join(sorted(f"{port} of {peer}" for peer, port in self.members))


class Piece(NamedTuple):
    """The ports `first` to `last` of one protocol, and who may use them."""

    protocol: str
    first: int
    last: int
    peers: Peers


@dataclass(frozen=True)
class Gate:
    """What isolated pods let through in one direction; everything else is dropped.

    `owners`: the policies. `otherwise`: who may use any port of any protocol. `named`: on the way out, the
    ports that peers name.
    """

    name: str
    direction: str
    owners: tuple[str, ...]
    pieces: tuple[Piece, ...] = ()
    otherwise: Peers = NOBODY
    named: NamedPorts | None = None

    @cached_property
    def peers(self) -> frozenset[Peers]:
        """The peers that it asks about, each of which has sets and a chain of its own."""
        asked = {self.otherwise, *(piece.peers for piece in self.pieces)}
        return frozenset(peers for peers in asked if peers.members)


class Element(NamedTuple):
    """One element of a set, or with a `value` of a map; `owner` is the pod that it is there for."""

    place: str
    key: str
    owner: str
    value: str = ""

    def __str__(self) -> str:
        text = f'{self.key} comment "{self.owner[:127]}"'
        return f"{text} : {self.value}" if self.value else text


@dataclass(frozen=True)
class PolicyRules:
    """All that one node's policies are made of, or the part of it that changes.

    Only what concerns the node's own pods: their gates, the peers that these ask about (anywhere in the
    cluster), and the elements that say which address is behind which gate and among which peers.
    """

    gates: tuple[Gate, ...] = ()
    peers: tuple[Peers, ...] = ()
    named: tuple[NamedPorts, ...] = ()
    elements: tuple[Element, ...] = ()


# ---------------------------------------------------------------- gates


@lru_cache(maxsize=4096)  # pods of one kind have the same, on every node
def gate(direction: str, policies: tuple[Policy, ...], named_ports: tuple[NamedPort, ...]) -> Gate:
    """The gate of a pod that has these named ports and that these policies (one at least, all of the pod's namespace)
    isolate in a direction.
    """
    anywhere, named = set[Peers](), set[tuple[Peer, Port]]()
    spans: dict[str, Spans] = defaultdict(lambda: defaultdict(set))
    numbers = set[tuple[str, str, int]]()
    for policy in policies:
        for rule in policy.rules(direction) or ():
            peers = _peers(rule.members) if rule.peers else EVERYONE
            if not rule.ports:
                anywhere.add(peers)
            for port in rule.ports:
                if not port.name:
                    spans[port.protocol][port.first, port.last].add(peers)
                elif direction == EGRESS:
                    named |= {(peer, port) for peer in rule.peers or (ALL_PODS,)}
                else:
                    for number in numbers_of(port, named_ports):
                        spans[port.protocol][number, number].add(peers)
                        numbers.add((port.name, port.protocol, number))
    otherwise = Peers.together(anywhere)
    if otherwise.everyone:  # nothing is left to ask
        spans, named = {}, set()
    return Gate(
        _gate_name(direction, policies, numbers),
        direction,
        tuple(policy.owner for policy in policies),
        tuple(piece for protocol in sorted(spans) for piece in _cut(protocol, spans[protocol])),
        otherwise,
        NamedPorts(frozenset(named)) if named else None,
    )


def _cut(protocol: str, spans: Spans) -> Iterator[Piece]:
    """Spans of one protocol's ports that may overlap, as pieces that do not, in order; neighbours with the
    same peers are one piece.
    """
    starts = sorted({first for first, _ in spans} | {last + 1 for _, last in spans})
    waiting: Piece | None = None
    for start, end in pairwise(starts):
        laid = [those for (first, last), those in spans.items() if first <= start <= last]
        peers = Peers.together(one for those in laid for one in those)
        if waiting and (waiting.last + 1, waiting.peers) == (start, peers):
            waiting = waiting._replace(last=end - 1)
            continue
        if waiting:
            yield waiting
        waiting = Piece(protocol, start, end - 1, peers) if peers else None
    if waiting:
        yield waiting


def _gate_name(direction: str, policies: Sequence[Policy], numbers: Iterable[tuple[str, str, int]]) -> str:
    """`ingress/NAMESPACE/POLICY…/PORT-NAME.PROTOCOL.NUMBER…`; with a hash in the place of what is too long."""
    parts = [policies[0].namespace, *(policy.name for policy in policies)]
    parts += [f"{name}.{protocol.lower()}.{number}" for name, protocol, number in sorted(numbers)]
    name = "/".join((direction, *parts))
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 11]}/{_digest([name])}"


def _digest(texts: Iterable[str]) -> str:
    return sha256("\n".join(sorted(texts)).encode()).hexdigest()[:10]


# ---------------------------------------------------------------- elements


def family_of(address: str) -> str:
    """4 or 6, as the names of sets end."""
    return "6" if ":" in address else "4"


def isolation(pod: Pod, gates: Sequence[Gate]) -> Iterable[Element]:
    """The elements that put a pod of the node behind its gates, and let it reach itself all the same."""
    return (*behind(pod, gates), *itself(pod)) if gates else ()


def behind(pod: Pod, gates: Iterable[Gate]) -> Iterator[Element]:
    """The elements that put a pod behind some of its gates."""
    for one in gates:
        for address in pod.addresses:
            yield Element(f"{one.direction}{family_of(address)}", address, pod.owner, f"jump {one.name}")


def itself(pod: Pod) -> Iterator[Element]:
    """The elements that let an isolated pod reach itself."""
    for address in pod.addresses:
        yield Element(f"itself{family_of(address)}", f"{address} . {address}", pod.owner)


def membership(pod: Pod, peers: Peers) -> Iterable[Element]:
    """The elements of a pod that is among the peers."""
    for address in pod.addresses:
        yield Element(f"peers{family_of(address)}-{peers.id}", address, pod.owner)


def named_membership(pod: Pod, named: NamedPorts, peer: Peer, port: Port) -> Iterable[Element]:
    """The elements of a pod that is such a peer, for one of the names, which it may give to several numbers."""
    for address in pod.addresses:
        if isinstance(peer, Block) and not peer.contains(address):
            continue
        for number in pod.ports_named(port):
            key = f"{address} . {port.protocol.lower()} . {number}"
            yield Element(f"named{family_of(address)}-{named.id}", key, pod.owner)


# ---------------------------------------------------------------- blocks


def address_ranges(blocks: Iterable[Block], family: str) -> list[str]:
    """The addresses of all blocks of one family, without their exceptions, as ranges that do not overlap."""
    spans = [span for block in blocks if (":" in block.cidr) == (family == "6") for span in _spans(block)]
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return [_range(first, last, family) for first, last in merged]


@lru_cache(maxsize=4096)
def _range(first: int, last: int, family: str) -> str:
    kind = IPv6Address if family == "6" else IPv4Address
    return f"{kind(first)}-{kind(last)}" if first < last else str(kind(first))


@lru_cache(maxsize=4096)
def _spans(block: Block) -> tuple[tuple[int, int], ...]:
    """The first and last addresses of what is left of a block without its exceptions."""
    outer, exceptions = block.networks
    first, end = _bounds(outer)
    found = list[tuple[int, int]]()
    for begins, ends in sorted(map(_bounds, exceptions)):
        if first < begins:
            found.append((first, begins - 1))
        first = max(first, ends + 1)
    if first <= end:
        found.append((first, end))
    return tuple(found)


def _bounds(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    return int(network.network_address), int(network.broadcast_address)
