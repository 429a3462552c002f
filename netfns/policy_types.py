"""What a NetworkPolicy is, and who it speaks about: the records that verdicts and rules are made from.

    NetworkPolicy x/web   pods  app=web            which pods of namespace x it isolates
         |                ingress: rules | None    None: it says nothing about that direction
         v                egress:  rules | None    (): nobody
    Rule                  ports, peers             each empty: all of them
         |
         v
    Peer = Pods (of one namespace, or of those that a selector chooses) | Block (addresses, with exceptions)

Invariant: a selector without requirements matches everything. What the API leaves out is filled in here
already: the protocol is TCP, a port without a number is all ports of its protocol.

Sources: Kubernetes API reference, NetworkPolicy v1; Kubernetes documentation, "Network Policies", "Labels
and Selectors".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

LAST_PORT = 65535
PROTOCOLS = ("TCP", "UDP", "SCTP")
INGRESS, EGRESS = "ingress", "egress"
DIRECTIONS = (EGRESS, INGRESS)  # in the order in which a packet meets them


@dataclass(frozen=True)
class Requirement:
    """One condition on one label; `operator` is In, NotIn, Exists or DoesNotExist, `values` are sorted."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """A label that is absent satisfies NotIn and DoesNotExist only."""
        value = labels.get(self.key)
        if self.operator == "In":
            return value in self.values
        if self.operator == "NotIn":
            return value not in self.values
        return (value is not None) == (self.operator == "Exists")

    def __str__(self) -> str:
        if self.operator in ("In", "NotIn"):
            if self.operator == "In" and len(self.values) == 1:
                return f"{self.key}={self.values[0]}"
            return f"{self.key} {self.operator.lower()} ({','.join(self.values)})"
        return self.key if self.operator == "Exists" else f"!{self.key}"


@dataclass(frozen=True)
class Selector:
    """All requirements must hold; without any, everything is selected."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether something with these labels is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements)) or "any"


EVERYTHING = Selector()


@dataclass(frozen=True)
class Pods:
    """The pods that `pods` selects, in `namespace`, or, when that is "", in those that `namespaces` selects."""

    namespace: str = ""
    namespaces: Selector = EVERYTHING
    pods: Selector = EVERYTHING

    @cached_property
    def _hash(self) -> int:
        return hash((self.namespace, self.namespaces, self.pods))

    def __hash__(self) -> int:  # peers are looked up all the time
        return self._hash

    @cached_property
    def key(self) -> str:
        """What it is, in one text: by it peers are put in order and named."""
        return repr(self)

    def __str__(self) -> str:
        where = f"namespace {self.namespace}" if self.namespace else f"namespaces {self.namespaces}"
        return f"pods {self.pods} of {where}"


@dataclass(frozen=True)
class Block:
    """The addresses of `cidr`, without those of `exceptions`, which lie inside it."""

    cidr: str
    exceptions: tuple[str, ...] = ()

    @cached_property
    def _hash(self) -> int:
        return hash((self.cidr, self.exceptions))

    def __hash__(self) -> int:  # peers are looked up all the time
        return self._hash

    @cached_property
    def key(self) -> str:
        """What it is, in one text: by it peers are put in order and named."""
        return repr(self)

    @cached_property
    def networks(self) -> tuple[IPv4Network | IPv6Network, tuple[IPv4Network | IPv6Network, ...]]:
        """The block and its exceptions, parsed."""
        return ip_network(self.cidr, strict=False), tuple(
            ip_network(e, strict=False) for e in self.exceptions
        )

    def contains(self, address: str) -> bool:
        """Whether the address is in the block and in none of its exceptions."""
        outer, exceptions = self.networks
        parsed = ip_address(address)
        return parsed in outer and not any(parsed in inner for inner in exceptions)

    def __str__(self) -> str:
        return self.cidr + (f" except {','.join(self.exceptions)}" if self.exceptions else "")


Peer = Pods | Block
ALL_PODS = Pods()


@dataclass(frozen=True)
class Port:
    """Ports of one protocol: `first` to `last`, or, when `name` is set, whatever number a pod gives that name."""

    protocol: str = "TCP"
    first: int = 0
    last: int = LAST_PORT
    name: str = ""

    def __str__(self) -> str:
        if self.name or self.first == self.last:
            return f"{self.name or self.first}/{self.protocol}"
        return f"all {self.protocol}" if not self.first else f"{self.first}-{self.last}/{self.protocol}"


@dataclass(frozen=True)
class Rule:
    """What is allowed: these ports to or from these peers. No ports: all, of all protocols. No peers: anybody."""

    ports: tuple[Port, ...] = ()
    peers: tuple[Peer, ...] = ()

    @cached_property
    def members(self) -> frozenset[Peer]:
        """The peers as a set, whose hash is found once."""
        return frozenset(self.peers)


@dataclass(frozen=True)
class Policy:
    """One NetworkPolicy; a direction of which it says nothing is None."""

    namespace: str
    name: str
    pods: Selector = EVERYTHING
    ingress: tuple[Rule, ...] | None = None
    egress: tuple[Rule, ...] | None = None

    @cached_property
    def _hash(self) -> int:
        return hash((self.namespace, self.name, self.pods, self.ingress, self.egress))

    def __hash__(self) -> int:  # gates are looked up by all of their policies
        return self._hash

    @cached_property
    def owner(self) -> str:
        """The policy as comments name it, `namespace/name`."""
        return f"{self.namespace}/{self.name}"

    def rules(self, direction: str) -> tuple[Rule, ...] | None:
        """The rules of one direction."""
        return self.ingress if direction == INGRESS else self.egress

    def selects(self, pod: Pod, direction: str) -> bool:
        """Whether it isolates a pod in that direction."""
        return (
            self.namespace == pod.namespace
            and self.rules(direction) is not None
            and self.pods.matches(pod.labels)
        )


@dataclass(frozen=True)
class NamedPort:
    """A container's port that has a name."""

    name: str
    protocol: str
    port: int


def numbers_of(port: Port, named_ports: Iterable[NamedPort]) -> list[int]:
    """The numbers that are given to a port's name, for its protocol."""
    return [p.port for p in named_ports if (p.name, p.protocol) == (port.name, port.protocol)]


@dataclass(frozen=True)
class Pod:
    """A pod that has addresses of its own and has not ended. One on the node's network is no such pod."""

    namespace: str
    name: str
    node: str
    addresses: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    named_ports: tuple[NamedPort, ...] = ()

    @cached_property
    def owner(self) -> str:
        """The pod as comments name it, `namespace/name`."""
        return f"{self.namespace}/{self.name}"

    def ports_named(self, port: Port) -> list[int]:
        """The numbers that this pod gives to a port's name, for its protocol."""
        return numbers_of(port, self.named_ports)


@dataclass(frozen=True)
class Cluster:
    """Who is there. `namespaces`: the labels of each; `nodes`: the addresses of each, also its bridge's."""

    pods: tuple[Pod, ...] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict, hash=False)
    nodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Packet:
    """A packet as the nodes' forward hooks see it: after the translation of services.

    protocol: TCP, UDP, SCTP or another's name (ICMP), which has no ports. reply: it belongs to a connection
    whose first packet was let through, or is an ICMP error about one.
    """

    source: str
    destination: str
    protocol: str = "TCP"
    port: int = 0
    reply: bool = False
