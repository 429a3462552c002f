"""NetworkPolicies on a node: who may reach its pods, and whom they may reach, in nftables.

    pod 10.244.1.5                        node                              pod 10.244.1.7, or another node
      | to 10.244.1.7:80                                                       ^
      v                                                                        |
    cni0 -> prerouting (services) -> forward -------------------------------> postrouting
                                       | known connection? accept
                                       | egress4: sender -> its gate    ingress4: receiver -> its gate
                                       v                                   ^            |
                                     egress/x/dns-only --allowed--> ingress             v
                                       |                               |       ingress/y/from-x
                                       `-- else: drop                  |          |  80/TCP -> from-3f0a…
                                                                       v          |  else: drop
                                                                    accept <------'  (peers4-3f0a… has the sender)

Frames between two pods of one bridge pass here too (br_netfilter), and services are translated before: what
is judged is pod and pod. A node judges the way out of its own pods and the way into them; a packet from one
node to another is judged on both. What a node says to its own pods passes output and input, not forward:
no policy stops a probe.

Packets cost the same with one policy as with a thousand (policy_rules.py says how), and only those of new
connections: a change of policies or labels acts on connections that begin after it.

Invariants: an isolated pod's address is behind its gate before the pod runs (agents/policy.py); loading never
opens anything for a moment; a node without isolated pods has no table at all; every chain and element names
its owner; loading `render_change(old, new)` over `render(old)` leaves what `render(new)` would.

Sources: Kubernetes documentation, "Network Policies"; nft(8), "MAPS", "VERDICT STATEMENTS"; br_netfilter in the
kernel's Documentation/networking/bridge.rst; RFC 4861 (neighbour discovery, which policies must not stop).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from netfns.kernel import CommandError, Kernel
from netfns.policy_rules import Element, Gate, Peers, Piece, PolicyRules, address_ranges
from netfns.policy_types import EGRESS, INGRESS
from netfns.policy_verdict import evaluate
from netfns.transactions import transactions

__all__ = [
    "TABLE",
    "apply",
    "evaluate",
    "intact",
    "load",
    "observe",
    "prepare",
    "remove",
    "render",
    "render_change",
]

TABLE = "network-policy"  # the plain word is reserved in nft
SYSCTLS = {
    # Frames between two pods of one bridge must be judged like all others.
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
}
DISCOVERY = (
    "nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, "
    "mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report"
)
FRAME = {
    "forward": (
        "type filter hook forward priority filter - 10; policy accept;",
        "ct state established,related accept",
        "meta nfproto ipv6 goto forward6",
        "ip saddr vmap @egress4",
        "goto ingress",
    ),
    "forward6": (f"icmpv6 type {{ {DISCOVERY} }} accept", "ip6 saddr vmap @egress6", "goto ingress"),
    "ingress": ("ip daddr vmap @ingress4", "ip6 daddr vmap @ingress6", "accept"),
    "itself": ("ip saddr . ip daddr @itself4 accept", "ip6 saddr . ip6 daddr @itself6 accept"),
}
ADDRESS = {"4": "ipv4_addr", "6": "ipv6_addr"}
IP = {"4": "ip", "6": "ip6"}
PART = 40 * 1024  # characters of a transaction: rules take several times their text in a netlink message
SWAPPED = 100  # elements that are swapped in one line
# While a large ruleset is loaded in parts, nothing new passes.
LOADING = (
    f"add chain inet {TABLE} loading {{ type filter hook forward priority filter - 11; policy accept; }}\n"
    f"add rule inet {TABLE} loading ct state new drop\n"
)
LOADED = f"flush chain inet {TABLE} loading\ndelete chain inet {TABLE} loading\n"


@dataclass(frozen=True)
class Chain:
    """A chain's text: its name, whom it serves, its rules."""

    name: str
    owner: str
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Set:
    """A set's or map's text without its elements; `kind` is set or map."""

    kind: str
    name: str
    type: str
    owner: str = ""


# ---------------------------------------------------------------- render


