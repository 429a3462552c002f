"""The way out of the cluster: pods leave with their node's address, since nobody outside knows theirs.

    pod 10.244.1.2 -> cni0 -> forward -> postrouting -> eth0 192.168.50.21 -> router -> outside 203.0.113.10
                                         source 10.244.1.2 becomes 192.168.50.21;
                                         conntrack takes it back in the answers

Inside the cluster the rule of Kubernetes holds: pods, and pods and nodes, see each other's own addresses.
So the set `inside` names all pod ranges and every node's address, and what goes to one of them is left
alone. A machine that is no node, even on the nodes' network, is outside.

Invariants: what goes from pod to pod or from pod to node keeps its source; what leaves has an address that
the network outside can answer.

Sources: Kubernetes, "Cluster Networking", the model's rules; ip-masq-agent, whose job this is; nft(8),
"NAT STATEMENTS".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from netfns.kernel import CommandError, Kernel

TABLE = "masquerading"  # the plain word is reserved in nft


@dataclass(frozen=True)
class Masquerade:
    """What is inside: the cluster's pod ranges, one of each family in use, and all nodes' addresses."""

    pod_cidrs: tuple[str, ...]
    node_addresses: tuple[str, ...]


def render(desired: Masquerade) -> str:
    """Write the whole ruleset, an `nft -f` text that replaces the tables `ip masquerading` and
    `ip6 masquerading`.
    """
    return "".join(_table(desired, cidr) for cidr in desired.pod_cidrs)


def _table(desired: Masquerade, pod_cidr: str) -> str:
    family, kind = ("ip6", "ipv6_addr") if ":" in pod_cidr else ("ip", "ipv4_addr")
    nodes = [address for address in desired.node_addresses if (":" in address) == (":" in pod_cidr)]
    inside = [f'{pod_cidr} comment "pods"', *(f'{address} comment "node"' for address in nodes)]
    elements = ",\n".join(f"\t\t\t{element}" for element in inside)
    return (
        f"table {family} {TABLE}\n"
        f"delete table {family} {TABLE}\n"
        f"table {family} {TABLE} {{\n"
        f"\tset inside {{\n\t\ttype {kind}\n\t\tflags interval\n"
        f"\t\telements = {{\n{elements}\n\t\t}}\n\t}}\n\n"
        f"\tchain postrouting {{\n"
        f"\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
        f"\t\t{family} saddr {pod_cidr} {family} daddr != @inside masquerade\n"
        f"\t}}\n"
        f"}}\n"
    )


def evaluate(desired: Masquerade, source: str, destination: str) -> bool:
    """Tell whether a packet that leaves a node has its source replaced by the node's address."""
    inside = [*desired.pod_cidrs, *desired.node_addresses]
    return _among(source, desired.pod_cidrs) and not _among(destination, inside)


def _among(address: str, networks: Iterable[str]) -> bool:
    return any(ip_address(address) in ip_network(network) for network in networks)


def apply(kernel: Kernel, ruleset: str) -> None:
    """Load the text of `render`, in one transaction. Raises CommandError, and then nothing changed."""
    kernel.nft(ruleset)


def observe(kernel: Kernel) -> str:
    """Read the tables that the kernel holds, as nft lists them; "" for a family that has none."""
    texts = []
    for family in ("ip", "ip6"):
        try:
            texts.append(kernel.run(["nft", "list", "table", family, TABLE]))
        except CommandError:
            continue
    return "".join(texts)


def intact(kernel: Kernel, desired: Masquerade) -> bool:
    """Whether the rule of each of the pod ranges is there."""
    return observe(kernel).count("@inside masquerade") == len(desired.pod_cidrs)
