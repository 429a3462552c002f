"""What a lab needs of the kernel and of the system, tried out before anything is built.

The function is tested, not the module: each feature is used once, in a network namespace that nobody else sees, in the
sandbox in which the lab will run, with the rights that it will have there.

Source: README, "What it needs"; scripts/packages.txt names the packages.
"""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from topo import syscalls
from topo.enter import PATH, environment

SETUP = "run scripts/setup as root"
_DUMMY_NAT = """
table ip minipod-preflight {
  map m {
    type ipv4_addr . inet_proto . inet_service : verdict
  }
  chain c {
    type nat hook prerouting priority -100
    ip daddr . meta l4proto . th dport vmap @m
  }
  chain p {
    type nat hook postrouting priority 100
    meta mark & 0x10000 == 0x10000 masquerade
  }
  chain n {
    ct mark set numgen random mod 2
    reject with icmp type port-unreachable
  }
}
"""


@dataclass(frozen=True)
class Feature:
    """One ability of the kernel: its name, what will not work without it, and a command that uses it."""

    name: str
    without: str
    argv: tuple[str, ...]
    stdin: str


def _link(name: str, without: str, line: str) -> Feature:
    return Feature(f"{name} devices", without, ("ip", "-batch", "-"), line)


FEATURES = (
    _link("veth", "no machine and no pod can be connected", "link add pf0 type veth peer name pf1\n"),
    _link("bridge", "there are no switches", "link add pf2 type bridge\n"),
    _link(
        "vxlan",
        "pods of different nodes cannot reach each other",
        "link add pf3 type vxlan id 1 dstport 8472\n",
    ),
    Feature("nftables NAT", "no service has an address", ("nft", "-f", "-"), _DUMMY_NAT),
)
IPV6 = Feature(
    "IPv6",
    "nothing has an IPv6 address",
    ("ip", "-batch", "-"),
    "link add pf4 type veth peer name pf5\naddr add fd00::1/64 dev pf4\n",
)
_DUMMY_IPTABLES = """
*nat
:pf - [0:0]
-A pf -m comment --comment pf -m statistic --mode random --probability 0.5 -j MARK --or-mark 0x4000
-A pf -m recent --name pf --rcheck --seconds 1 --reap -m addrtype --src-type LOCAL -j RETURN
-A pf -m recent --name pf --set -p tcp -m tcp -j DNAT --to-destination {address}
-A pf -m mark ! --mark 0x4000/0x4000 -j RETURN
-I POSTROUTING -j MASQUERADE --random-fully
COMMIT
*filter
:pf - [0:0]
-A pf -m conntrack --ctstate NEW -j REJECT
COMMIT
"""
# What a proxy mode needs beyond the rest, by its name; of IPv6 only where a lab has it.
MODES = {
    "iptables": (
        Feature(
            "iptables over nf_tables",
            "no service has an address in the proxy mode iptables",
            ("iptables-nft-restore", "--noflush"),
            _DUMMY_IPTABLES.format(address="192.0.2.1:80"),
        ),
        Feature(
            "ip6tables over nf_tables",
            "no service has an IPv6 address in the proxy mode iptables",
            ("ip6tables-nft-restore", "--noflush"),
            _DUMMY_IPTABLES.format(address="[2001:db8::1]:80"),
        ),
    )
}
MODE_PROGRAMS = {"iptables": {"iptables-nft-restore": "iptables", "iptables-nft-save": "iptables"}}
PROGRAMS = {
    "ip": "iproute2",
    "bridge": "iproute2",
    "nft": "nftables",
    "mnexec": "mininet",
    "brctl": "bridge-utils",
    "ifconfig": "net-tools",
    "bash": "bash",
    "haproxy": "haproxy",
    "busybox": "busybox",
    "ping": "iputils-ping",
}
BRIDGE_NETFILTER = "/proc/sys/net/bridge/bridge-nf-call-iptables"


def lacking(proxy_mode: str = "", ipv6: bool = True) -> list[str]:
    """A line for each thing that is missing: what, what will not work, what to do. Call it inside the sandbox.

    `proxy_mode` is the lab's; `ipv6` tells whether the lab has IPv6.
    """
    programs = PROGRAMS | MODE_PROGRAMS.get(proxy_mode, {})
    found = [
        f"program {name}: not found in {PATH}: install the package {package}, or {SETUP}"
        for name, package in programs.items()
        if shutil.which(name, path=PATH) is None
    ]
    features = FEATURES + MODES.get(proxy_mode, ())[: 2 if ipv6 else 1]
    found += _in_own_network(lambda: _lacking_features(features))
    if not os.path.exists(BRIDGE_NETFILTER):
        without = "a service cannot be reached from its own node's pods"
        found.append(f"kernel: br_netfilter: not there, so {without}: {SETUP}, which loads it")
    if reason := _overlay_refused():
        found.append(f"kernel: overlay file systems: {reason}, so no container can start: {SETUP}")
    return found


def ipv6_lacking() -> str:
    """Why there can be no IPv6 here, in one line; "" when there can. A lab does without it then."""
    refused = _in_own_network(lambda: [_refused(IPV6.argv, IPV6.stdin)])[0]
    return f"kernel: {IPV6.name}: {refused}, so {IPV6.without}" if refused else ""


def _lacking_features(features: Sequence[Feature]) -> list[str]:
    return [
        f"kernel: {feature.name}: {reason}, so {feature.without}: {SETUP}, which loads the modules"
        for feature in features
        if (reason := _refused(feature.argv, feature.stdin))
    ]


def _refused(argv: Sequence[str], stdin: str) -> str:
    """Why a command fails; "" when it does not. A program that is missing is told elsewhere."""
    try:
        done = subprocess.run(
            list(argv), input=stdin, capture_output=True, text=True, env=environment(), check=False
        )
    except FileNotFoundError:
        return ""
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["refused"])[0]


def _in_own_network(function: Callable[[], list[str]]) -> list[str]:
    """`function()` in a thread with a fresh network namespace, which ends with it."""
    result: list[str] = []

    def run() -> None:
        try:
            syscalls.unshare(syscalls.CLONE_NEWNET)
        except OSError as error:
            result.append(f"kernel: network namespaces: {error.strerror}: {SETUP}")
        else:
            result.extend(function())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return result


def _overlay_refused() -> str:
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        for name in ("lower", "upper", "work", "root"):
            os.mkdir(f"{folder}/{name}")
        data = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        try:
            syscalls.mount("overlay", f"{folder}/root", "overlay", data=data)
        except OSError as error:
            return os.strerror(error.errno or 0)
        syscalls.unmount(f"{folder}/root")
    return ""
