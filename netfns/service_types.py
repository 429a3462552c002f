"""What a Service is to a node: its addresses, its ports, who answers, and what becomes of a packet.

    Service default/web      cluster_ips 10.96.0.20       ports http 80/TCP, node port 30080
         |                                                       |
         +--> Frontend 10.96.0.20    80/TCP  internal            |  endpoints 10.244.1.2:8080, 10.244.2.3:8080
         `--> Frontend 192.168.50.21 30080/TCP external (this node's address)

These are the records that a service function is given (`ServiceProxy`), and those that `evaluate` speaks
in. Whoever writes another service function imports them from here and starts.

Invariant: a frontend has the endpoints of its own address family, and no others.

Source: Kubernetes API reference, Service and EndpointSlice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Endpoint:
    """One pod (or other address) behind a service port. `node` is the name of its node, "" when none is
    known.
    """

    address: str
    port: int
    node: str = ""


@dataclass(frozen=True)
class ServicePort:
    """One port of a Service. `protocol` is TCP, UDP or SCTP; `node_port` 0 when there is none.

    `endpoints` are those that may get new connections now, of every family.
    """

    name: str
    protocol: str
    port: int
    node_port: int = 0
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True)
class Service:
    """One Service that has addresses of its own (a headless one has none and does not appear here)."""

    namespace: str
    name: str
    cluster_ips: tuple[str, ...]
    ports: tuple[ServicePort, ...]


@dataclass(frozen=True)
class ServiceProxy:
    """All that one node's service NAT is made of.

    `node_addresses` are the node's own, where its node ports answer; `pod_cidrs` and `service_cidrs` the
    cluster's whole ranges, one of each family in use.
    """

    node: str
    node_addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    service_cidrs: tuple[str, ...]
    services: tuple[Service, ...] = ()


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection, as it reaches a node."""

    source: str
    destination: str
    protocol: str
    port: int


@dataclass(frozen=True, order=True)
class Target:
    """Where a packet may go. `masquerade`: it leaves with the node's address as its source."""

    address: str
    port: int
    masquerade: bool


@dataclass(frozen=True)
class Verdict:
    """What becomes of a packet. `action` is pass (not ours), translate, reject or drop; `owner` the
    service port.
    """

    action: str
    owner: str = ""
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True)
class Frontend:
    """One address and port at which a service port answers, with the endpoints of that family.

    `external`: a way in from outside the cluster, such as a node port.
    """

    owner: str
    address: str
    protocol: str
    port: int
    external: bool
    endpoints: tuple[Endpoint, ...]


def frontends(desired: ServiceProxy, service: Service) -> Iterator[Frontend]:
    """The addresses and ports at which a service answers on this node."""
    for port in service.ports:
        owner = f"{service.namespace}/{service.name}:{port.name or port.port}"
        ways = [(address, port.port, False) for address in service.cluster_ips]
        if port.node_port:
            families = {family_of(address) for address in service.cluster_ips}
            ways += [(a, port.node_port, True) for a in desired.node_addresses if family_of(a) in families]
        for address, number, external in ways:
            endpoints = tuple(e for e in port.endpoints if family_of(e.address) == family_of(address))
            yield Frontend(owner, address, port.protocol, number, external, endpoints)


def family_of(address: str) -> str:
    """The table of an address or range: ip or ip6."""
    return "ip6" if ":" in address else "ip"
