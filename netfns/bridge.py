"""The bridge of a node, and the veth pair that plugs a pod into it.

    pod web-1            pod web-2                         pod's own namespace
    eth0 10.244.1.2/24   eth0 10.244.1.3/24   ─────────────────────────────────
     │                    │
    veth3fd1a2b4         veth90c1e7aa                      node's namespace
     └───────┬────────────┘
           cni0 10.244.1.1/24, the pods' gateway ──> routing ──> eth0, vxlan0

A frame between two pods of one node crosses the bridge and nothing else; every other packet goes to the
gateway, which is the node itself, and is routed there. `hairpin` lets a frame leave by the port that it
came from: a pod may be chosen as the endpoint of a service that it asks itself.

Invariants: the gateway keeps its hardware address for life (a bridge that is given none takes the lowest of
its ports', and pods that have learned it talk to nobody once that port is gone); a pod has exactly one port;
both ends of a pair are made at once, and the kernel removes both when the pod's namespace ends; a port's
alias names its pod, so that `ip link` reads like the manifests.

Sources: veth(4), ip-link(8), bridge(8); CNI plugins `bridge` and `ptp`; br_netfilter in the kernel's
Documentation/networking/bridge.rst (packets that only cross the bridge must still meet the service NAT);
RFC 4861, section 7.2.2 (how a router looks for an IPv6 neighbour); RFC 3810 (reports of groups).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from ipaddress import ip_address, ip_interface, ip_network

from netfns.kernel import Kernel, settings_for

DEVICE = "cni0"
TABLE = "bridge_ports"
MTU = 1450
POD_DEVICE = "eth0"
# All that either end uses. Left to itself, the kernel makes one for each processor, and takes all but one back.
QUEUES = "numtxqueues 1 numrxqueues 1"
LINK_LOCAL = "fe80::1/64"  # of the bridge: whoever forwards to a neighbour looks for it from such an address
SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
    # Ports need no addresses of their own; making link-local ones would cost every pod start milliseconds
    # of chatter. Nor are they routers, each of which would report a group of theirs to all of the others. (Whether
    # packets are forwarded at all, only `all` decides.)
    "net.ipv6.conf.default.addr_gen_mode": "1",
    "net.ipv6.conf.default.forwarding": "0",
}


@dataclass(frozen=True)
class Bridge:
    """A node's bridge. `pod_cidrs`: the node's ranges, such as 10.244.1.0/24; the first address of each is
    the gateway. `ipv6`: whether the kernel has IPv6 at all; where it has none, nothing of it may be asked.
    """

    pod_cidrs: tuple[str, ...]
    ipv6: bool = True

    @cached_property
    def gateways(self) -> tuple[str, ...]:
        """The bridge's own addresses with their prefix length, such as 10.244.1.1/24."""
        networks = [ip_network(cidr) for cidr in self.pod_cidrs]
        return tuple(f"{network[1]}/{network.prefixlen}" for network in networks)

    @property
    def hardware_address(self) -> str:
        """The bridge's own MAC address: 0a:58 (locally administered), then the last 32 bits of the first gateway."""
        return ":".join(f"{byte:02x}" for byte in (0x0A, 0x58, *ip_interface(self.gateways[0]).packed[-4:]))


@dataclass(frozen=True)
class Attachment:
    """A pod's place on the bridge.

    pod: its `namespace/name`. uid: its uid, from which the port's name is made. pid: a process in the
    pod's network namespace, as the node's namespace numbers it. addresses: the pod's, one of each of the
    bridge's ranges.
    """

    pod: str
    uid: str
    pid: int
    addresses: tuple[str, ...]

    @property
    def port(self) -> str:
        """The device on the node's side."""
        return port_of(self.uid)


