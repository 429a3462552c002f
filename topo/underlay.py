"""The underlay: three Ethernet networks, a router between them, and the machines on them. Mininet builds it.

    control-plane worker1 worker2 …  lb1  lb2  vm1          vm2                 outside
        .10        .21     .22       .11  .12  .100         .10                 .10
    ─────┴──────────┴───────┴─────────┴────┴────┴── s1   ────┴──── s2     ───────┴──── s3
              192.168.50.0/24     │.1        172.20.0.0/24 │.1   203.0.113.0/24 │.1
              fd00:50::/64        │::1       fd00:20::/64  │::1  2001:db8:113:: │::1
                                  └──────────────── router ─────────────────────┘

An inert graph first (`LabTopo`), then a live net, as in Mininet itself. The router knows the three networks and nothing
else: it has no default route, so there is no way for a packet to leave, and no route to pods or cluster addresses.

Invariant: `Mininet.inited` is set beforehand, because `fixLimits` would raise limits of the whole host.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import Topo

from topo import plan
from topo.machine import Machine, MachineHost, Shell
from topo.plan import IPV4, IPV6


class UnderlayError(Exception):
    """A machine could not be set up; the message names it, the command and the kernel's answer."""


class LabTopo(Topo):  # type: ignore[misc]
    """The graph: a switch for each network, the router on all of them, every other machine on one."""

    def build(self, workers: int) -> None:
        """Called by Mininet with the arguments of the constructor."""
        for network in plan.NETWORKS:
            self.addSwitch(network.switch)
        self.addHost(plan.ROUTER, ip=None)
        for number, network in enumerate(plan.NETWORKS):
            ipv4, _ = network.interface(1)
            self.addLink(plan.ROUTER, network.switch, intfName1=f"eth{number}", params1={"ip": str(ipv4)})
        for spot in plan.spots(workers):
            self.addHost(spot.name, ip=None)
            self.addLink(
                spot.name, spot.network.switch, intfName1="eth0", params1={"ip": str(spot.interfaces[0])}
            )


@dataclass(frozen=True)
class Underlay:
    """A live underlay: Mininet's net, and the machines by name (the router among them)."""

    net: Mininet
    machines: Mapping[str, Machine]

    @property
    def shells(self) -> dict[str, Shell]:
        """Mininet's shells, of hosts and switches, by name."""
        return {node.name: Shell(node) for node in (*self.net.hosts, *self.net.switches)}

    def stop(self) -> None:
        """Take the net down machine by machine (a lab that ends as a whole needs no such thing)."""
        self.net.stop()


def build(
    workers: int, progress: Callable[[str], None] = lambda _: None, families: Sequence[str] = (IPV4, IPV6)
) -> Underlay:
    """Bring the underlay up. Blocks for about 50 ms a machine. Raises UnderlayError.

    It has IPv4 in any case, for tunnels and names; `families` without IPv6 ask nothing of a kernel that has none.
    """
    setLogLevel("warning")
    Mininet.inited = True
    _switches_only_switch()
    net = Mininet(
        topo=LabTopo(workers=workers),
        host=MachineHost,
        switch=LinuxBridge,
        controller=None,
        autoSetMacs=True,
        waitConnected=False,
    )
    net.start()
    kinds = {spot.name: spot.kind for spot in plan.spots(workers)} | {plan.ROUTER: "router"}
    machines = {host.name: Machine(host, kinds[host.name]) for host in net.hosts}
    progress(f"{len(machines)} machines on {len(net.switches)} switches")
    ipv6 = IPV6 in families
    _configure_router(machines[plan.ROUTER], ipv6)
    hosts = _hosts_file(workers, ipv6)
    for spot in plan.spots(workers):
        _configure_machine(machines[spot.name], spot, hosts, ipv6)
    return Underlay(net, machines)


def _switches_only_switch() -> None:
    """Frames on a switch are no business of its netfilter, and its ports are no hosts, each of which would look for
    routers and report its groups to all. The settings are this network namespace's own.
    """
    settings = {f"net/bridge/bridge-nf-call-{table}": "0" for table in ("iptables", "ip6tables", "arptables")}
    for key, value in (settings | {"net/ipv6/conf/default/disable_ipv6": "1"}).items():
        setting = Path("/proc/sys", key)
        if setting.exists():
            setting.write_text(value)


def _configure_router(router: Machine, ipv6: bool) -> None:
    lines = [
        f"addr add {network.interface(1)[1]} dev eth{number} nodad"
        for number, network in enumerate(plan.NETWORKS)
    ]
    _must(router, "\n".join(["link set lo up", *(lines if ipv6 else ())]))
    _sysctl(router, "net/ipv4/ip_forward", "1")
    if ipv6:
        _sysctl(router, "net/ipv6/conf/all/forwarding", "1")


def _configure_machine(machine: Machine, spot: plan.Spot, hosts: str, ipv6: bool) -> None:
    gateway, gateway_ipv6 = spot.network.gateway
    lines = ["link set lo up", f"route add default via {gateway} dev eth0"]
    if ipv6:
        lines += [
            f"addr add {spot.interfaces[1]} dev eth0 nodad",
            f"route add default via {gateway_ipv6} dev eth0",
        ]
    _must(machine, "\n".join(lines))
    machine.write("hosts", hosts)
    machine.write("resolv.conf", f"nameserver {plan.UPSTREAM_DNS}\n")


def _hosts_file(workers: int, ipv6: bool) -> str:
    """Every machine knows every other by name, as a small network with one hosts file would."""
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    for spot in plan.spots(workers):
        lines += [f"{interface.ip} {spot.name}" for interface in spot.interfaces[: 2 if ipv6 else 1]]
    return "\n".join(lines) + "\n"


def _must(machine: Machine, batch: str) -> None:
    result = machine.ip(batch)
    if result.status:
        raise UnderlayError(f"{machine.name}: {result.stderr.strip()}: see the lab's log")


def _sysctl(machine: Machine, key: str, value: str) -> None:
    result = machine.run(["tee", f"/proc/sys/{key}"], value)
    if result.status:
        raise UnderlayError(f"{machine.name}: {key}: {result.stderr.strip()}")
