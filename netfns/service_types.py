"""What a Service is to a node: its addresses, its ports, who answers, and what becomes of a packet.

    Service default/web      cluster_ips 10.96.0.20     external_ips, load_balancer_ips     node port 30080
         |                         |                          |                                |
         v                         v                          v                                v
    Frontend            10.96.0.20 80/TCP       192.168.50.200 80/TCP            192.168.50.21 30080/TCP
                        internal: policy        external: policy                 external, at the node's
                        internal_traffic_policy external_traffic_policy          own addresses
                                     `----> endpoints: whom this node may choose by that policy

These are the records that a service function is given (`ServiceProxy`), and those that `evaluate` speaks
in. Whoever writes another service function imports them from here and starts. They are one node's view:
which endpoints are ready, near enough or local has been decided already (agents/desired/candidates.py).

Invariant: a frontend has the endpoints of its own address family, and no others.

Source: Kubernetes API reference, Service and EndpointSlice; "Virtual IPs and Service Proxies".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CLUSTER, LOCAL = "Cluster", "Local"  # the two traffic policies
FAMILIES = ("ip", "ip6")  # as nft names the families of addresses


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

    `endpoints` are those that may get new connections now under the policy Cluster, of every family;
    `local_endpoints` those on this node that may under the policy Local, and none when no policy is Local;
    `ending_endpoints` those that are on their way out and serve only the connections that they have.
    """

    name: str
    protocol: str
    port: int
    node_port: int = 0
    endpoints: tuple[Endpoint, ...] = ()
    local_endpoints: tuple[Endpoint, ...] = ()
    ending_endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True)
class Service:
    """One Service that has addresses of its own (a headless one has none and does not appear here).

    `load_balancer_ips` are those that its nodes answer for (status.loadBalancer.ingress, ipMode VIP), only
    to senders in `load_balancer_source_ranges` (CIDRs; none: to all). `affinity_timeout`: seconds for which
    a client keeps its endpoint, 1 to 86400, 0 without sessionAffinity. Policies are Cluster or Local.
    """

    namespace: str
    name: str
    cluster_ips: tuple[str, ...]
    ports: tuple[ServicePort, ...]
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    load_balancer_source_ranges: tuple[str, ...] = ()
    affinity_timeout: int = 0
    internal_traffic_policy: str = CLUSTER
    external_traffic_policy: str = CLUSTER
    health_check_node_port: int = 0


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

    @property
    def families(self) -> tuple[str, ...]:
        """The families in use, as nft names them: ip, ip6 or both, in this order."""
        used = {family_of(cidr) for cidr in self.pod_cidrs}
        return tuple(family for family in FAMILIES if family in used)


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
    service port; `affinity_timeout` the seconds for which the client's next connections get the same target.
    """

    action: str
    owner: str = ""
    targets: tuple[Target, ...] = ()
    affinity_timeout: int = 0


@dataclass(frozen=True)
class Frontend:
    """One address and port at which a service port answers, with the endpoints of that family.

    `external`: a way in from outside the cluster, such as a node port. `endpoints` are chosen from by
    `policy`; at an external frontend with policy Local, pods and the node itself choose from
    `cluster_endpoints` instead (their traffic never left the cluster). `source_ranges`: nobody else may come
    in; none: everybody may.
    """

    owner: str
    address: str
    protocol: str
    port: int
    external: bool
    endpoints: tuple[Endpoint, ...]
    policy: str = CLUSTER
    cluster_endpoints: tuple[Endpoint, ...] = ()
    affinity_timeout: int = 0
    source_ranges: tuple[str, ...] = ()
    ending_endpoints: tuple[Endpoint, ...] = ()

    @property
    def refusal(self) -> str:
        """What becomes of a packet when there is nobody to choose: reject, or drop where another node has
        endpoints (a balancer is to ask there); "" when there is somebody.
        """
        if self.endpoints:
            return ""
        return "drop" if self.cluster_endpoints else "reject"

    @property
    def short_cut(self) -> tuple[Endpoint, ...]:
        """Whom pods and the node itself choose from where that differs: at an external frontend with policy
        Local.
        """
        if not self.external or self.policy != LOCAL:
            return ()
        return self.cluster_endpoints or self.endpoints


def frontends(desired: ServiceProxy, service: Service) -> Iterator[Frontend]:
    """The addresses and ports at which a service answers on this node, each once."""
    seen = set[tuple[str, str, int]]()
    for frontend in _frontends(desired, service):
        key = frontend.address, frontend.protocol, frontend.port
        if key not in seen:
            seen.add(key)
            yield frontend


def _frontends(desired: ServiceProxy, service: Service) -> Iterator[Frontend]:
    for port in service.ports:
        for address in service.cluster_ips:
            yield _frontend(service, port, address, port.port)
        for address in service.external_ips:
            yield _frontend(service, port, address, port.port, external=True)
        for address in service.load_balancer_ips:
            ranges = service.load_balancer_source_ranges
            yield _frontend(service, port, address, port.port, external=True, source_ranges=ranges)
        if port.node_port:
            families = {family_of(address) for address in service.cluster_ips}
            for address in desired.node_addresses:
                if family_of(address) in families:
                    yield _frontend(service, port, address, port.node_port, external=True)


def _frontend(
    service: Service,
    port: ServicePort,
    address: str,
    number: int,
    *,
    external: bool = False,
    source_ranges: tuple[str, ...] = (),
) -> Frontend:
    policy = service.external_traffic_policy if external else service.internal_traffic_policy
    family = family_of(address)
    every = tuple(e for e in port.endpoints if family_of(e.address) == family)
    local = tuple(e for e in port.local_endpoints if family_of(e.address) == family)
    return Frontend(
        owner=owner_of(service, port),
        address=address,
        protocol=port.protocol,
        port=number,
        external=external,
        endpoints=local if policy == LOCAL else every,
        policy=policy,
        cluster_endpoints=every,
        affinity_timeout=service.affinity_timeout,
        source_ranges=tuple(r for r in source_ranges if family_of(r) == family),
        ending_endpoints=tuple(e for e in port.ending_endpoints if family_of(e.address) == family),
    )


def owner_of(service: Service, port: ServicePort) -> str:
    """The name that a service port's elements carry, such as default/web:http."""
    return f"{service.namespace}/{service.name}:{port.name or port.port}"


def family_of(address: str) -> str:
    """The table of an address or range: ip or ip6."""
    return "ip6" if ":" in address else "ip"
