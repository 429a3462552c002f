"""What should become of a packet that asks for a Service: the oracle of every proxy mode.

    Packet --> source allowed? --> whose frontend? --> who may be chosen? --> Verdict: targets, masqueraded or not
                 | no                | nobody's          | nobody
                 v                   v                   v
                drop         pass; in a service    reject, or drop where
                             range: reject, drop   other nodes have some

Each proxy mode writes this down in its own kernel's words; the conformance table holds each of them to it.
It reads the records and nothing else, so it can be wrong only where it misunderstands Kubernetes.

The source is masqueraded when the answer would otherwise not come back through this node:

- the endpoint is the sender itself (hairpin);
- a sender that is no pod asks for a cluster address;
- anybody asks at an external frontend, unless its policy is Local: there the sender's address is kept, but
  for the node's own connections.

Sources: Kubernetes, "Virtual IPs and Service Proxies" and "Using Source IP"; KEP-1669, KEP-2086;
kube-proxy, pkg/proxy/nftables.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from netfns.service_types import LOCAL, Frontend, Packet, ServiceProxy, Target, Verdict, frontends


def evaluate(desired: ServiceProxy, packet: Packet) -> Verdict:
    """Tell what this node does with the first packet of a connection, from the services themselves.

    `Verdict.targets` are all the endpoints that may be chosen, with equal chance, sorted; with
    `affinity_timeout` a client that has had one of them gets that one again.
    """
    for service in desired.services:
        for frontend in frontends(desired, service):
            wanted = (frontend.address, frontend.protocol, frontend.port)
            if (packet.destination, packet.protocol, packet.port) == wanted:
                return _choose(desired, frontend, packet)
    for service in desired.services:
        if packet.destination in service.cluster_ips:
            return Verdict("reject", f"{service.namespace}/{service.name}")
    if _among(packet.destination, desired.service_cidrs):
        return Verdict("drop")
    return Verdict("pass")


def _choose(desired: ServiceProxy, frontend: Frontend, packet: Packet) -> Verdict:
    if not may_come(desired, frontend, packet.source):
        return Verdict("drop", frontend.owner)
    from_pod = _among(packet.source, desired.pod_cidrs)
    from_node = packet.source in desired.node_addresses
    endpoints = frontend.endpoints
    if from_pod or from_node:
        endpoints = frontend.short_cut or endpoints
    if not endpoints:
        return Verdict(frontend.refusal, frontend.owner)
    if not frontend.external:
        masquerade = not from_pod
    else:
        masquerade = from_node and not from_pod if frontend.policy == LOCAL else True
    targets = {Target(e.address, e.port, masquerade or e.address == packet.source) for e in endpoints}
    return Verdict("translate", frontend.owner, tuple(sorted(targets)), frontend.affinity_timeout)


def may_come(desired: ServiceProxy, frontend: Frontend, source: str) -> bool:
    """Whether loadBalancerSourceRanges let the sender in."""
    return not frontend.source_ranges or _among(source, allowed_sources(desired, frontend))


def allowed_sources(desired: ServiceProxy, frontend: Frontend) -> tuple[str, ...]:
    """The ranges from which a frontend may be asked, none within another; none when everybody may.

    The node's own connections to an address that the node itself answers for may carry that address as
    their source: where the node is allowed, so is the frontend's address.
    """
    ranges = [ip_network(text, strict=False) for text in frontend.source_ranges]
    if any(_among(address, frontend.source_ranges) for address in desired.node_addresses):
        ranges.append(ip_network(frontend.address))
    return tuple(str(network) for network in _merged(ranges))


def _merged(ranges: list[IPv4Network | IPv6Network]) -> list[IPv4Network | IPv6Network]:
    """Without those that lie within another; all are of one family."""
    return [
        one
        for one in sorted(set(ranges), key=str)
        if not any(one != other and _within(one, other) for other in ranges)
    ]


def _within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    return inner.network_address in outer and inner.prefixlen >= outer.prefixlen


def _among(address: str, networks: Iterable[str]) -> bool:
    return any(ip_address(address) in ip_network(network, strict=False) for network in networks)
