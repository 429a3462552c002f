"""A Service's addresses: what kube-proxy does, in nftables.

A Service is an address that no device has. On every node, the first packet of a connection to it is
rewritten to one of the Service's endpoints; conntrack remembers the choice and rewrites the rest, in both
directions.

    pod 10.244.1.2                    node                                          pod 10.244.2.3
      | to 10.96.0.20:80                                                               ^ to 10.244.2.3:8080
      v                                                                                |
    cni0 -> prerouting: services -> pick-2 -> translate ---> route -> forward ------> postrouting -> vxlan0
            (a process of the node   |          |            |          |             |
             enters by `output`)     |          |            |       refuse:          masquerade,
                                     |          |            |       no endpoints     if marked
             services: address . protocol . port |           |
                       -> how many endpoints     |          the address is an
             pick-2:   one of 0..1 into ct mark  |          endpoint's by now
             endpoints: address . protocol . port . choice -> endpoint . its port

A service is not a chain of its own but a few elements of shared maps, so a packet costs the same lookups
with ten services as with ten thousand, and a change costs the elements that changed. Only what a few
services ask for is in files of its own: policies that choose by sender (service_picks.py), clients that keep
their endpoint (service_affinity.py). Which elements a service brings is in service_elements.py.

The source is masqueraded (the packet leaves with the node's own address) when the answer would otherwise
not come back through this node: a sender that is no pod asks for a cluster address, anybody comes in by a
node port or another external address, or the endpoint is the sender itself (hairpin). With
externalTrafficPolicy Local the endpoint is on this node, and whoever comes from outside keeps its address.

Invariants: a connection keeps its endpoint; a service without endpoints refuses at once; every element's
comment names its owner (`default/web:http`); `render` of equal input is equal text; loading
`render_change(old, new)` over `render(old)` leaves the same elements as `render(new)`; a text never
touches the maps of clients that the kernel fills itself.

Sources: Kubernetes, "Virtual IPs and Service Proxies"; kube-proxy's nftables mode
(pkg/proxy/nftables/README); nft(8).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from netfns import service_affinity as affinity
from netfns.kernel import HAS_IPV6, CommandError, Kernel, settings_for
from netfns.marks import MASQUERADE
from netfns.service_elements import Element, Rules, rules_of
from netfns.service_picks import ALWAYS, Pick, chains, pickers
from netfns.service_types import FAMILIES, ServiceProxy, family_of
from netfns.transactions import transactions

TABLE = "service"
SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    # Two pods of one bridge: the answer must pass conntrack on its way, or it arrives from the wrong address.
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
}
TAB, LINE = "\t", "\n"
PORT = "{address} . inet_proto . inet_service"
# What is looked up first comes last, for a large ruleset is loaded in this order (transactions.py).
PLACES = {
    "pickers": "map: mark : verdict",
    "endpoints": f"map: {PORT} . mark : {{address}} . inet_service",
    "hairpin": f"set: {{address}} . {PORT} . mark",
    "affinity_ids": f"map: {PORT} . mark : mark",
    "affinity": f"map: {PORT} : verdict",
    "external": f"set: {PORT}",
    "allowed": f"set: {{address}} . {PORT}; flags interval",
    "firewalled": f"set: {PORT}",
    "services": f"map: {PORT} : mark",
    "no_local_endpoints": f"set: {PORT}",
    "no_endpoints": f"set: {PORT}",
    "cluster_ips": "set: {address}",
}


# ---------------------------------------------------------------- render


def render(desired: ServiceProxy) -> str:
    """Write the whole ruleset: one `nft -f` text after which the tables `ip service` and `ip6 service` hold
    what is desired, whatever they held before.

    For each family of `pod_cidrs` there is one table. Its frontends are the services' cluster addresses
    with their port, the node's addresses with their node port, and external addresses, and each fills these
    sets and maps (`key : value`, with the frontend's owner, `default/web:http`, as the element's comment):

    - `services`: `address . protocol . port : number of endpoints`, for a frontend that has endpoints;
    - `endpoints`: `address . protocol . port . choice : endpoint . endpoint port`, choice counting from 0;
    - `no_endpoints`: `address . protocol . port`, for a frontend that has none: new connections are rejected;
    - `external`: `address . protocol . port` of node ports and other external addresses: all that enters
      there is masqueraded;
    - `hairpin`: `endpoint . address . protocol . port . choice` for endpoints on this node (or on no known
      node): masqueraded, for the endpoint would answer itself directly;
    - `cluster_ips`: every cluster address (comment `default/web`): what was not translated is rejected.

    Translation is done in the nat hooks prerouting (priority dstnat) and output (priority -100): look up
    the number of endpoints, choose one of them at random with equal chance, mark for masquerade (bit 16 of
    the packet's mark, through a mask) what comes by an external way, from a sender that is no pod, or as a
    hairpin, `dnat`. The hook postrouting masquerades what is marked and clears
    the bit. New connections that were not translated pass the filter hooks input, forward and output:
    rejected there as above (TCP with a reset, which a client notices at once in both families),
    and dropped when they go to a service range's address that no service has.
    Traffic for other addresses must not be touched.

    Beyond that, for the Services that ask for it:

    - policy Local without an endpoint on this node, while others have one: in `no_local_endpoints`, dropped;
    - an external frontend with policy Local is not in `external`, and picks by sender (service_picks.py);
    - with source ranges it is in `firewalled`; `allowed` holds `source range . address . protocol . port`,
      and what is not in it is dropped before translation;
    - with an affinity timeout, `services` says so (service_picks.py), the choices in `endpoints` and
      `hairpin` are the endpoints' numbers, `affinity_ids` maps choice to number, and `affinity` leads to the
      chain of the service port (service_affinity.py). Its map of clients must outlive the load: so the
      table is never deleted; all its rules and every other map are flushed.

    Equal input gives equal text; the order of `desired.services` is kept, but for this node's own
    frontends, which come last.
    """
    rules = rules_of(desired, desired.services)
    return "".join(_table(family, desired, rules) for family in desired.families)


def render_change(old: ServiceProxy, new: ServiceProxy) -> str:
    """Write what turns the kernel from `old` into `new`: elements only, and the few chains that they need;
    "" when nothing differs.

    Both may hold just the services that changed, so that the cost is that of the change. When something
    other than the services differs (the node's addresses, a range) there is no way but `render`, and its
    text is returned.
    """
    if replace(old, services=()) != replace(new, services=()):
        return render(new)
    old_services, new_services = set(old.services), set(new.services)
    before = rules_of(old, [s for s in old.services if s not in new_services])
    after = rules_of(new, [s for s in new.services if s not in old_services])
    had, has = set(before.elements), set(after.elements)
    lines = [line for family in new.families for line in _new_chains(family, new, before, after)]
    lines += _commands("delete", had - has)
    lines += _commands("add", has - had)
    for family, owner, _ in sorted(before.sticky):
        if not any(kept[:2] == (family, owner) for kept in after.sticky):
            name = f"{family} {TABLE} {affinity.name_of(owner)}"
            lines += [f"delete chain {name}", f"delete map {name}"]
    return "".join(f"{line}\n" for line in lines)


def _table(family: str, desired: ServiceProxy, rules: Rules) -> str:
    """The table of one family: declared, so that it can be flushed; then flushed; then filled."""
    words = _words(family, desired)
    held: dict[str, list[str]] = defaultdict(list)
    for element in rules.elements:
        if element.family == family:
            held[element.place].append(element.text)
    picks = {pick for its_family, pick in rules.picks if its_family == family} | {Pick(n) for n in ALWAYS}
    held["pickers"] = [f"{pick.number} : goto {chain}" for pick, chain in pickers(picks)]
    own = chains(picks, words)
    kinds = {place: kind.format(address=words["address"]).split(": ", 1) for place, kind in PLACES.items()}
    declared = [f"{head} {place} {{ type {kind}; }}" for place, (head, kind) in kinds.items()]
    for _, owner, seconds in sorted(entry for entry in rules.sticky if entry[0] == family):
        name = affinity.name_of(owner)
        own[name] = affinity.rules(owner, seconds, words["ip"])
        declared.append(f"map {name} {{ {affinity.declaration(words['address'])} }}")
    flushed = [f"flush {head} {family} {TABLE} {place}\n" for place, (head, _) in kinds.items()]
    filled = [_set(f"{head} {place}", kind, held[place]) for place, (head, kind) in kinds.items()]
    frame = f"table {family} {TABLE} {{\n"
    return (
        f"{frame}{''.join(f'{TAB}{line}{LINE}' for line in declared)}}}\n"
        f"flush table {family} {TABLE}\n{''.join(flushed)}"
        f"{frame}{''.join(filled)}{''.join(map(_chain, own, own.values()))}{CHAINS.format(**words)}}}\n"
    )


CHAINS = """\
	chain allowed-sources {{
		{key} @firewalled {ip} saddr . {key} != @allowed drop comment "not in loadBalancerSourceRanges"
	}}

	chain filter-prerouting {{
		type filter hook prerouting priority dstnat - 5; policy accept;
		ct state new jump allowed-sources
	}}

	chain filter-output-before-nat {{
		type filter hook output priority -105; policy accept;
		ct state new jump allowed-sources
	}}

	chain translate {{
		{ip} saddr != {pods} {ip} daddr @cluster_ips {mark} comment "sender is no pod"
		{key} @external {mark} comment "external address or node port"
		{ip} saddr . {key} . ct mark @hairpin {mark} comment "hairpin"
		meta l4proto {{ tcp, udp, sctp }} dnat {ip} to {key} . ct mark map @endpoints
	}}

	chain services {{
		ct mark set {key} map @services
		ct mark vmap @pickers
	}}

	chain prerouting {{
		type nat hook prerouting priority dstnat; policy accept;
		jump services
	}}

	chain output {{
		type nat hook output priority -100; policy accept;
		jump services
	}}

	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
		meta mark & {masquerade} == 0 return
		meta mark set meta mark & {others}
		masquerade
	}}

	chain reject-now {{
		meta l4proto tcp reject with tcp reset
		reject
	}}

	chain refuse {{
		{key} @no_endpoints goto reject-now
		{key} @no_local_endpoints drop
		{ip} daddr @cluster_ips goto reject-now comment "no such port"
		{ip} daddr {services} drop comment "no such service"
	}}

	chain filter-input {{
		type filter hook input priority filter; policy accept;
		ct state new jump refuse
	}}

	chain filter-forward {{
		type filter hook forward priority filter; policy accept;
		ct state new jump refuse
	}}

	chain filter-output {{
		type filter hook output priority filter; policy accept;
		ct state new jump refuse
	}}