@lru_cache(maxsize=1024)
def port_of(uid: str) -> str:
    """The device of the pod with this uid on its node; a device name holds 15 characters at most."""
    return "veth" + sha256(uid.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Wiring:
    """What `render` writes: `ip -batch` texts for the node's namespace, then for the pod's, then the node's again."""

    node: str
    pod: str
    port: str


def render_bridge(bridge: Bridge) -> str:
    """Write the `ip -batch` text that makes the bridge on a node that has none."""
    addresses = [*bridge.gateways, *([LINK_LOCAL] if any(":" in cidr for cidr in bridge.pod_cidrs) else ())]
    addresses = [f"addr add {address} dev {DEVICE} nodad" for address in addresses]
    device = f"link add {DEVICE} address {bridge.hardware_address} mtu {MTU} type bridge"
    return _lines(device, *addresses, f"link set {DEVICE} up")


def render_rules() -> str:
    """Write the nftables text, for a node with IPv6, by which pods' reports of their groups end where they come in.

    A pod reports each of its addresses twice, for neighbours look for it in a group. Nobody on the bridge asks for
    reports, as it floods what is sent to groups. It would flood the reports too, once to each other pod.
    """
    return (
        f"table ip6 {TABLE}\ndelete table ip6 {TABLE}\n"
        f"table ip6 {TABLE} {{\n"
        "\tchain prerouting {\n"
        "\t\ttype filter hook prerouting priority raw; policy accept;\n"
        f'\t\tiifname "{DEVICE}" icmpv6 type mld2-listener-report drop\n'
        "\t}\n}\n"
    )


def render(bridge: Bridge, attachment: Attachment) -> Wiring:
    """Write the texts that plug a pod in.

    On the node: the pair, its near end a port of the bridge, its far end in the pod's namespace as `eth0`. In the
    pod: loopback up, `eth0` up without link-local address, each address with its range's prefix length, and the
    gateway as default route of each family. On the node again: alias, hairpin, and the port up. It comes up last,
    for an end that is up before the other has no carrier: the kernel would take it out of service, and make whoever
    changes links wait until every processor has noticed.
    """
    node = _lines(
        f"link add {attachment.port} mtu {MTU} {QUEUES} master {DEVICE} "
        f"type veth peer name {POD_DEVICE} mtu {MTU} {QUEUES} netns {attachment.pid}",
    )
    port = f"link set {attachment.port} alias {attachment.pod} up type bridge_slave hairpin on"
    pod = [
        "link set lo up",
        *([f"link set {POD_DEVICE} addrgenmode none"] if bridge.ipv6 else ()),
        f"link set {POD_DEVICE} up",
    ]
    for address, gateway in zip(attachment.addresses, bridge.gateways, strict=True):
        via, _, length = gateway.partition("/")
        pod.append(f"addr add {address}/{length} dev {POD_DEVICE} nodad")
        pod.append(f"route add default via {via} dev {POD_DEVICE}")
    return Wiring(node, _lines(*pod), _lines(port))


def evaluate(bridge: Bridge, ports: Sequence[Attachment], destination: str) -> str:
    """Where a frame for `destination` goes once it is on the bridge: a port's device, or the bridge's own
    device when the node is to route it. An address of the node's range that no pod has goes nowhere: "".
    """
    for attachment in ports:
        if destination in attachment.addresses:
            return attachment.port
    own = {str(ip_interface(gateway).ip) for gateway in bridge.gateways}
    on_link = any(ip_address(destination) in ip_network(cidr) for cidr in bridge.pod_cidrs)
    return "" if on_link and destination not in own else DEVICE


def apply_bridge(node: Kernel, bridge: Bridge) -> None:
    """Make the node's bridge, unless it is there with the same addresses. Raises CommandError."""
    for key, value in settings_for(SYSCTLS, bridge.ipv6).items():
        node.sysctl(key, value)
    if bridge.ipv6:
        node.nft(render_rules())
    links = json.loads(node.run(["ip", "-json", "address", "show"]))
    held = {
        f"{address['local']}/{address['prefixlen']}"
        for link in links
        if link.get("ifname") == DEVICE
        for address in link["addr_info"]
        if address["scope"] == "global"
    }
    if held == set(bridge.gateways):
        return
    if any(link.get("ifname") == DEVICE for link in links):
        node.ip(f"link del {DEVICE}\n")
    node.ip(render_bridge(bridge))


def apply(node: Kernel, pod: Kernel, wiring: Wiring) -> None:
    """Plug a pod in. Raises CommandError; what was made on the node ends with the pod's namespace."""
    node.ip(wiring.node)
    pod.ip(wiring.pod)
    node.ip(wiring.port)


def observe(node: Kernel) -> dict[str, str]:
    """The bridge's ports as the kernel has them: device -> `namespace/name` of its pod."""
    links = json.loads(node.run(["ip", "-json", "link", "show", "master", DEVICE]))
    return {link["ifname"]: link.get("ifalias", "") for link in links if link}


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"
