"""Service NAT as kube-proxy's iptables mode writes it: a chain for each Service and each of its endpoints.

    pod 10.244.1.2                    node                                          pod 10.244.2.3
      | to 10.96.0.20:80                                                               ^ to 10.244.2.3:8080
      v                                                                                |
    cni0 -> PREROUTING -> KUBE-SERVICES ... -> KUBE-SVC-hash -> KUBE-SEP-hash --> FORWARD --> POSTROUTING
            (OUTPUT for     | one rule for each    | by chance      | DNAT          |           |
             the node's     | address and port     |                | mark 0x4000   KUBE-       KUBE-POSTROUTING
             processes)     `-> KUBE-NODEPORTS -> KUBE-EXT-hash     | if hairpin    FORWARD     masquerade, if marked

What becomes of one Service is in service_iptables_chains.py; here are the chains that all share, and how the
text gets into the kernel. A packet for the last of ten thousand Services passes ten thousand rules of
KUBE-SERVICES first: the reason for the map in netfns/service.py, and for this file beside it.

What is not DNATed meets the table `filter`: a Service without endpoints is refused there (REJECT), one
whose endpoints are elsewhere, by policy Local, is dropped.

The mark is kube-proxy's own, bit 14 (0x4000), not bit 16 of the plan in netfns/marks.py: what students read
here and elsewhere shall be the same. In this mode nobody else writes bits 0-15 of the packet's mark.

Invariants: every chain's name is KUBE-something, every rule's comment names its owner, and what iptables-save
lists is what was rendered; `render` of equal
input is equal text; loading `render_change(old, new)` over `render(old)` leaves the rules of
`render(new)`, though not their order in the shared chains, where each packet matches one rule at most.

Sources: kube-proxy, pkg/proxy/iptables (names, comments, order of chains); Kubernetes, "Virtual IPs and Service
Proxies", "Debug Services"; iptables-extensions(8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

from netfns import iptables
from netfns.kernel import HAS_IPV6, CommandError, Kernel, settings_for
from netfns.service import SYSCTLS
from netfns.service_iptables_chains import OWN, Shared, pieces, single
from netfns.service_types import Service, ServiceProxy, family_of

MARK = "0x4000"  # kube-proxy's --iptables-masquerade-bit, by default 14
CANARY = "KUBE-PROXY-CANARY"
SHARED = {
    "filter": ("KUBE-NODEPORTS", "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL"),
    "nat": ("KUBE-NODEPORTS", "KUBE-SERVICES"),
}
FIXED: dict[str, dict[str, tuple[str, ...]]] = {
    "mangle": {CANARY: ()},
    "filter": {
        CANARY: (),
        "KUBE-FORWARD": (
            "-m conntrack --ctstate INVALID -j DROP",
            f'-m comment --comment "kubernetes forwarding rules" -m mark --mark {MARK}/{MARK} -j ACCEPT',
            '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack '
            "--ctstate RELATED,ESTABLISHED -j ACCEPT",
        ),
    },
    "nat": {
        CANARY: (),
        "KUBE-MARK-MASQ": (f"-j MARK --set-xmark {MARK}/{MARK}",),
        "KUBE-POSTROUTING": (
            f"-m mark ! --mark {MARK}/{MARK} -j RETURN",
            f"-j MARK --set-xmark {MARK}/0x0",
            '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
        ),
    },
}
NODE_PORTS = "kubernetes service nodeports; NOTE: this must be the last rule in this chain"
NEW = "-m conntrack --ctstate NEW "
# From the kernel's own chains to ours: table, chain, match, comment, target. The last one stands first in the end.
JUMPS = (
    ("filter", "INPUT", NEW, "kubernetes externally-visible service portals", "KUBE-EXTERNAL-SERVICES"),
    ("filter", "FORWARD", NEW, "kubernetes externally-visible service portals", "KUBE-EXTERNAL-SERVICES"),
    ("filter", "INPUT", "", "kubernetes health check service ports", "KUBE-NODEPORTS"),
    ("filter", "FORWARD", NEW, "kubernetes service portals", "KUBE-SERVICES"),
    ("filter", "OUTPUT", NEW, "kubernetes service portals", "KUBE-SERVICES"),
    ("filter", "FORWARD", "", "kubernetes forwarding rules", "KUBE-FORWARD"),
    ("filter", "INPUT", NEW, "kubernetes load balancer firewall", "KUBE-PROXY-FIREWALL"),
    ("filter", "FORWARD", NEW, "kubernetes load balancer firewall", "KUBE-PROXY-FIREWALL"),
    ("filter", "OUTPUT", NEW, "kubernetes load balancer firewall", "KUBE-PROXY-FIREWALL"),
    ("nat", "PREROUTING", "", "kubernetes service portals", "KUBE-SERVICES"),
    ("nat", "OUTPUT", "", "kubernetes service portals", "KUBE-SERVICES"),
    ("nat", "POSTROUTING", "", "kubernetes postrouting rules", "KUBE-POSTROUTING"),
)

# ---------------------------------------------------------------- render


def render(desired: ServiceProxy) -> str:
    """Write the whole ruleset: for each family in use the tables mangle, filter and nat, as a text for
    iptables-nft-restore (and ip6tables-nft-restore) --noflush.

    Every chain is emptied and filled. The jumps from the kernel's own chains stand last; `apply` leaves out
    those that are there.
    """
    return "".join(_section(desired, family) for family in desired.families)


def render_change(old: ServiceProxy, new: ServiceProxy) -> str:
    """Write what turns the kernel from `old` into `new`: the chains that differ, and single rules in the shared
    ones; "" when nothing differs.

    Both may hold just the services that changed. When something other than the services differs, it is the
    text of `render`.
    """
    if replace(old, services=()) != replace(new, services=()):
        return render(new)
    old_services, new_services = set(old.services), set(new.services)
    gone = tuple(service for service in old.services if service not in new_services)
    come = tuple(service for service in new.services if service not in old_services)
    return "".join(_change(old, gone, new, come, family) for family in new.families)


def _section(desired: ServiceProxy, family: str) -> str:
    found = pieces(desired, desired.services, family)
    shared = [*found.shared, *_node_ports(desired, family)]
    tables: dict[str, list[str]] = {}
    for table, chains in FIXED.items():
        lines = [line for name, rules in chains.items() for line in iptables.chain(name, rules)]
        if table == "nat":
            for name, own_rules in found.chains.items():
                lines += iptables.chain(name, own_rules)
        for name in SHARED.get(table, ()):
            lines += iptables.chain(name, (rule for *place, rule in shared if place == [table, name]))
        tables[table] = lines + [f"-I {chain} {rule}" for place, chain, rule in _jumps() if place == table]
    return iptables.section(family, tables)


def _change(
    old: ServiceProxy, gone: tuple[Service, ...], new: ServiceProxy, come: tuple[Service, ...], family: str
) -> str:
    before, after = pieces(old, gone, family), pieces(new, come, family)
    tables: dict[str, list[str]] = {"filter": [], "nat": []}
    for name, rules in after.chains.items():
        if before.chains.get(name) != rules:
            tables["nat"] += iptables.chain(name, rules)
    for verb, ours, others in (("-I", after, before), ("-D", before, after)):
        theirs = set(others.shared)
        for table, chain, rule in (one for one in ours.shared if one not in theirs):
            tables[table].append(f"{verb} {chain} {rule}")
    tables["nat"] += _without(name for name in before.chains if name not in after.chains)
    return iptables.section(family, tables)


def _without(chains: Iterable[str]) -> list[str]:
    """The lines that take chains away: all emptied first, for they may jump to each other."""
    names = list(chains)
    return [*(line for name in names for line in iptables.chain(name)), *(f"-X {name}" for name in names)]


def _node_ports(desired: ServiceProxy, family: str) -> Iterator[Shared]:
    """The last rules of KUBE-SERVICES: what is for the node itself may be for a node port."""
    for address in desired.node_addresses:
        if family_of(address) == family:
            rule = f'-d {single(address)} -m comment --comment "{NODE_PORTS}" -j KUBE-NODEPORTS'
            yield "nat", "KUBE-SERVICES", rule


def _jumps() -> Iterator[Shared]:
    for table, chain, match, comment, target in JUMPS:
        yield table, chain, f'{match}-m comment --comment "{comment}" -j {target}'


# ---------------------------------------------------------------- apply, observe


def prepare(kernel: Kernel) -> None:
    """Set the sysctls that translation between pods needs; once for a node. Raises CommandError."""
    for key, value in settings_for(SYSCTLS, HAS_IPV6).items():
        kernel.sysctl(key, value)


def apply(kernel: Kernel, text: str) -> None:
    """Load the text of `render` or `render_change`. Raises CommandError; loading the whole again mends what is
    half done then.

    A whole text also takes away the chains of Services that are no more, and adds no jump twice.
    """
    for family, tables in iptables.sections(text):
        whole = iptables.chain("KUBE-SERVICES")[0] in tables.get("nat", ())
        iptables.load(kernel, family, _over(iptables.held(kernel, family), tables) if whole else tables)


def _over(held: dict[str, list[str]], tables: dict[str, list[str]]) -> dict[str, list[str]]:
    """A whole text as it must be where `held` is there already."""
    wanted = {
        table: [
            line
            for line in lines
            if not (line.startswith("-I ") and line.replace("-I ", "-A ", 1) in held.get(table, ()))
        ]
        for table, lines in tables.items()
    }
    declared = {_declared(line) for line in tables["nat"]}
    own = (_declared(line) for line in held.get("nat", ()))
    wanted["nat"] += _without(name for name in own if name.startswith(OWN) and name not in declared)
    return wanted


def _declared(line: str) -> str:
    """The chain that a line makes, "" for a rule."""
    return line[1:].partition(" ")[0] if line.startswith(":") else ""


def observe(kernel: Kernel) -> str:
    """Read what the kernel holds, as iptables-save and ip6tables-save list it; "" when nothing of this mode is
    there.
    """
    texts = []
    for command in iptables.SAVE.values():
        with suppress(CommandError):
            texts.append(kernel.run([command]))
    return "".join(text for text in texts if CANARY in text)


def intact(kernel: Kernel, families: Iterable[str]) -> bool:
    """Whether our canary chain and the jumps into our chains are still there in each of these families (ip, ip6)."""
    for family in families:
        program = iptables.PROGRAM[family]
        try:
            kernel.run([program, "-t", "mangle", "-S", CANARY])
        except CommandError:
            return False
        for place in sorted({(table, chain) for table, chain, _ in _jumps()}):
            there = kernel.run([program, "-t", place[0], "-S", place[1]]).splitlines()
            if any(
                f"-A {chain} {rule}" not in there
                for table, chain, rule in _jumps()
                if (table, chain) == place
            ):
                return False
    return True


def remove(kernel: Kernel) -> None:
    """Take our chains away, and the jumps into them. Raises CommandError."""
    jumps = {(table, f"-A {chain} {rule}") for table, chain, rule in _jumps()}
    for family in iptables.SAVE:
        try:
            held = iptables.held(kernel, family)
        except CommandError:  # a kernel without IPv6
            continue
        shared = {CANARY, *(name for names in SHARED.values() for name in names)}
        shared |= {name for chains in FIXED.values() for name in chains}
        tables = {}
        for table, lines in held.items():
            jumping = [line.replace("-A ", "-D ", 1) for line in lines if (table, line) in jumps]
            ours = (name for name in map(_declared, lines) if name in shared or name.startswith(OWN))
            tables[table] = jumping + _without(ours)
        iptables.load(kernel, family, tables)
