"""What one Service is in kube-proxy's iptables layout: a few chains of its own, and its rules in shared ones.

    nat KUBE-SERVICES    10.96.0.20 tcp 80 ------------> KUBE-SVC-hash   spread: endpoint by endpoint
        a balancer's address, external addresses ------> KUBE-EXT-hash   where it comes from outside
        a balancer's address with source ranges -------> KUBE-FW-hash    who may come, then KUBE-EXT
    nat KUBE-NODEPORTS   tcp 30080 --------------------> KUBE-EXT-hash --> KUBE-SVC, or KUBE-SVL (policy Local)

    KUBE-SVC-hash, KUBE-SVL-hash     all endpoints, those of this node
      -m statistic --probability 0.33 --> KUBE-SEP-hash    one endpoint
      -m statistic --probability 0.50 --> KUBE-SEP-hash      it is the sender itself? mark for masquerade
      else ----------------------------> KUBE-SEP-hash      DNAT --to-destination 10.244.1.2:8080

Rules are written as iptables-save lists them: what is rendered can be held against what the kernel has.

One out of three, else one out of two, else the third: each rule meets only what the ones before have left, so
the chances are equal. A hash is made of the service port's name and protocol (and the endpoint), so a chain
keeps its name on every node and over every restart.

Invariant: a chain belongs to one service port, and every rule's comment names it.

Source: kube-proxy, pkg/proxy/iptables; Kubernetes, "Debug Services", section "iptables mode".
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address, ip_network

from netfns.service_types import LOCAL, Endpoint, Service, ServicePort, ServiceProxy, family_of

MARK_MASQ = "-j KUBE-MARK-MASQ"
OWN = (
    "KUBE-SVC-",
    "KUBE-SVL-",
    "KUBE-EXT-",
    "KUBE-FW-",
    "KUBE-SEP-",
)  # prefixes of chains that belong to Services
Shared = tuple[str, str, str]  # table, chain, rule


@dataclass
class Pieces:
    """What Services bring: their own chains of the table nat (each below those that it jumps to) with their
    rules, and their rules in chains that all share.
    """

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shared: list[Shared] = field(default_factory=list)


def pieces(desired: ServiceProxy, services: Iterable[Service], family: str) -> Pieces:
    """The chains and rules of `services` on this node in one family (ip or ip6)."""
    found = Pieces()
    for service in services:
        cluster_ips = [address for address in service.cluster_ips if family_of(address) == family]
        for port in service.ports if cluster_ips else ():
            one = _ServicePort.of(desired, service, port, cluster_ips[0])
            found.chains.update(one.chains())
            found.shared += one.shared()
    return found


def chain_name(kind: str, name: str, protocol: str, endpoint: str = "") -> str:
    """A chain's name as kube-proxy makes it. `kind` such as KUBE-SVC, `name` the service port's
    (default/web:http), `protocol` in small letters, `endpoint` as address:port.
    """
    digest = sha256(f"{name}{protocol}{endpoint}".encode()).digest()
    return f"{kind}-{base64.b32encode(digest).decode()[:16]}"


def destination(endpoint: Endpoint) -> str:
    """An endpoint as DNAT takes it: 10.244.1.2:8080, [fd00:244:0:1::2]:8080."""
    address = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"{address}:{endpoint.port}"


def single(address: str) -> str:
    """An address as iptables lists it, with its length."""
    return f"{address}/{128 if ':' in address else 32}"


@dataclass(frozen=True)
class _ServicePort:
    """One port of a Service in one family. `every` are whom policy Cluster chooses from, `local` those of this
    node under policy Local.
    """

    name: str
    protocol: str
    service: Service
    port: ServicePort
    cluster_ip: str
    pod_cidr: str
    node_addresses: tuple[str, ...]
    every: tuple[Endpoint, ...]
    local: tuple[Endpoint, ...]

    @classmethod
    def of(cls, desired: ServiceProxy, service: Service, port: ServicePort, cluster_ip: str) -> _ServicePort:
        """Take what is of the cluster address's family."""
        family = family_of(cluster_ip)
        return cls(
            name=f"{service.namespace}/{service.name}{f':{port.name}' if port.name else ''}",
            protocol=port.protocol.lower(),
            service=service,
            port=port,
            cluster_ip=cluster_ip,
            pod_cidr=next(cidr for cidr in desired.pod_cidrs if family_of(cidr) == family),
            node_addresses=desired.node_addresses,
            every=tuple(e for e in port.endpoints if family_of(e.address) == family),
            local=tuple(e for e in port.local_endpoints if family_of(e.address) == family),
        )

    # ---------------------------------------------------------------- names and questions

    def chain(self, kind: str, endpoint: str = "") -> str:
        """The name of a chain of this service port."""
        return chain_name(kind, self.name, self.protocol, endpoint)

    def to(
        self, address: str, port: int, comment: str, target: str, source: str = "", match: str = ""
    ) -> str:
        """A rule about what is sent to an address and port; to any address when that is ""."""
        where = f"{source} -d {single(address)}".strip() if address else source
        ends = f"{match} -m {self.protocol} --dport {port}".strip()
        return _rule(where, self.protocol, comment, ends, target)

    def recent(self, what: str, chain: str) -> str:
        """The match that sets, or checks, that a client has had an endpoint."""
        mask = str(
            ip_network(f"{self.cluster_ip}/32" if self.family == "ip" else f"{self.cluster_ip}/128").netmask
        )
        return f"-m recent {what} --name {chain} --mask {mask} --rsource"

    @property
    def family(self) -> str:
        """The family, ip or ip6."""
        return family_of(self.cluster_ip)

    @property
    def balancer_ips(self) -> list[str]:
        """The balancer's addresses of this family."""
        return self._of_family(self.service.load_balancer_ips)

    @property
    def source_ranges(self) -> list[str]:
        """Who may use the balancer's addresses; none: everybody."""
        return self._of_family(self.service.load_balancer_source_ranges)

    @property
    def external_ips(self) -> list[str]:
        """The external addresses of this family."""
        return self._of_family(self.service.external_ips)

    @property
    def is_external(self) -> bool:
        """Whether there is a way in from outside."""
        return bool(self.external_ips or self.balancer_ips or self.port.node_port)

    @property
    def has_firewall(self) -> bool:
        """Whether a balancer's address lets in only some."""
        return bool(self.every and self.balancer_ips and self.source_ranges)

    def by_policy(self, policy: str) -> tuple[str, tuple[Endpoint, ...]]:
        """The chain that spreads by a traffic policy, and over whom."""
        return (
            (self.chain("KUBE-SVL"), self.local) if policy == LOCAL else (self.chain("KUBE-SVC"), self.every)
        )

    def _of_family(self, addresses: Iterable[str]) -> list[str]:
        return [address for address in addresses if family_of(address) == self.family]

    # ---------------------------------------------------------------- its own chains

    def chains(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Its own chains with their rules; what they jump to comes first."""
        if not self.every:
            return
        policies = (
            {self.service.internal_traffic_policy, "Cluster"}
            if self.is_external
            else {self.service.internal_traffic_policy}
        )  # pods use the way in from outside by policy Cluster, whatever it says
        if self.is_external:
            policies.add(self.service.external_traffic_policy)
        spreads = {policy: self.by_policy(policy) for policy in sorted(policies)}
        for endpoint in sorted({endpoint for _, endpoints in spreads.values() for endpoint in endpoints}):
            yield self.chain("KUBE-SEP", destination(endpoint)), tuple(self._endpoint_rules(endpoint))
        for policy, (name, endpoints) in spreads.items():
            if endpoints:
                yield name, tuple(self._spread_rules(policy, endpoints))
        if self.is_external:
            yield self.chain("KUBE-EXT"), tuple(self._external_rules())
        if self.has_firewall:
            yield self.chain("KUBE-FW"), tuple(self._firewall_rules())

    def _endpoint_rules(self, endpoint: Endpoint) -> Iterator[str]:
        chain = self.chain("KUBE-SEP", destination(endpoint))
        yield _rule(f"-s {single(endpoint.address)}", "", self.name, "", MARK_MASQ)
        known = f"{self.recent('--set', chain)} " if self.service.affinity_timeout else ""
        target = f"-j DNAT --to-destination {destination(endpoint)}"
        yield _rule("", self.protocol, self.name, f"{known}-m {self.protocol}", target)

    def _spread_rules(self, policy: str, endpoints: Sequence[Endpoint]) -> Iterator[str]:
        if policy == self.service.internal_traffic_policy:
            no_pod = f"! -s {self.pod_cidr}"
            yield self.to(
                self.cluster_ip, self.port.port, f"{self.name} cluster IP", MARK_MASQ, source=no_pod
            )
        targets = [
            (f"{self.name} -> {destination(e)}", self.chain("KUBE-SEP", destination(e))) for e in endpoints
        ]
        for comment, chain in targets if self.service.affinity_timeout else ():
            known = self.recent(f"--rcheck --seconds {self.service.affinity_timeout} --reap", chain)
            yield _rule("", "", comment, known, f"-j {chain}")
        for left, (comment, chain) in zip(range(len(targets), 0, -1), targets, strict=True):
            yield _rule("", "", comment, _one_out_of(left) if left > 1 else "", f"-j {chain}")

    def _external_rules(self) -> Iterator[str]:
        where = f"{self.name} external destinations"
        if self.service.external_traffic_policy != LOCAL:
            yield _rule("", "", f"masquerade traffic for {where}", "", MARK_MASQ)
        else:
            every, local = f"-j {self.chain('KUBE-SVC')}", "-m addrtype --src-type LOCAL"
            yield _rule(f"-s {self.pod_cidr}", "", f"pod traffic for {where}", "", every)
            yield _rule("", "", f"masquerade LOCAL traffic for {where}", local, MARK_MASQ)
            yield _rule("", "", f"route LOCAL traffic for {where}", local, every)
        chain, endpoints = self.by_policy(self.service.external_traffic_policy)
        if endpoints:
            yield f"-j {chain}"

    def _firewall_rules(self) -> Iterator[str]:
        go_on = f"-j {self.chain('KUBE-EXT')}"
        sources = list(self.source_ranges)
        if any(_inside(address, sources) for address in self.node_addresses):
            sources += self.balancer_ips  # the node's own connections may carry the address as their source
        for source in sources:
            everybody = ip_network(source, strict=False).prefixlen == 0
            where = "" if everybody else f"-s {ip_network(source, strict=False)}"
            yield _rule(where, "", f"{self.name} loadbalancer IP", "", go_on)
        yield _rule("", "", f"other traffic to {self.name} will be dropped by KUBE-PROXY-FIREWALL", "", "")

    # ---------------------------------------------------------------- its rules in shared chains

    def shared(self) -> Iterator[Shared]:
        """Its rules in the chains that all Services share: the ways in, and who is refused."""
        chain, inside = self.by_policy(self.service.internal_traffic_policy)
        if self.every and inside:
            rule = self.to(self.cluster_ip, self.port.port, f"{self.name} cluster IP", f"-j {chain}")
            yield "nat", "KUBE-SERVICES", rule
        else:
            rule = self.to(self.cluster_ip, self.port.port, self._nobody(), self._refusal())
            yield "filter", "KUBE-SERVICES", rule
        if self.service.health_check_node_port:
            match = f"-m tcp --dport {self.service.health_check_node_port}"
            rule = _rule("", "tcp", f"{self.name} health check node port", match, "-j ACCEPT")
            yield "filter", "KUBE-NODEPORTS", rule
        yield from self._external_ways()
        if self.port.node_port:
            yield from self._node_port()

    def _external_ways(self) -> Iterator[Shared]:
        """From outside: external addresses, a balancer's."""
        external, number = self.chain("KUBE-EXT"), self.port.port
        _, outside = self.by_policy(self.service.external_traffic_policy)
        balancer = self.chain("KUBE-FW") if self.has_firewall else external
        ways = [(address, "external IP", external) for address in self.external_ips]
        ways += [(address, "loadbalancer IP", balancer) for address in self.balancer_ips]
        for address, kind, chain in ways:
            if self.every:
                yield "nat", "KUBE-SERVICES", self.to(address, number, f"{self.name} {kind}", f"-j {chain}")
            if chain != external:
                comment = f"{self.name} traffic not accepted by {chain}"
                yield "filter", "KUBE-PROXY-FIREWALL", self.to(address, number, comment, "-j DROP")
            if not (self.every and outside):
                rule = self.to(address, number, self._nobody(), self._refusal())
                yield "filter", "KUBE-EXTERNAL-SERVICES", rule

    def _node_port(self) -> Iterator[Shared]:
        _, outside = self.by_policy(self.service.external_traffic_policy)
        if self.every:
            rule = self.to("", self.port.node_port, self.name, f"-j {self.chain('KUBE-EXT')}")
            yield "nat", "KUBE-NODEPORTS", rule
        if not (self.every and outside):
            local = "-m addrtype --dst-type LOCAL"
            rule = self.to("", self.port.node_port, self._nobody(), self._refusal(), match=local)
            yield "filter", "KUBE-EXTERNAL-SERVICES", rule

    def _refusal(self) -> str:
        """Nobody anywhere: refuse. Somebody elsewhere: drop, so that a balancer asks there."""
        kind = "icmp" if self.family == "ip" else "icmp6"
        return "-j DROP" if self.every else f"-j REJECT --reject-with {kind}-port-unreachable"

    def _nobody(self) -> str:
        return f"{self.name} has no {'local ' if self.every else ''}endpoints"


def _rule(where: str, protocol: str, comment: str, match: str, target: str) -> str:
    """A rule in the order of iptables-save: addresses, protocol, comment, matches, target."""
    words = (where, f"-p {protocol}" if protocol else "", f'-m comment --comment "{comment}"', match, target)
    return " ".join(word for word in words if word)


def _one_out_of(count: int) -> str:
    """The match of one packet out of `count`; the kernel knows chances as parts of 2 ** 31."""
    chance = round(2**31 / count) / 2**31
    return f"-m statistic --mode random --probability {chance:.11f}"


def _inside(address: str, networks: Iterable[str]) -> bool:
    return any(ip_address(address) in ip_network(network, strict=False) for network in networks)
