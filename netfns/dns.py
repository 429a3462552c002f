"""The cluster's names: which records a cluster has, written as a zone file, and what a query gets from them.

    application   getaddrinfo("web")
         |  /etc/resolv.conf: nameserver 10.96.0.10, search default.svc.cluster.local svc.cluster.local
         cluster.local v
    web.default.svc.cluster.local. A ?  --10.96.0.10: service NAT--> a kube-dns pod (dns_server.py)
                                                                          |  in a zone of ours: `evaluate`
                                                                          |  another name: forwarded upstream
                                                                          v
                     Services, EndpointSlices, Pods --render--> text --parse--> Zones

What is in the text (all names end in cluster.local.):

    web.default.svc            A, AAAA   the cluster addresses; of a headless service its endpoints' addresses
    _http._tcp.web.default.svc SRV       port and target of each named port
    db-0.db.default.svc        A, AAAA   one endpoint of a headless service, by hostname (or by address,
    10-244-1-2) old.default.svc            CNAME     spec.externalName
    10-244-1-2.default.pod     A, AAAA   a pod by its address
    20.0.96.10.in-addr.arpa.   PTR       the way back, in the reverse zones

Invariants: the text alone decides the answers (nothing is computed from a name that is not in it); a name
that exists with other types is NODATA (no error, no answer), one that does not exist NXDOMAIN, and both
carry the zone's SOA; equal input gives equal text.

Sources: Kubernetes DNS-based service discovery 1.1 (github.com/kubernetes/dns); RFC 1034 4.3.2, RFC 1035
5, RFC 2308.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

TTL = 5  # seconds, as CoreDNS's plugin kubernetes
MOST_ALIASES = 8  # CNAMEs followed in one answer


@dataclass(frozen=True, order=True)
class NamedPort:
    """A named port of a Service (as `http`, TCP, 80); one without a name has no SRV record."""

    name: str
    protocol: str
    port: int


@dataclass(frozen=True, order=True)
class NamedEndpoint:
    """One ready endpoint of a headless Service. `hostname` is the pod's own, "" when it has none."""

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

    `server` is the DNS service's own cluster address; `reverse_cidrs` are the ranges whose reverse zones
    are served.
    """

    domain: str
    server: str
    reverse_cidrs: tuple[str, ...] = ()
    services: tuple[NamedService, ...] = ()
    pods: tuple[NamedPod, ...] = ()


@dataclass(frozen=True)
class Record:
    """One line of a zone: `name` is absolute, `data` as in a master file; `owner` names the object, as a
    comment.
    """

    name: str
    type: str
    data: str
    owner: str = ""
    ttl: int = TTL

    def __str__(self) -> str:
        line = f"{self.name} {self.ttl} IN {self.type} {self.data}"
        return f"{line} ; {self.owner}" if self.owner else line


# ---------------------------------------------------------------- render


def render(desired: ClusterNames) -> str:
    """Write the zones in the form of RFC 1035, section 5: the cluster's domain, then one reverse zone a
    range.

    Each zone begins with its SOA; every name is absolute, every line complete, so that any line can be
    read alone.
    """
    forward = [*_head(desired.domain + ".", desired)]
    forward.append(Record(f"ns.dns.{desired.domain}.", _type(desired.server), desired.server))
    forward.append(Record(f"dns-version.{desired.domain}.", "TXT", '"1.1.0"'))
    for service in desired.services:
        forward += _service_records(service, desired.domain)
    for pod in desired.pods:
        forward += _pod_records(pod, desired.domain)
    lines = [str(record) for record in dict.fromkeys(forward)]
    pointers = sorted(_pointers(desired), key=lambda pointer: pointer[0].packed)
    for cidr in desired.reverse_cidrs:
        lines += ["", *map(str, _head(reverse_zone(cidr), desired))]
        lines += [str(record) for address, record in pointers if address in ip_network(cidr)]
    return "".join(f"{line}\n" for line in lines)


def _head(zone: str, desired: ClusterNames) -> Iterator[Record]:
    server = f"ns.dns.{desired.domain}."
    yield Record(zone, "SOA", f"{server} hostmaster.{desired.domain}. 1 7200 1800 86400 {TTL}")
    yield Record(zone, "NS", server)


def _service_records(service: NamedService, domain: str) -> Iterator[Record]:
    owner = f"service {service.namespace}/{service.name}"
    name = f"{service.name}.{service.namespace}.svc.{domain}."
    if service.external_name:
        yield Record(name, "CNAME", service.external_name.rstrip(".") + ".", owner)
        return
    for address in service.cluster_ips:
        yield Record(name, _type(address), address, owner)
    if service.cluster_ips:
        yield from _port_records(service.ports, name, name, owner)
    for endpoint in service.endpoints:
        for address in endpoint.addresses:
            target = f"{_endpoint_label(endpoint, address)}.{name}"
            yield Record(name, _type(address), address, owner)
            yield Record(target, _type(address), address, owner)
            yield from _port_records(endpoint.ports, name, target, owner)


def _port_records(ports: Iterable[NamedPort], name: str, target: str, owner: str) -> Iterator[Record]:
    for port in ports:
        if port.name:
            label = f"_{port.name}._{port.protocol.lower()}.{name}"
            yield Record(label, "SRV", f"0 100 {port.port} {target}", owner)


def _pod_records(pod: NamedPod, domain: str) -> Iterator[Record]:
    for address in pod.addresses:
        name = f"{_dashed(address)}.{pod.namespace}.pod.{domain}."
        yield Record(name, _type(address), address, f"pod {pod.namespace}/{pod.name}")


def _pointers(desired: ClusterNames) -> Iterator[tuple[IPv4Address | IPv6Address, Record]]:
    """The addresses that have a name, each with its PTR record."""
    for service in desired.services:
        owner = f"service {service.namespace}/{service.name}"
        name = f"{service.name}.{service.namespace}.svc.{desired.domain}."
        named = [(address, name) for address in service.cluster_ips]
        named += [(a, f"{_endpoint_label(e, a)}.{name}") for e in service.endpoints for a in e.addresses]
        for address, target in named:
            yield ip_address(address), Record(_reverse_name(address), "PTR", target, owner)


def reverse_zone(cidr: str) -> str:
    """The reverse zone of a range whose length ends on a label: /8, /16, /24, or a multiple of 4 for IPv6."""
    network = ip_network(cidr)
    step = 8 if network.version == 4 else 4
    whole = _reverse_name(str(network.network_address)).split(".")
    return ".".join(whole[(network.max_prefixlen - network.prefixlen) // step :])


def _reverse_name(address: str) -> str:
    return f"{ip_address(address).reverse_pointer}."


def _endpoint_label(endpoint: NamedEndpoint, address: str) -> str:
    return endpoint.hostname or _dashed(address)


def _dashed(address: str) -> str:
    """An address as a label: 10-244-1-2, fd00-244-0-1--2."""
    return address.replace(".", "-").replace(":", "-")


def _type(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def render_hosts(zone: str, hosts: Mapping[str, Sequence[str]]) -> str:
    """Write a zone that is no cluster's: `hosts` maps absolute names to their addresses; the zone's own is
    its server.
    """
    head = [
        Record(zone, "SOA", f"{zone} hostmaster.{zone} 1 7200 1800 86400 {TTL}"),
        Record(zone, "NS", zone),
    ]
    records = [Record(name, _type(address), address) for name, found in hosts.items() for address in found]
    return "".join(f"{record}\n" for record in (*head, *records))


# ---------------------------------------------------------------- evaluate


@dataclass(frozen=True)
class Zones:
    """Zones as they are looked up: `records` maps a name (in small letters) to type to records.

    A name that has no records of its own but stands above one that does (default.svc.cluster.local) is
    there too, with nothing in it: it exists.
    """

    records: Mapping[str, Mapping[str, tuple[Record, ...]]] = field(default_factory=dict)

    def zone_of(self, name: str) -> str:
        """The apex of the zone that a name is in, "" when it is in none of ours."""
        for above in _and_above(name.lower()):
            if "SOA" in self.records.get(above, {}):
                return above
        return ""


@dataclass(frozen=True)
class Answer:
    """`code` is NOERROR or NXDOMAIN; `records` the answer; `authority` the zone's SOA when there is none.

    `alias` is a name outside our zones that the last CNAME points to: the rest of the answer is found
    upstream.
    """

    code: str
    records: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    alias: str = ""


def parse(text: str) -> Zones:
    """Read zones as `render` writes them: absolute names, `NAME TTL IN TYPE DATA`, comments after `;`.

    Raises ValueError naming the line that is none.
    """
    records: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for number, line in enumerate(text.splitlines(), 1):
        content, _, owner = line.partition(" ; ")
        if not content.strip() or content.startswith(";"):
            continue
        parts = content.split(maxsplit=4)
        if len(parts) != 5 or parts[2] != "IN" or not parts[1].isdigit() or not parts[0].endswith("."):
            raise ValueError(
                f"line {number}: {content!r}: want NAME TTL IN TYPE DATA, the name ending in a dot"
            )
        name, ttl, _, kind, data = parts
        records[name.lower()][kind].append(Record(name, kind, data, owner, int(ttl)))
    apexes = {name for name, kinds in records.items() if "SOA" in kinds}
    for name in tuple(records):
        for above in _and_above(name):
            records.setdefault(above, defaultdict(list))
            if above in apexes:
                break
    return Zones({n: {kind: tuple(found) for kind, found in kinds.items()} for n, kinds in records.items()})


def evaluate(zones: Zones, name: str, type_: str) -> Answer | None:
    """Answer a query; None when the name is in none of our zones. `name` is absolute, in any case of
    letters.
    """
    if not zones.zone_of(name):
        return None
    found: list[Record] = []
    for _ in range(MOST_ALIASES):
        kinds = zones.records.get(name.lower())
        if kinds is None:
            return Answer("NXDOMAIN", tuple(found), _soa(zones, name))
        wanted = kinds if type_ == "ANY" else [type_]
        here = [record for kind in wanted for record in kinds.get(kind, ())]
        if here:
            return Answer("NOERROR", (*found, *here))
        if "CNAME" not in kinds:
            return Answer("NOERROR", tuple(found), _soa(zones, name))
        found.append(kinds["CNAME"][0])
        name = kinds["CNAME"][0].data
        if not zones.zone_of(name):
            return Answer("NOERROR", tuple(found), alias=name)
    return Answer("NOERROR", tuple(found))


def _soa(zones: Zones, name: str) -> tuple[Record, ...]:
    return zones.records[zones.zone_of(name)]["SOA"]


def _and_above(name: str) -> Iterator[str]:
    """A name and the names above it, up to the last label: a.b.c., b.c., c."""
    while name:
        yield name
        name = name.partition(".")[2]
