"""The load balancer: a Service's address outside the cluster, served by HAProxy on the machine lb1.

    outside 203.0.113.10                lb1                                        nodes
      | to 192.168.50.200:80   +--------------------------+    192.168.50.21:30080 (worker1)  -> service
      NAT -> pod +----------------------> | frontend default/web:http | -> 192.168.50.22:30080 (worker2)
      | to 192.168.50.9:6443   | frontend kube-apiserver   | -> 192.168.50.10:6443 (control-plane)
                               +--------------------------+
                                 one TCP connection in, another out: a node sees lb1's address

lb1 holds the addresses itself, on eth0, so that the nodes' network finds them. It announces new ones, for their
neighbours may remember another machine that had them before (gratuitous ARP, for IPv6 unsolicited neighbour
advertisements): without that they would go on sending there for up to a minute. A node that does not answer
its node port is left out after two failed checks, and taken back after one good one; one that is left out is asked
more often, so that the first pod of a Service is served as soon as it is ready.

Invariants: an address is on eth0 before HAProxy listens on it and until it no longer does; a new
configuration is tried (`haproxy -c`) before the running process is told, and no connection is lost when it
is told (SIGUSR2 to the master: new workers take over the listening sockets, old ones finish what they have).

Sources: Kubernetes, "Service", type LoadBalancer; HAProxy 2.6 configuration manual, sections 3.1, 4.2 and
5.2; HAProxy management guide, section 4 "Stopping and restarting"; RFC 5227, section 2.3 (announcing an address);
RFC 4861, section 7.2.6; the kernel's Documentation/networking/ip-sysctl.rst (arp_notify, ndisc_notify).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from netfns.balancer_types import Frontend, Server
from netfns.kernel import HAS_IPV6, Kernel, settings_for

DEVICE = "eth0"
# The kernel announces the addresses of a device when its hardware address is set, even to what it is. (It also
# forgets the neighbours that it knows there, and looks for them again.)
ANNOUNCE = {f"net.ipv4.conf.{DEVICE}.arp_notify": "1", f"net.ipv6.conf.{DEVICE}.ndisc_notify": "1"}


@dataclass(frozen=True)
class Balancer:
    """All that one balancer serves. `runtime_socket` is the path of HAProxy's runtime API, which tells `version`."""

    runtime_socket: str
    frontends: tuple[Frontend, ...] = ()
    version: int = 0


# ---------------------------------------------------------------- render


def render(desired: Balancer) -> str:
    """Write HAProxy's configuration: `global`, `defaults`, then a frontend and a backend for each frontend
    of `desired`.

    Everything is passed on as TCP, round robin over the servers that pass their check (every second, four
    times a second while a server is down or in doubt; down after 2 failures, up after 1 success; by HTTP where
    there is a health-check port, and down at once).
    Senders outside of the source ranges are turned away. Sections are named after the owner, in the order of
    `desired.frontends`.
    """
    sections = [GLOBAL.format(socket=desired.runtime_socket, version=desired.version)]
    sections += [_section(frontend) for frontend in desired.frontends]
    return "\n".join(sections)


GLOBAL = """\
global
    stats socket {socket} mode 600 level admin expose-fd listeners
    description version {version}
    maxconn 4096

defaults
    mode tcp
    balance roundrobin
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    retries 2
    option redispatch
    default-server check inter 1s fastinter 250ms downinter 250ms fall 2 rise 1
"""


def _section(frontend: Frontend) -> str:
    name = f"{frontend.owner}@{frontend.address}"
    health = frontend.health_check_port
    # A node without endpoints says so at its first check; until then it would swallow connections.
    check = f" port {health} fall 1" if health else ""
    servers = "".join(
        f"    server {server.node} {_bracketed(server.address)}:{server.port}{check}\n"
        for server in frontend.servers
    )
    ranges = " ".join(frontend.source_ranges)
    allowed = f"    tcp-request connection reject unless {{ src {ranges} }}\n" if ranges else ""
    asked = "    option httpchk GET /healthz\n" if health else ""
    return (
        f"frontend {_word(name)}\n"
        f"    description {name}\n"
        f"    bind {_bracketed(frontend.address)}:{frontend.port}\n"
        f"{allowed}"
        f"    default_backend {_word(name)}\n\n"
        f"backend {_word(name)}\n{asked}{servers}"
    )


def _word(name: str) -> str:
    """A name as HAProxy takes it: letters, digits, and - _ . : only."""
    return name.replace("/", ".").replace("@", "_")


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


# ---------------------------------------------------------------- evaluate


def evaluate(desired: Balancer, address: str, port: int) -> tuple[Server, ...] | None:
    """The servers that a connection may be passed to, if they are up; None when nobody listens there."""
    for frontend in desired.frontends:
        if (frontend.address, frontend.port) == (address, port):
            return frontend.servers
    return None


# ---------------------------------------------------------------- apply, observe


def check(kernel: Kernel, configuration: str) -> None:
    """Have HAProxy read a configuration without using it. Raises CommandError with what is wrong."""
    kernel.run(["haproxy", "-c", "-q", "-f", "/dev/stdin"], configuration)


def version_told(information: str) -> int | None:
    """The version of the configuration that answers `show info` on the runtime socket; None when it tells none."""
    lines = (line.partition(": version ") for line in information.splitlines())
    return next((int(version) for key, _, version in lines if key == "description" and version), None)


def add_addresses(kernel: Kernel, desired: Balancer) -> None:
    """Put the frontends' addresses on the device, and announce them. Raises CommandError."""
    missing = _wanted(desired) - observe(kernel)
    if not missing:
        return
    for key, value in settings_for(ANNOUNCE, HAS_IPV6).items():
        kernel.sysctl(key, value)
    try:
        _change(kernel, "add", missing)
    finally:  # those that were added before one was refused are not missing next time
        kernel.ip(f"link set dev {DEVICE} address {_device(kernel)['address']}\n")


def remove_addresses(kernel: Kernel, desired: Balancer) -> None:
    """Take the addresses off the device that no frontend has any more. Raises CommandError."""
    _change(kernel, "del", observe(kernel) - _wanted(desired))


def observe(kernel: Kernel) -> set[str]:
    """The balancer's addresses that the device holds: all single ones (/32, /128) on it."""
    addresses = _device(kernel)["addr_info"]
    held = {f"{address['local']}/{address['prefixlen']}" for address in addresses}
    return {address for address in held if address == _single(address.partition("/")[0])}


def _device(kernel: Kernel) -> dict[str, Any]:
    """The device as ip(8) shows it, with its addresses."""
    (link,) = json.loads(kernel.run(["ip", "-j", "address", "show", "dev", DEVICE]))
    return dict(link)


def _change(kernel: Kernel, verb: str, addresses: set[str]) -> None:
    """Add or delete addresses; an IPv6 address is usable at once, for nobody else has it."""
    lines = []
    for address in sorted(addresses):
        flags = " nodad" if verb == "add" and ":" in address else ""
        lines.append(f"address {verb} {address} dev {DEVICE}{flags}\n")
    if lines:
        kernel.ip("".join(lines))


def _wanted(desired: Balancer) -> set[str]:
    return {_single(frontend.address) for frontend in desired.frontends}


def _single(address: str) -> str:
    return f"{address}/{ip_address(address).max_prefixlen}"