def render(rules: PolicyRules) -> str:
    """Write the whole ruleset: one `nft -f` text that replaces the table `inet network-policy`.

    Its maps `ingress4`, `ingress6`, `egress4` and `egress6` hold the addresses of the node's isolated pods:
    `address : jump gate`. A gate is a chain: for each protocol a map from ports to the chain of the peers that
    may use them, then what is allowed on every port, then what a pod sends to itself, then `drop`, counted, with
    the policies as its comment. The chain `from-ID` (or `to-ID`, on the way out) of some peers asks the sets
    `peers4-ID` and `peers6-ID` and the blocks of addresses. On the way in, allowed is `accept`; on the way out it
    is `goto ingress`.

    Known connections, replies and neighbour discovery pass before all of this. Equal input gives equal text.
    """
    held: dict[str, list[Element]] = defaultdict(list)
    for element in rules.elements:
        held[element.place].append(element)
    sets = "".join(_set_block(one, held[one.name]) for one in (*_maps(), *_sets(rules)))
    frame = (Chain(name, "", lines) for name, lines in FRAME.items())
    chains = "".join(_chain_block(chain) for chain in (*frame, *_chains(rules)))
    return f"{_emptied()}table inet {TABLE} {{\n{sets}{chains}}}\n"


def render_change(old: PolicyRules, new: PolicyRules) -> str:
    """Write what turns the kernel from `old` into `new`; "" when nothing differs.

    Both may hold just what changed, so that the cost is that of the change. What is added comes before
    whatever refers to it, and what is removed after it: wherever a long text is cut, the part before is sound.
    """
    old_sets, new_sets = set(_sets(old)), set(_sets(new))
    old_chains = {chain.name: chain for chain in _chains(old)}
    new_chains = {chain.name: chain for chain in _chains(new)}
    written = [chain for name, chain in new_chains.items() if old_chains.get(name) != chain]
    stale = [
        name for name in reversed(old_chains) if name not in new_chains
    ]  # gates before what they jump to
    lost = {one.name for one in old_sets - new_sets}
    kept = {(e.place, e.key) for e in new.elements}
    removed = [e for e in old.elements if (e.place, e.key) not in kept and e.place not in lost]
    among, behind = _additions(old.elements, new.elements)
    lines = [
        *(_set_command(one) for one in sorted(new_sets - old_sets, key=lambda one: one.name)),
        *(_chain_command(chain) for chain in written if chain.name not in old_chains),
        *among,
        *(_rules_command(chain, new=chain.name not in old_chains) for chain in written),
        *behind,
        *_commands("delete", removed),
        *(f"delete chain inet {TABLE} {name}" for name in stale),
        *(f"delete set inet {TABLE} {name}" for name in sorted(lost)),
    ]
    return "".join(f"{line}\n" for line in lines)


def _emptied() -> str:
    """Declared and deleted: what follows replaces whatever was there."""
    return f"table inet {TABLE}\ndelete table inet {TABLE}\n"


def _additions(old: Iterable[Element], new: Iterable[Element]) -> tuple[list[str], list[str]]:
    """Commands for elements that are new or different: first those of peers, then those that isolate.

    What is different is deleted and added in one line: no transaction ends between the two.
    """
    held = {(e.place, e.key): e for e in old}
    added: tuple[list[Element], list[Element]] = [], []
    swapped: tuple[list[Element], list[Element]] = [], []
    for element in new:
        before = held.get((element.place, element.key))
        isolates = element.place.startswith((EGRESS, INGRESS))
        if before is None:
            added[isolates].append(element)
        elif before != element:
            swapped[isolates].append(element)
    among, behind = (_commands("add", added[i]) + list(_swaps(swapped[i])) for i in (False, True))
    return among, behind


def _swaps(elements: Sequence[Element]) -> Iterator[str]:
    for start in range(0, len(elements), SWAPPED):
        those = elements[start : start + SWAPPED]
        for deleted, added in zip(_commands("delete", those), _commands("add", those), strict=True):
            yield f"{deleted}; {added}"


