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
with ten services as with ten thousand, and a change costs the elements that changed.

The source is masqueraded (the packet leaves with the node's own address) when the answer would otherwise
not come back through this node: the sender is no pod, the way in was a node port, or the endpoint is the
sender itself (hairpin).

Invariants: a connection keeps its endpoint; a service without endpoints refuses at once; every element's
comment names its owner (`default/web:http`); `render` of equal input is equal text; loading
`render_change(old, new)` over `render(old)` leaves the same elements as `render(new)`.

Sources: Kubernetes, "Virtual IPs and Service Proxies"; kube-proxy's nftables mode
(pkg/proxy/nftables/README); nft(8).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from netfns.kernel import CommandError, Kernel
from netfns.marks import MASQUERADE
from netfns.service_types import Frontend, Service, ServiceProxy, family_of, frontends
from netfns.transactions import transactions

TABLE = "service"
SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    # Two pods of one bridge: the answer must pass conntrack on its way, or it arrives from the wrong address.
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
}


@dataclass(frozen=True)
class Element:
    """One element of a set, or with a `value` of a map, in the table of `family` (ip or ip6)."""

    family: str
    place: str
    key: str
    owner: str
    value: str = ""

    def __str__(self) -> str:
        text = f'{self.key} comment "{self.owner}"'
        return f"{text} : {self.value}" if self.value else text


# ---------------------------------------------------------------- render


def render(desired: ServiceProxy) -> str:
    """Write the whole ruleset: one `nft -f` text that replaces the tables `ip service` and `ip6 service`.

    For each family of `pod_cidrs` there is one table. Its frontends are the services' cluster addresses
    with their port and the node's addresses with their node port, and each fills these sets and maps (`key
    : value`, with the frontend's owner, `default/web:http`, as the element's comment):

    - `services`: `address . protocol . port : number of endpoints`, for a frontend that has endpoints;
    - `endpoints`: `address . protocol . port . choice : endpoint . endpoint port`, choice counting from 0;
    - `no_endpoints`: `address . protocol . port`, for a frontend that has none: new connections are rejected;
    - `external`: `address . protocol . port` of node ports: all that enters there is masqueraded;
    - `hairpin`: `endpoint . address . protocol . port . choice` for endpoints on this node (or on no known
      node): masqueraded, for the endpoint would answer itself directly;
    - `cluster_ips`: every cluster address (comment `default/web`): what was not translated is rejected.

    Translation is done in the nat hooks prerouting (priority dstnat) and output (priority -100): look up
    the number of endpoints, choose one of them at random with equal chance, mark for masquerade (bit 16 of
    the packet's mark, through a mask), `dnat`. The hook postrouting masquerades what is marked and clears
    the bit. New connections that were not translated pass the filter hooks input, forward and output:
    rejected there as above (TCP with a reset, which a client notices at once in both families),
    and dropped when they go to a service range's address that no service has.
    Traffic for other addresses must not be touched.

    Equal input gives equal text; the order of `desired.services` is kept.
    """
    elements = list(_elements(desired, desired.services))
    return "".join(
        _table(family, desired, [e for e in elements if e.family == family]) for family in _families(desired)
    )


def render_change(old: ServiceProxy, new: ServiceProxy) -> str:
    """Write what turns the kernel from `old` into `new`: elements only; "" when nothing differs.

    Both may hold just the services that changed, so that the cost is that of the change. When something
    other than the services differs (the node's addresses, a range) there is no way but `render`, and its
    text is returned.
    """
    if replace(old, services=()) != replace(new, services=()):
        return render(new)
    old_services, new_services = set(old.services), set(new.services)
    before = set(_elements(old, [s for s in old.services if s not in new_services]))
    after = set(_elements(new, [s for s in new.services if s not in old_services]))
    lines = _pickers(after - before)
    lines += _commands("delete", before - after)
    lines += _commands("add", after - before)
    return "".join(f"{line}\n" for line in lines)


def _table(family: str, desired: ServiceProxy, elements: list[Element]) -> str:
    """The table of one family: declared and deleted first, so that loading it replaces what was there."""
    address, ip = ("ipv4_addr", "ip") if family == "ip" else ("ipv6_addr", "ip6")
    port = f"{address} . inet_proto . inet_service"
    places = {
        "map endpoints": f"{port} . mark : {address} . inet_service",
        "set hairpin": f"{address} . {port} . mark",
        "set external": port,
        "map services": f"{port} : mark",
        "set no_endpoints": port,
        "set cluster_ips": address,
    }  # what is looked up first comes last: see transactions.py
    held: dict[str, list[str]] = defaultdict(list)
    for element in elements:
        held[element.place].append(str(element))
    sets = "".join(_set(head, kind, held[head.split()[1]]) for head, kind in places.items())
    counts = sorted({int(e.value) for e in elements if e.place == "services"})
    pickers = _set("map pickers", "mark : verdict", [f"{count} : goto pick-{count}" for count in counts])
    chains = CHAINS.format(
        ip=ip,
        key=f"{ip} daddr . meta l4proto . th dport",
        masquerade=f"0x{MASQUERADE:08x}",
        others=f"0x{MASQUERADE ^ 0xFFFFFFFF:08x}",
        pods=_of_family(desired.pod_cidrs, family)[0],
        services=_of_family(desired.service_cidrs, family)[0],
    )
    picks = "".join(f"\tchain pick-{count} {{\n{_pick(count)}\t}}\n\n" for count in counts)
    head = f"table {family} {TABLE}\ndelete table {family} {TABLE}\n"
    return f"{head}table {family} {TABLE} {{\n{pickers}{sets}{picks}{chains}}}\n"


