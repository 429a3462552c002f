"""Names and addresses, the same in every lab, page and test.

192.168.50.0/24  fd00:50::/64       the nodes' network: nodes, load balancers, vm1; .1 is the router, .9 the API's own
172.20.0.0/24    fd00:20::/64       a second network: vm2
203.0.113.0/24   2001:db8:113::/64  the outside world (RFC 5737 and RFC 3849: for documentation, nobody has them)
10.244.0.0/16    fd00:244::/56      pods, one /24 and one /64 a node
10.96.0.0/16     fd00:96::/112      services
"""

from collections.abc import Iterator, Sequence
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

IPV4, IPV6 = "IPv4", "IPv6"  # as Kubernetes writes address families


@dataclass(frozen=True)
class Ranges:
    """What a cluster hands out in one address family; `balancers` are the first and the last address for
    Services of type LoadBalancer.
    """

    pods: IPv4Network | IPv6Network
    services: IPv4Network | IPv6Network
    balancers: tuple[IPv4Address, IPv4Address] | tuple[IPv6Address, IPv6Address]

    def balancer_pool(self) -> Iterator[IPv4Address | IPv6Address]:
        """The addresses from the first to the last of `balancers`."""
        first, last = self.balancers
        return (first + number for number in range(int(last) - int(first) + 1))

    @property
    def dns_service(self) -> IPv4Address | IPv6Address:
        """The address of the Service kube-dns."""
        return self.services[10]

    @property
    def api_service(self) -> IPv4Address | IPv6Address:
        """The address of the Service kubernetes."""
        return self.services[1]


RANGES = {
    IPV4: Ranges(
        IPv4Network("10.244.0.0/16"), IPv4Network("10.96.0.0/16"), (NODES.ipv4[200], NODES.ipv4[250])
    ),
    IPV6: Ranges(
        IPv6Network("fd00:244::/56"), IPv6Network("fd00:96::/112"), (NODES.ipv6[0x200], NODES.ipv6[0x2FF])
    ),
}
API_ADDRESS, API_PORT = NODES.ipv4[9], 6443
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

    def addresses(self, families: Sequence[str]) -> tuple[str, ...]:
        """The addresses of its eth0, one of each family, in that order."""
        ipv4, ipv6 = self.interfaces
        by_family = {IPV4: str(ipv4.ip), IPV6: str(ipv6.ip)}
        return tuple(by_family[family] for family in families)


def spots(workers: int) -> tuple[Spot, ...]:
    """Every machine of a lab with `workers` (1 to MAX_WORKERS) worker nodes, but for the router; the control
    plane's node first.
    """
    return (
        Spot(CONTROL_PLANE, "node", NODES, 10),
        *(Spot(f"worker{number}", "node", NODES, 20 + number) for number in range(1, workers + 1)),
        Spot("lb1", "lb", NODES, 11),
        Spot("lb2", "lb", NODES, 12),
        Spot("vm1", "vm", NODES, 100),
        Spot("vm2", "vm", SECOND, 10),
        Spot("outside", "outside", OUTSIDE, 10),
    )