def _commands(verb: str, elements: Iterable[Element]) -> list[str]:
    """One command for each set or map that is touched."""
    places: dict[str, list[str]] = defaultdict(list)
    for element in elements:
        places[element.place].append(element.key if verb == "delete" else str(element))
    return [
        f"{verb} element inet {TABLE} {place} {{ {', '.join(sorted(texts))} }}"
        for place, texts in sorted(places.items())
    ]


# ---------------------------------------------------------------- sets


def _maps() -> Iterator[Set]:
    """The maps and sets that are always there."""
    for family, address in ADDRESS.items():
        yield Set("set", f"itself{family}", f"{address} . {address}", "a pod reaches itself")
        for direction in (EGRESS, INGRESS):
            yield Set("map", f"{direction}{family}", f"{address} : verdict", "isolated pods and their gates")


def _sets(rules: PolicyRules) -> Iterator[Set]:
    for peers in rules.peers:
        if peers.pods:
            for family, address in ADDRESS.items():
                yield Set("set", f"peers{family}-{peers.id}", address, "; ".join(map(str, peers.pods)))
    for named in rules.named:
        for family, address in ADDRESS.items():
            kind = f"{address} . inet_proto . inet_service"
            yield Set("set", f"named{family}-{named.id}", kind, str(named))


def _set_block(one: Set, elements: Iterable[Element]) -> str:
    body = ",\n".join(f"\t\t\t{element}" for element in elements)
    filled = f"\t\telements = {{\n{body}\n\t\t}}\n" if body else ""
    comment = f"\t\t{_comment(one.owner)}\n" if one.owner else ""
    return f"\t{one.kind} {one.name} {{\n\t\ttype {one.type}\n{comment}{filled}\t}}\n\n"


def _set_command(one: Set) -> str:
    return f"add {one.kind} inet {TABLE} {one.name} {{ type {one.type}; {_comment(one.owner)}; }}"


# ---------------------------------------------------------------- chains


def _chains(rules: PolicyRules) -> Iterator[Chain]:
    """The chains of peers before the gates that jump to them."""
    for peers in rules.peers:
        yield _peer_chain("from", "saddr", peers, "accept")
        yield _peer_chain("to", "daddr", peers, "goto ingress")
    for gate in rules.gates:
        yield _gate_chain(gate)


def _peer_chain(word: str, side: str, peers: Peers, allowed: str) -> Chain:
    lines = []
    for family, ip in IP.items():
        if peers.pods:
            lines.append(f"{ip} {side} @peers{family}-{peers.id} {allowed}")
        ranges = address_ranges(peers.blocks, family)
        if ranges:
            lines.append(f"{ip} {side} {{ {', '.join(ranges)} }} {allowed}")
    return Chain(f"{word}-{peers.id}", str(peers), tuple(lines))


def _gate_chain(gate: Gate) -> Chain:
    lines = []
    for protocol, pieces in groupby(gate.pieces, attrgetter("protocol")):
        ports = ", ".join(f"{_ports(piece)} : {_verdict(gate, piece.peers)}" for piece in pieces)
        lines.append(f"{protocol.lower()} dport vmap {{ {ports} }}")
    if gate.named:
        lines += [
            f"{ip} daddr . meta l4proto . th dport @named{family}-{gate.named.id} goto ingress"
            for family, ip in IP.items()
        ]
    if gate.otherwise:
        lines.append(_verdict(gate, gate.otherwise))
    if not gate.otherwise.everyone:
        lines.append("jump itself")
        lines.append(f"counter drop {_comment(', '.join(gate.owners))}")
    return Chain(gate.name, ", ".join(gate.owners), tuple(lines))


def _verdict(gate: Gate, peers: Peers) -> str:
    if peers.everyone:
        return "accept" if gate.direction == INGRESS else "goto ingress"
    return f"jump {'from' if gate.direction == INGRESS else 'to'}-{peers.id}"


def _ports(piece: Piece) -> str:
    return f"{piece.first}-{piece.last}" if piece.first < piece.last else str(piece.first)


