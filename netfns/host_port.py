"""A container's hostPort: a port of the node that leads into one pod. What the CNI plug-in portmap does.

    outside -> eth0 192.168.50.21:8080 -> prerouting: ports -> forward -> cni0 -> pod 10.244.1.2:80
               a process of the node   -> output:     ports      |
               (127.0.0.1:8080 too)                          postrouting: masquerade what comes from localhost,
                                                             and the pod that asks itself (hairpin)

Any address of the node will do (`fib daddr type local`), unless the port names one (`hostIP`). A Service's node port is
open on every node and spread over its pods; a host port is open where its pod runs, and leads to it alone.

127.0.0.1 needs one thing more: the kernel takes a packet with such an address for a mistake on any device but lo,
unless `route_localnet` allows it. That would also let a neighbour in through the bridge, so `guard` keeps it out.

Invariants: who comes from elsewhere keeps its source; every element's comment names its owner
(`default/web:http`); `render` of equal input is equal text.

Sources: Kubernetes API reference, ContainerPort (hostPort, hostIP, protocol); CNI plug-ins, "portmap"; ip-sysctl,
route_localnet; CVE-2020-8558; nft(8).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from netfns.kernel import CommandError, Kernel, settings_for

TABLE = "host_port"
ANY = ("", "0.0.0.0", "::")
SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
    "net.ipv4.conf.cni0.route_localnet": "1",
}


@dataclass(frozen=True)
class HostPort:
    """One port of a node and where it leads.

    owner: NAMESPACE/POD:PORT. protocol: TCP, UDP or SCTP. port: 1-65535. address, target_port: the pod's.
    host_ip: the only address of the node that it is open on; "", 0.0.0.0 and :: are all of its family.
    """

    owner: str
    protocol: str
    port: int
    address: str
    target_port: int
    host_ip: str = ""


@dataclass(frozen=True)
class HostPorts:
    """All host ports of one node. families: "ip", "ip6", those that its pods have."""

    families: tuple[str, ...]
    ports: tuple[HostPort, ...] = ()


def render(desired: HostPorts) -> str:
    """Write the whole ruleset, an `nft -f` text that replaces the tables `ip host_port` and `ip6 host_port`.

    For each family one table with two maps: `addressed`, `address . protocol . port : pod . port`, which is looked up
    first, and `ports`, `protocol . port : pod . port`; and the set `hairpin`, `pod . pod`. Translated is only what goes
    to an address of the node.
    """
    return "".join(
        _table(family, [port for port in desired.ports if _family(port.address) == family])
        for family in desired.families
    )


def _table(family: str, ports: list[HostPort]) -> str:
    kind = "ipv4_addr" if family == "ip" else "ipv6_addr"
    protocol = "meta l4proto { tcp, udp, sctp }"
    everywhere = [port for port in ports if port.host_ip in ANY]
    somewhere = [port for port in ports if port.host_ip not in ANY and _family(port.host_ip) == family]
    lines = [
        f"table {family} {TABLE}",
        f"delete table {family} {TABLE}",
        f"table {family} {TABLE} {{",
        *_set("map addressed", f"{kind} . inet_proto . inet_service : {kind} . inet_service",
              [f"{port.host_ip} . {_leads(port)}" for port in somewhere]),
        *_set("map ports", f"inet_proto . inet_service : {kind} . inet_service",
              [_leads(port) for port in everywhere]),
        *_set("set hairpin", f"{kind} . {kind}",
              list(dict.fromkeys(f'{port.address} . {port.address} comment "{_pod(port)}"' for port in ports))),
        *(_chain("guard", "filter hook prerouting priority raw",
                 'iif != "lo" ip daddr 127.0.0.0/8 drop') if family == "ip" else ()),
        *_chain("prerouting", "nat hook prerouting priority dstnat", "fib daddr type local jump host-ports"),
        *_chain("output", "nat hook output priority -100", "fib daddr type local jump host-ports"),
        "\tchain host-ports {",
        f"\t\t{protocol} dnat {family} to {family} daddr . meta l4proto . th dport map @addressed",
        f"\t\t{protocol} dnat {family} to meta l4proto . th dport map @ports",
        "\t}",
        "",
        *_chain("postrouting", "nat hook postrouting priority srcnat",
                f'ct status dnat {family} saddr . {family} daddr @hairpin masquerade comment "hairpin"',
                *(['ct status dnat ip saddr 127.0.0.0/8 masquerade comment "from localhost"']
                  if family == "ip" else [])),
    ]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n}\n"


def _set(name: str, kind: str, elements: list[str]) -> Iterator[str]:
    yield f"\t{name} {{"
    yield f"\t\ttype {kind}"
    if elements:
        yield "\t\telements = {"
        yield ",\n".join(f"\t\t\t{element}" for element in elements)
        yield "\t\t}"
    yield "\t}"
    yield ""


def _chain(name: str, hook: str, *rules: str) -> Iterator[str]:
    yield f"\tchain {name} {{"
    yield f"\t\ttype {hook}; policy accept;"
    yield from (f"\t\t{rule}" for rule in rules)
    yield "\t}"
    yield ""


def _leads(port: HostPort) -> str:
    """The end of an element: protocol and port, the owner, and where it leads."""
    return (
        f'{port.protocol.lower()} . {port.port} comment "{port.owner}" : {port.address} . {port.target_port}'
    )


def _pod(port: HostPort) -> str:
    return port.owner.rpartition(":")[0]


def _family(address: str) -> str:
    return "ip6" if ":" in address else "ip"


def evaluate(desired: HostPorts, destination: str, protocol: str, port: int) -> tuple[str, int] | None:
    """Where a packet to an address of the node goes instead: the pod's address and port; None: nowhere else."""
    fitting = [
        entry
        for entry in desired.ports
        if (entry.protocol, entry.port) == (protocol, port)
        and _family(entry.address) == _family(destination)
        and entry.host_ip in (*ANY, destination)
    ]
    fitting.sort(key=lambda entry: entry.host_ip in ANY)
    return (fitting[0].address, fitting[0].target_port) if fitting else None


def prepare(kernel: Kernel, families: tuple[str, ...]) -> None:
    """Set what packets need to be routed to pods, from localhost too. Needs the bridge. Raises CommandError."""
    for key, value in settings_for(SYSCTLS, "ip6" in families).items():
        kernel.sysctl(key, value)


def apply(kernel: Kernel, ruleset: str) -> None:
    """Load the text of `render`, in one transaction. Raises CommandError, and then nothing changed."""
    kernel.nft(ruleset)


def forget(kernel: Kernel, protocol: str, port: int) -> None:
    """Let the connections to a port of the node that has come or gone begin anew: conntrack would go on sending a UDP
    flow's packets to where its first one went.
    """
    with suppress(CommandError):  # there are none
        kernel.run(["conntrack", "-D", "-p", protocol.lower(), "--orig-port-dst", str(port)])


def observe(kernel: Kernel) -> str:
    """Read the tables that the kernel holds, as nft lists them; "" for a family that has none."""
    texts = []
    for family in ("ip", "ip6"):
        with suppress(CommandError):
            texts.append(kernel.run(["nft", "list", "table", family, TABLE]))
    return "".join(texts)
