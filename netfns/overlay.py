"""The overlay: pods of different nodes reach each other through VXLAN tunnels, without the network between
knowing.

    pod 10.244.1.2                                                             pod 10.244.2.3
      | veth                                                                     ^ veth
    cni0   worker1                                                     worker2  cni0
      | route 10.244.2.0/24 via 10.244.2.0 dev vxlan0                            ^ route 10.244.2.0/24 dev
      cni0
    vxlan0                                                                     vxlan0  10.244.2.0
      | neighbour 10.244.2.0 is 02:00:c0:a8:32:16                                ^
      | fdb 02:00:c0:a8:32:16 is at 192.168.50.22                                |
    eth0 192.168.50.21 == UDP 8472 [ VNI 1 [ inner frame: 10.244.1.2 > 10.244.2.3 ] ] ==> eth0 192.168.50.22

Three questions, three tables: which way (route), which tunnel end is that (neighbour), where does it live
(forwarding database, fdb). All are written beforehand, from the Node objects, for there is no one to ask:
the device learns nothing and floods nothing.

A tunnel end's address in the pods' network is the first of its node's range (10.244.2.0), and its MAC
address is made from its node's address, so that every node computes the same.

Invariants: a packet for a pod range leaves in exactly one encapsulation, or not at all; nothing is sent to
a node that has no entry; the outer packet is at most 50 bytes longer than the inner (1450 fits into 1500).

Sources: RFC 7348; ip-link(8) "VXLAN Type Support"; bridge(8) "fdb"; flannel's backend vxlan, which has
this layout.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from netfns.kernel import CommandError, Kernel, settings_for

DEVICE = "vxlan0"
VNI = 1
UDP_PORT = 8472
MTU = 1450
SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    # A pod reaches a node directly and is answered through the tunnel: check that a way back exists, not
    # which.
    "net.ipv4.conf.all.rp_filter": "2",
}


@dataclass(frozen=True, order=True)
class Vtep:
    """One node's tunnel end. `address` is the node's IPv4 address on the nodes' network; `pod_cidrs` its
    pods' ranges.
    """

    node: str
    address: str
    pod_cidrs: tuple[str, ...]


@dataclass(frozen=True)
class Overlay:
    """What one node must know: its own tunnel end, and those of all other nodes."""

    local: Vtep
    peers: tuple[Vtep, ...] = ()


@dataclass(frozen=True)
class Batches:
    """What is told to the kernel: the lines of an `ip -batch` text, and then those of a `bridge -batch`
    text.
    """

    ip: str = ""
    bridge: str = ""


@dataclass(frozen=True)
class Encapsulation:
    """The outer side of a packet in the tunnel."""

    vni: int
    source: str
    destination: str
    destination_mac: str


def vtep_mac(address: str) -> str:
    """The MAC address of the tunnel end at an IPv4 address: 02:00 (locally administered), then the
    address's bytes.
    """
    return ":".join(f"{byte:02x}" for byte in b"\x02\x00" + ip_address(address).packed)


def tunnel_addresses(vtep: Vtep) -> list[str]:
    """The addresses of a tunnel end among the pods: the first of each of its ranges."""
    return [str(ip_network(cidr)[0]) for cidr in vtep.pod_cidrs]


# ---------------------------------------------------------------- render


def render(desired: Overlay) -> Batches:
    """Write all that the node needs to reach every peer's pods, as lines for `ip -batch` and `bridge -batch`.

    In `ip`: the device `vxlan0` (type vxlan, VNI 1, the node's address as `local`, UDP port 8472,
    `nolearning`, the MAC address `vtep_mac(address)`, MTU 1450), set up, with `tunnel_addresses(local)` as
    single addresses (/32 or /128). Then, for each peer and each of its ranges, a permanent neighbour entry
    (the peer's tunnel address is its MAC address) and a route to the range via that tunnel address,
    `onlink`, for no device has the address's network.

    In `bridge`: for each peer one permanent `fdb` entry: its MAC address is at the peer's address on the
    nodes' network.

    Lines are in the order in which the kernel can take them; peers keep the order of `desired.peers`.
    """
    local = desired.local
    ip = [
        f"link add {DEVICE} address {vtep_mac(local.address)} mtu {MTU} type vxlan id {VNI} "
        f"local {local.address} dstport {UDP_PORT} nolearning",
        f"link set {DEVICE} up",
    ]
    ip += [f"address replace {_single(address)} dev {DEVICE}" for address in tunnel_addresses(local)]
    for peer in desired.peers:
        for address, cidr in zip(tunnel_addresses(peer), peer.pod_cidrs, strict=True):
            ip.append(f"neigh replace {address} lladdr {vtep_mac(peer.address)} dev {DEVICE} nud permanent")
            ip.append(f"route replace {cidr} via {address} dev {DEVICE} onlink")
    fdb = [f"fdb replace {vtep_mac(peer.address)} dev {DEVICE} dst {peer.address}" for peer in desired.peers]
    return Batches(_text(ip), _text(fdb))


def render_change(held: Batches, wanted: Batches) -> Batches:
    """Write what turns `held` into `wanted`: the lines that are new, after the opposite of those that are
    gone.

    The device itself is never changed but made anew: when its own line differs, all of `wanted` follows
    its removal.
    """
    if _device(held.ip) not in (None, _device(wanted.ip)):
        return Batches(f"link del {DEVICE}\n{wanted.ip}", wanted.bridge)
    return Batches(_change(held.ip, wanted.ip), _change(held.bridge, wanted.bridge))


def _change(held: str, wanted: str) -> str:
    before, after = held.splitlines(), wanted.splitlines()
    gone = [line for line in before if line not in after and not line.startswith("link ")]
    fresh = [line for line in after if line not in before]
    return _text([*map(_opposite, reversed(gone)), *fresh])


def _opposite(line: str) -> str:
    """The line that takes back an `add` or `replace`."""
    kind, _, rest = line.split(maxsplit=2)
    return f"{kind} del {rest.removesuffix(' nud permanent')}"


def _device(ip: str) -> str | None:
    """The line that makes the device, if there is one."""
    return next((line for line in ip.splitlines() if line.startswith("link add ")), None)


def _single(address: str) -> str:
    return f"{address}/{ip_address(address).max_prefixlen}"


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


# ---------------------------------------------------------------- evaluate


def evaluate(desired: Overlay, destination: str) -> Encapsulation | None:
    """Tell how a packet for an address is encapsulated; None when it does not take the tunnel."""
    for peer in desired.peers:
        if any(ip_address(destination) in ip_network(cidr) for cidr in peer.pod_cidrs):
            return Encapsulation(VNI, desired.local.address, peer.address, vtep_mac(peer.address))
    return None


# ---------------------------------------------------------------- apply, observe


def prepare(kernel: Kernel, desired: Overlay) -> None:
    """Set the sysctls that forwarding through the tunnel needs; once for a node. Raises CommandError."""
    ipv6 = any(":" in cidr for cidr in desired.local.pod_cidrs)
    for key, value in settings_for(SYSCTLS, ipv6).items():
        kernel.sysctl(key, value)


def apply(kernel: Kernel, wanted: Batches) -> None:
    """Make the kernel match, by the difference to what it holds now: what is right already is not touched.

    Raises CommandError at the first line that the kernel refuses; the next call continues from what was
    reached.
    """
    change = render_change(observe(kernel), wanted)
    if change.ip:
        kernel.ip(change.ip)
    if change.bridge:
        kernel.bridge(change.bridge)


def observe(kernel: Kernel) -> Batches:
    """Read what the kernel holds, in the words of `render`; empty when there is no device."""
    try:
        (link,) = json.loads(kernel.run(["ip", "-d", "-j", "link", "show", "dev", DEVICE]))
    except CommandError:
        return Batches()
    lines = _observe_link(link)
    for held in _show(kernel, "ip", "-j", "address", "show", "dev", DEVICE, "scope", "global"):
        addresses = [address for address in held["addr_info"] if address]
        lines += [f"address replace {a['local']}/{a['prefixlen']} dev {DEVICE}" for a in addresses]
    for neigh in _show(kernel, "ip", "-j", "neigh", "show", "dev", DEVICE, "nud", "permanent"):
        lines.append(f"neigh replace {neigh['dst']} lladdr {neigh['lladdr']} dev {DEVICE} nud permanent")
    for family in ("-4", "-6"):
        for route in _show(kernel, "ip", family, "-j", "route", "show", "dev", DEVICE):
            if "gateway" in route:
                lines.append(f"route replace {route['dst']} via {route['gateway']} dev {DEVICE} onlink")
    fdb = [
        f"fdb replace {entry['mac']} dev {DEVICE} dst {entry['dst']}"
        for entry in _show(kernel, "bridge", "-j", "fdb", "show", "dev", DEVICE)
        if "dst" in entry
    ]
    return Batches(_text(lines), _text(fdb))


def _observe_link(link: dict[str, Any]) -> list[str]:
    data = link["linkinfo"]["info_data"]
    learning = "" if data["learning"] else " nolearning"
    made = (
        f"link add {DEVICE} address {link['address']} mtu {link['mtu']} type vxlan id {data['id']} "
        f"local {data.get('local', 'any')} dstport {data['port']}{learning}"
    )
    return [made, f"link set {DEVICE} up"] if "UP" in link["flags"] else [made]


def _show(kernel: Kernel, *argv: str) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = json.loads(kernel.run(argv) or "[]")
    return [row for row in shown if row]