CHAINS = """\
	chain prerouting {{
		type nat hook prerouting priority dstnat; policy accept;
		jump services
	}}

	chain output {{
		type nat hook output priority -100; policy accept;
		jump services
	}}

	chain services {{
		ct mark set {key} map @services
		ct mark vmap @pickers
	}}

	chain translate {{
		{ip} saddr != {pods} meta mark set meta mark | {masquerade} comment "sender is no pod"
		{key} @external meta mark set meta mark | {masquerade} comment "node port"
		{ip} saddr . {key} . ct mark @hairpin meta mark set meta mark | {masquerade} comment "hairpin"
		meta l4proto {{ tcp, udp, sctp }} dnat {ip} to {key} . ct mark map @endpoints
	}}

	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
		meta mark & {masquerade} == 0 return
		meta mark set meta mark & {others}
		masquerade
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

	chain refuse {{
		{key} @no_endpoints goto reject-now
		{ip} daddr @cluster_ips goto reject-now comment "no such port"
		{ip} daddr {services} drop comment "no such service"
	}}

	chain reject-now {{
		meta l4proto tcp reject with tcp reset
		reject
	}}
"""


def _set(head: str, kind: str, elements: list[str]) -> str:
    """A set's or map's declaration with its elements, one a line."""
    body = ",\n".join(f"\t\t\t{element}" for element in elements)
    filled = f"\t\telements = {{\n{body}\n\t\t}}\n" if elements else ""
    return f"\t{head} {{\n\t\ttype {kind}\n{filled}\t}}\n\n"


def _pick(count: int) -> str:
    """The rules of the chain `pick-<count>`."""
    return f"\t\tct mark set numgen random mod {count}\n\t\tgoto translate\n"


def _pickers(added: Iterable[Element]) -> list[str]:
    """Commands that make sure of the chain for each number of endpoints; one that is no longer used stays
    until a rebuild.
    """
    lines = []
    for family, count in sorted({(e.family, int(e.value)) for e in added if e.place == "services"}):
        chain = f"{family} {TABLE} pick-{count}"
        lines += [f"add chain {chain}", f"flush chain {chain}"]
        lines += [f"add rule {chain} {rule.strip()}" for rule in _pick(count).splitlines()]
        lines.append(f"add element {family} {TABLE} pickers {{ {count} : goto pick-{count} }}")
    return lines


def _commands(verb: str, elements: Iterable[Element]) -> list[str]:
    """One `add element` or `delete element` command for each set or map that is touched."""
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for element in elements:
        places[element.family, element.place].append(element.key if verb == "delete" else str(element))
    return [
        f"{verb} element {family} {TABLE} {place} {{ {', '.join(sorted(texts))} }}"
        for (family, place), texts in sorted(places.items())
    ]


def _elements(desired: ServiceProxy, services: Iterable[Service]) -> Iterator[Element]:
    """The elements that `services` bring to the sets and maps of this node, each owned by one of them
    alone.
    """
    for service in services:
        for address in service.cluster_ips:
            yield Element(family_of(address), "cluster_ips", address, f"{service.namespace}/{service.name}")
        for frontend in frontends(desired, service):
            yield from _frontend_elements(desired.node, frontend)


def _frontend_elements(node: str, frontend: Frontend) -> Iterator[Element]:
    family, owner = family_of(frontend.address), frontend.owner
    key = f"{frontend.address} . {frontend.protocol.lower()} . {frontend.port}"
    if not frontend.endpoints:
        yield Element(family, "no_endpoints", key, owner)
        return
    yield Element(family, "services", key, owner, str(len(frontend.endpoints)))
    if frontend.external:
        yield Element(family, "external", key, owner)
    for choice, endpoint in enumerate(frontend.endpoints):
        yield Element(
            family, "endpoints", f"{key} . {choice}", owner, f"{endpoint.address} . {endpoint.port}"
        )
        if endpoint.node in ("", node):
            yield Element(family, "hairpin", f"{endpoint.address} . {key} . {choice}", owner)


def _of_family(addresses: Iterable[str], family: str) -> list[str]:
    return [address for address in addresses if family_of(address) == family]


def _families(desired: ServiceProxy) -> list[str]:
    return [family for family in ("ip", "ip6") if _of_family(desired.pod_cidrs, family)]


# ---------------------------------------------------------------- apply, observe


def prepare(kernel: Kernel) -> None:
    """Set the sysctls that translation between pods needs; once for a node. Raises CommandError."""
    for key, value in SYSCTLS.items():
        kernel.sysctl(key, value)


def apply(kernel: Kernel, ruleset: str) -> None:
    """Load the text of `render` or `render_change`, in one transaction where it fits into one.

    Raises CommandError, and then that transaction changed nothing.
    """
    for transaction in transactions(ruleset):
        kernel.nft(transaction)


def observe(kernel: Kernel) -> str:
    """Read the tables that the kernel holds, as nft lists them; "" for a family that has none."""
    texts = []
    for family in ("ip", "ip6"):
        try:
            texts.append(kernel.run(["nft", "list", "table", family, TABLE]))
        except CommandError:
            continue
    return "".join(texts)


def intact(kernel: Kernel) -> bool:
    """Whether the table is there and still has its rules."""
    try:
        return "@services" in kernel.run(["nft", "list", "chain", "ip", TABLE, "services"])
    except CommandError:
        return False


def remove(kernel: Kernel) -> None:
    """Take both tables away."""
    for family in ("ip", "ip6"):
        kernel.nft(f"table {family} {TABLE}\ndelete table {family} {TABLE}\n")