"""


def _words(family: str, desired: ServiceProxy) -> dict[str, str]:
    """What the rules of a family have in their gaps."""
    address, ip = ("ipv4_addr", "ip") if family == "ip" else ("ipv6_addr", "ip6")
    masquerade = f"0x{MASQUERADE:08x}"
    return {
        "address": address,
        "ip": ip,
        "key": f"{ip} daddr . meta l4proto . th dport",
        "masquerade": masquerade,
        "mark": f"meta mark set meta mark | {masquerade}",
        "others": f"0x{MASQUERADE ^ 0xFFFFFFFF:08x}",
        "pods": _of_family(desired.pod_cidrs, family)[0],
        "services": _of_family(desired.service_cidrs, family)[0],
    }


def _set(head: str, kind: str, elements: list[str]) -> str:
    """A set's or map's declaration with its elements, one a line."""
    body = ",\n".join(f"\t\t\t{element}" for element in elements)
    filled = f"\t\telements = {{\n{body}\n\t\t}}\n" if elements else ""
    return f"\t{head} {{\n\t\ttype {kind}\n{filled}\t}}\n\n"


def _chain(name: str, rules: list[str]) -> str:
    body = "".join(f"\t\t{rule}\n" for rule in rules)
    return f"\tchain {name} {{\n{body}\t}}\n\n"


def _new_chains(family: str, desired: ServiceProxy, before: Rules, after: Rules) -> list[str]:
    """Commands for the chains that `after` needs and that nobody is known to have had. A chain for a number
    of endpoints that is no longer used stays.
    """
    words = _words(family, desired)
    new = {pick for its_family, pick in after.picks - before.picks if its_family == family}
    new -= {Pick(count) for count in ALWAYS}
    made = chains(new, words)
    lines = []
    for its_family, owner, seconds in sorted(after.sticky - before.sticky):
        if its_family == family:
            name = affinity.name_of(owner)
            lines.append(f"add map {family} {TABLE} {name} {{ {affinity.declaration(words['address'])} }}")
            made[name] = affinity.rules(owner, seconds, words["ip"])
    for name, rules in made.items():
        chain = f"{family} {TABLE} {name}"
        lines += [f"add chain {chain}", f"flush chain {chain}"]
        lines += [f"add rule {chain} {rule}" for rule in rules]
    lines += [
        f"add element {family} {TABLE} pickers {{ {pick.number} : goto {chain} }}"
        for pick, chain in pickers(new)
    ]
    return lines


def _commands(verb: str, elements: Iterable[Element]) -> list[str]:
    """One `add element` or `delete element` command for each set or map that is touched."""
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for element in elements:
        places[element.family, element.place].append(element.key if verb == "delete" else element.text)
    return [
        f"{verb} element {family} {TABLE} {place} {{ {', '.join(sorted(texts))} }}"
        for (family, place), texts in sorted(places.items())
    ]


def _of_family(addresses: Iterable[str], family: str) -> list[str]:
    return [address for address in addresses if family_of(address) == family]


# ---------------------------------------------------------------- apply, observe


def prepare(kernel: Kernel) -> None:
    """Set the sysctls that translation between pods needs; once for a node. Raises CommandError."""
    for key, value in settings_for(SYSCTLS, HAS_IPV6).items():
        kernel.sysctl(key, value)


def apply(kernel: Kernel, ruleset: str) -> None:
    """Load the text of `render` or `render_change`, in one transaction where it fits into one.

    Where something else stands under the table's name, the text of `render` replaces it; clients are
    forgotten then. Raises CommandError, and then that transaction changed nothing.
    """
    parts = transactions(ruleset)
    if not ruleset.startswith("table "):
        for part in parts:
            kernel.nft(part)
        return
    try:
        kernel.nft(parts[0])
    except CommandError:
        tables = re.findall(rf"^table \S+ {TABLE} ", ruleset, re.MULTILINE)
        kernel.nft("".join(f"{table}\ndelete {table}\n" for table in sorted(set(tables))) + parts[0])
    for part in parts[1:]:
        kernel.nft(part)


def observe(kernel: Kernel) -> str:
    """Read the tables that the kernel holds, as nft lists them; "" for a family that has none."""
    texts = []
    for family in FAMILIES:
        try:
            texts.append(kernel.run(["nft", "list", "table", family, TABLE]))
        except CommandError:
            continue
    return "".join(texts)


def intact(kernel: Kernel, families: Iterable[str]) -> bool:
    """Whether the table of each of these families (ip, ip6) is there and still has its rules."""
    try:
        return all(
            "@services" in kernel.run(["nft", "list", "chain", family, TABLE, "services"])
            for family in families
        )
    except CommandError:
        return False


def remove(kernel: Kernel) -> None:
    """Take both tables away, and with them the memory of clients. Raises CommandError."""
    for family in FAMILIES:
        kernel.nft(f"table {family} {TABLE}\ndelete table {family} {TABLE}\n")
