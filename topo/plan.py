"""Names and addresses, the same in every lab, page and test.

192.168.50.0/24  the nodes' network: nodes, load balancers, vm1; .1 is the router, .9 the API's own address
172.20.0.0/24    a second network: vm2
203.0.113.0/24   the outside world (TEST-NET-3 of RFC 5737, which nobody has)
10.244.0.0/16    pods, one /24 a node
10.96.0.0/16     services
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network


@dataclass(frozen=True)
class Network:
    """One underlay network: the switch that carries it and its two prefixes; the router is the first address."""

    switch: str
    ipv4: IPv4Network
    ipv6: IPv6Network

    def interface(self, host: int) -> tuple[IPv4Interface, IPv6Interface]:
        """The addresses of host number `host`; the same number, in decimal, ends both."""
        return (
            IPv4Interface(f"{self.ipv4[host]}/{self.ipv4.prefixlen}"),
            IPv6Interface(f"{self.ipv6[int(str(host), 16)]}/{self.ipv6.prefixlen}"),
        )

    @property
    def gateway(self) -> tuple[IPv4Address, IPv6Address]:
        """The router's addresses."""
        return self.ipv4[1], self.ipv6[1]


NODES = Network("s1", IPv4Network("192.168.50.0/24"), IPv6Network("fd00:50::/64"))
SECOND = Network("s2", IPv4Network("172.20.0.0/24"), IPv6Network("fd00:20::/64"))
OUTSIDE = Network("s3", IPv4Network("203.0.113.0/24"), IPv6Network("2001:db8:113::/64"))
NETWORKS = (NODES, SECOND, OUTSIDE)

POD_CIDR, POD_CIDR_IPV6 = IPv4Network("10.244.0.0/16"), IPv6Network("fd00:244::/56")
SERVICE_CIDR, SERVICE_CIDR_IPV6 = IPv4Network("10.96.0.0/16"), IPv6Network("fd00:96::/112")
API_SERVICE, DNS_SERVICE = SERVICE_CIDR[1], SERVICE_CIDR[10]
API_ADDRESS, API_PORT = NODES.ipv4[9], 6443
LOAD_BALANCER_POOL = (NODES.ipv4[200], NODES.ipv4[250])
UPSTREAM_DNS = OUTSIDE.ipv4[10]

CONTROL_PLANE, ROUTER = "control-plane", "router"
MAX_WORKERS = 75  # .21 to .95: the last before vm1's .100


@dataclass(frozen=True)
class Spot:
    """Where a machine stands: its kind (as in `minipod exec KIND/NAME`), its network and its number there."""

    name: str
    kind: str
    network: Network
    host: int

    @property
    def interfaces(self) -> tuple[IPv4Interface, IPv6Interface]:
        """The addresses of its eth0."""
        return self.network.interface(self.host)

    @property
    def ipv4(self) -> IPv4Address:
        """The IPv4 address of its eth0."""
        return self.interfaces[0].ip


def spots(workers: int) -> tuple[Spot, ...]:
    """Every machine of a lab with `workers` (1 to MAX_WORKERS) worker nodes, but for the router."""
    return (
        Spot(CONTROL_PLANE, "node", NODES, 10),
        *(Spot(f"worker{number}", "node", NODES, 20 + number) for number in range(1, workers + 1)),
        Spot("lb1", "lb", NODES, 11),
        Spot("lb2", "lb", NODES, 12),
        Spot("vm1", "vm", NODES, 100),
        Spot("vm2", "vm", SECOND, 10),
        Spot("outside", "outside", OUTSIDE, 10),
    )
