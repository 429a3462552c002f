"""The cluster's names: which records a cluster has, and the text in which they are written.

    application   getaddrinfo("web")
         |  /etc/resolv.conf: nameserver 10.96.0.10, search default.svc.cluster.local svc.cluster.local
         cluster.local v
    web.default.svc.cluster.local. A ?  --10.96.0.10: service NAT--> a kube-dns pod (dns_server.py)
                                                                          |  in a zone of ours: answered
                                                                          v  another name: forwarded upstream
                     Services, EndpointSlices, Pods --render--> text --parse--> Zones (dns_zones.py)

What is in the text (all names end in cluster.local.):

    web.default.svc            A, AAAA   the cluster addresses; of a headless service its endpoints' addresses
    _http._tcp.web.default.svc SRV       port and target of each named port
    db-0.db.default.svc        A, AAAA   one endpoint of a headless service, by hostname or, without one, by
    10-244-1-2.db.default.svc            its address; of another service only by hostname
    old.default.svc            CNAME     spec.externalName
    10-244-1-2.default.pod     A, AAAA   a pod by its address, while there is such a pod
    dns-version                TXT       the version of the specification
    20.0.96.10.in-addr.arpa.   PTR       the way back: of a cluster address the service's name, of an endpoint's
                                         address the endpoint's

Invariants: the text alone decides the answers (nothing is computed from a name that is not in it); equal
input gives equal text; `render(old)` followed by `render_change(old, new)` is as good as `render(new)`.

Sources: Kubernetes DNS-based service discovery 1.1 (github.com/kubernetes/dns); Kubernetes documentation, "DNS
for Services and Pods"; RFC 1035 5.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from netfns.dns_zones import TTL, Record, difference


@dataclass(frozen=True, order=True)
class NamedPort:
    """A named port of a Service (as `http`, TCP, 80); one without a name has no SRV record."""

    name: str
    protocol: str
    port: int


@dataclass(frozen=True, order=True)
class NamedEndpoint:
    """One ready endpoint of a Service. `hostname` is the pod's own, "" when it has none."""

    addresses: tuple[str, ...]
    hostname: str
    ports: tuple[NamedPort, ...]


@dataclass(frozen=True)
class NamedService:
    """One Service: with `cluster_ips`, or headless with `endpoints`, or another name (`external_name`)."""

    namespace: str
    name: str
    cluster_ips: tuple[str, ...] = ()
    ports: tuple[NamedPort, ...] = ()
    endpoints: tuple[NamedEndpoint, ...] = ()
    external_name: str = ""


@dataclass(frozen=True)
class NamedPod:
    """One pod that has addresses."""

    namespace: str
    name: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class ClusterNames:
    """All that the cluster's names are made of.

    `servers` are the DNS service's own cluster addresses, one of each family in use; `reverse_cidrs` are the
    ranges whose reverse zones are served.
    """

    domain: str
    servers: tuple[str, ...]
    reverse_cidrs: tuple[str, ...] = ()
    services: tuple[NamedService, ...] = ()
    pods: tuple[NamedPod, ...] = ()


# ---------------------------------------------------------------- render


def render(desired: ClusterNames) -> str:
    """Write the zones: the domain's own records, the reverse zones', then those of each service and pod.

    Every name is absolute and every line complete, so that any line can be read alone. The text ends with an
    empty line: what is appended to it later are changes.
    """
    return "".join(f"{line}\n" for line in (*_head(desired), *_objects(desired), ""))


def render_change(old: ClusterNames, new: ClusterNames) -> str:
    """Write what turns the text of `old` into that of `new`, to be appended; "" when nothing differs.

    Both may hold just the services and pods that changed, so that the cost is that of the change.

    Raises ValueError when something other than services and pods differs: then there is no way but `render`.
    """
    if replace(old, services=(), pods=()) != replace(new, services=(), pods=()):
        raise ValueError(f"{new.domain}: its frame is another: render the whole text")
    return difference(_objects(old), _objects(new))


def _head(desired: ClusterNames) -> Iterator[Record]:
    """The records that no object brings: each zone's SOA and NS, the server's address, the version."""
    server = f"ns.dns.{desired.domain}."
    for zone in (f"{desired.domain}.", *map(reverse_zone, desired.reverse_cidrs)):
        yield from _apex(zone, desired)
    yield from (Record(server, _type(address), address) for address in desired.servers)
    yield Record(f"dns-version.{desired.domain}.", "TXT", '"1.1.0"')