def _chain_block(chain: Chain) -> str:
    comment = [_comment(chain.owner)] if chain.owner else []
    return (
        f"\tchain {chain.name} {{\n"
        + "".join(f"\t\t{line}\n" for line in (*comment, *chain.rules))
        + "\t}\n\n"
    )


def _chain_command(chain: Chain) -> str:
    return f"add chain inet {TABLE} {chain.name} {{ {_comment(chain.owner)}; }}"


def _rules_command(chain: Chain, *, new: bool) -> str:
    """The chain's rules, in the place of those that it had unless it is new; in one line: it is never empty."""
    emptied = () if new else (f"flush chain inet {TABLE} {chain.name}",)
    return "; ".join((*emptied, *(f"add rule inet {TABLE} {chain.name} {rule}" for rule in chain.rules)))


def _comment(text: str) -> str:
    return f'comment "{text if len(text) <= 120 else text[:117] + "..."}"'


# ---------------------------------------------------------------- apply, observe


def prepare(kernel: Kernel) -> None:
    """Set the sysctls without which frames on the bridge would pass unseen. Raises CommandError."""
    for key, value in SYSCTLS.items():
        kernel.sysctl(key, value)


def load(kernel: Kernel, rules: PolicyRules) -> None:
    """Make the kernel hold these rules and nothing else. Raises CommandError.

    In one transaction where it fits into one. A larger ruleset goes in parts, and until the last one new
    connections of pods wait: closed, never open. It is tried in a table without hooks before. So when the rules
    are refused, those before stay in force.
    """
    text = render(rules)
    if len(text) <= PART:
        kernel.nft(text)
        return
    change = render_change(PolicyRules(), rules)
    _try(kernel, change)
    kernel.nft(render(PolicyRules()) + LOADING)
    apply(kernel, change)
    kernel.nft(LOADED)


def _try(kernel: Kernel, change: str) -> None:
    """Load a change to no rules at all where no packet comes, and take it away. Raises CommandError."""
    trial = f"{TABLE}-trial"
    hook = FRAME["forward"][0]
    emptied = _emptied().replace(TABLE, trial)
    kernel.nft(render(PolicyRules()).replace(hook, "").replace(TABLE, trial))
    try:
        apply(kernel, change.replace(f" inet {TABLE} ", f" inet {trial} "))
    finally:
        kernel.nft(emptied)


def remove(kernel: Kernel) -> None:
    """Take the table away: no pod of the node is isolated. Raises CommandError."""
    kernel.nft(_emptied())


def apply(kernel: Kernel, change: str) -> None:
    """Load the text of `render_change`, in one transaction where it fits into one. Raises CommandError."""
    for part in transactions(change, PART):
        kernel.nft(part)


def observe(kernel: Kernel) -> str:
    """Read the table that the kernel holds, as nft lists it; "" when there is none."""
    try:
        return kernel.run(["nft", "list", "table", "inet", TABLE])
    except CommandError:
        return ""


def forget(kernel: Kernel, addresses: Iterable[str]) -> None:
    """Let connection tracking forget all flows of addresses that were another pod's.

    A known connection passes without being judged, and a flow of datagrams to a pod that is gone stays known for as
    long as somebody sends: it would reach the next pod that gets the address.
    """
    for address in addresses:
        family = "ipv6" if ":" in address else "ipv4"
        for end in ("--orig-src", "--reply-src"):
            with suppress(CommandError):  # it knows none
                kernel.run(["conntrack", "-D", "-f", family, end, address])


def intact(kernel: Kernel, isolated: Sequence[Element]) -> bool:
    """Whether the table is there, its base chain leads to the gates, and these pods are behind them."""
    held = observe(kernel)
    return (
        all(
            rule in held for rules in FRAME.values() for rule in rules[1:] if "vmap" in rule or "goto" in rule
        )
        and all(str(element) in held for element in isolated)
        and all(
            f"chain {element.value.removeprefix('jump ')} {{" in held for element in isolated if element.value
        )
    )