def _apex(zone: str, desired: ClusterNames, owner: str = "") -> Iterator[Record]:
    """The serial stays 1: nobody transfers these zones."""
    server = f"ns.dns.{desired.domain}."
    yield Record(zone, "SOA", f"{server} hostmaster.{desired.domain}. 1 7200 1800 86400 {TTL}", owner)
    yield Record(zone, "NS", server, owner)


def _objects(desired: ClusterNames) -> Iterator[Record]:
    for service in desired.services:
        yield from dict.fromkeys(service_records(desired, service))
    for pod in desired.pods:
        yield from dict.fromkeys(pod_records(desired, pod))


def service_records(desired: ClusterNames, service: NamedService) -> Iterator[Record]:
    """The records that one Service brings, the pointers included; the same may come twice."""
    owner = f"service {service.namespace}/{service.name}"
    name = f"{service.name}.{service.namespace}.svc.{desired.domain}."
    if service.external_name:
        if not _is_address(service.external_name):  # an address is no name: it is not resolved
            yield Record(name, "CNAME", service.external_name.rstrip(".") + ".", owner)
        return
    for address in service.cluster_ips:
        yield Record(name, _type(address), address, owner)
        yield from _pointer(desired, address, name, owner)
    if service.cluster_ips:
        yield from _port_records(service.ports, name, name, owner)
    for endpoint in service.endpoints:
        if service.cluster_ips and not endpoint.hostname:
            continue
        for address in endpoint.addresses:
            target = f"{endpoint.hostname or _dashed(address)}.{name}"
            yield Record(target, _type(address), address, owner)
            yield from _pointer(desired, address, target, owner)
            if not service.cluster_ips:
                yield Record(name, _type(address), address, owner)
                yield from _port_records(endpoint.ports, name, target, owner)


def _port_records(ports: Iterable[NamedPort], name: str, target: str, owner: str) -> Iterator[Record]:
    for port in ports:
        if port.name:
            label = f"_{port.name}._{port.protocol.lower()}.{name}"
            yield Record(label, "SRV", f"0 100 {port.port} {target}", owner)


def _pointer(desired: ClusterNames, address: str, target: str, owner: str) -> Iterator[Record]:
    """The way back from an address. One outside the ranges is a zone of its own, so that those beside it are still
    asked upstream.
    """
    name = _reverse_name(address)
    parsed = ip_address(address)
    if not any(parsed in _network(cidr) for cidr in desired.reverse_cidrs):
        yield from _apex(name, desired, owner)
    yield Record(name, "PTR", target, owner)


def pod_records(desired: ClusterNames, pod: NamedPod) -> Iterator[Record]:
    """The records that one pod brings."""
    for address in pod.addresses:
        name = f"{_dashed(address)}.{pod.namespace}.pod.{desired.domain}."
        yield Record(name, _type(address), address, f"pod {pod.namespace}/{pod.name}")


def reverse_zone(cidr: str) -> str:
    """The reverse zone of a range whose length ends on a label: /8, /16, /24, or a multiple of 4 for IPv6."""
    network = ip_network(cidr)
    step = 8 if network.version == 4 else 4
    whole = _reverse_name(str(network.network_address)).split(".")
    return ".".join(whole[(network.max_prefixlen - network.prefixlen) // step :])


@functools.cache
def _network(cidr: str) -> IPv4Network | IPv6Network:
    return ip_network(cidr)


def _reverse_name(address: str) -> str:
    return f"{ip_address(address).reverse_pointer}."


def _dashed(address: str) -> str:
    """An address as a label: 10-244-1-2, fd00-244-0-1--2."""
    return address.replace(".", "-").replace(":", "-")


def _type(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def _is_address(name: str) -> bool:
    try:
        ip_address(name.rstrip("."))
    except ValueError:
        return False
    return True


def render_hosts(zone: str, hosts: Mapping[str, Sequence[str]]) -> str:
    """Write a zone that is no cluster's: `hosts` maps absolute names to their addresses; the first is its server."""
    server = next(iter(hosts))
    head = [
        Record(zone, "SOA", f"{server} hostmaster.{server} 1 7200 1800 86400 {TTL}"),
        Record(zone, "NS", server),
    ]
    records = [Record(name, _type(address), address) for name, found in hosts.items() for address in found]
    return "".join(f"{record}\n" for record in (*head, *records, ""))
