"""A Service's addresses by a program: kube-proxy's first mode, `--proxy-mode userspace`.

    pod 10.244.1.2                       node                                            pod 10.244.2.3
      | to 10.96.0.20:80                                                                    ^ from 10.244.1.0
      v                                                                                     |
    cni0 -> prerouting: redirects ---> the node's own port 17321 -> accept, choose, connect -'
            (a process of the node       service_userspace_proxy.py copies
             enters by `output`)         both ways, and takes turns

No packet of the client reaches the pod: there are two connections, and a process between them. So this mode
explains itself (the choice of an endpoint is a line of Python), and shows why nobody uses it any more: the pod
sees the node's address instead of the client's, every byte is copied twice, and where the process is
slow or gone, so is every Service. A NetworkPolicy, too, sees only the node.

What is rendered is one text: the rules as `nft -f` takes them, and, in its comments, a line for each port that
the proxy is to serve:

    # proxy 17321 TCP default/web:http -> 10.244.1.2:8080 10.244.2.3:8080

Invariants: a frontend keeps its port as long as it is there, whatever comes and goes beside it (but for two whose
numbers meet); from outside, the proxy's ports answer only what was redirected; where nobody can be chosen the kernel
refuses, and nothing is redirected; every line and element names its owner.

Sources: Kubernetes 1.0 to 1.25, "Virtual IPs and Service Proxies": user space proxy mode; nft(8), redirect.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from netfns.kernel import CommandError, Kernel
from netfns.service_types import FAMILIES, Endpoint, Frontend, ServiceProxy, family_of, frontends
from netfns.service_verdict import allowed_sources

TABLE, MARK = "service-userspace", "# proxy "
PORTS = range(10000, 30000)  # below node ports and those that the kernel gives to clients
ASK = [sys.executable, "-I", "-S", str(Path(__file__).with_name("service_userspace_ask.py"))]
render_change = None  # every change is told as a whole


@dataclass(frozen=True)
class Line:
    """One port of the proxy: what it is for, and whom it chooses from, in turn."""

    port: int
    frontend: Frontend
    endpoints: tuple[Endpoint, ...]
    inner: bool  # for pods and the node itself only
    sources: tuple[str, ...]  # ranges; none: everybody may come

    def __str__(self) -> str:
        frontend = self.frontend
        ends = " ".join(_written(e) for e in self.endpoints)
        options = f" affinity {frontend.affinity_timeout}" if frontend.affinity_timeout else ""
        options += f" from {','.join(self.sources)}" if self.sources else ""
        return f"{MARK}{self.port} {frontend.protocol} {frontend.owner} -> {ends}{options}"


def _written(endpoint: Endpoint) -> str:
    return (
        f"[{endpoint.address}]:{endpoint.port}"
        if ":" in endpoint.address
        else f"{endpoint.address}:{endpoint.port}"
    )


# ---------------------------------------------------------------- render


def render(desired: ServiceProxy) -> str:
    """Write the proxy's lines and the two tables, `ip` and `ip6`, that lead to it.

    `redirects` and `inner_redirects` (of pods and the node itself, where they choose from others) map `address .
    protocol . port` to the proxy's port; `refused` and `dropped` hold frontends without endpoints, `cluster_ips`
    every cluster address: what is not redirected is refused there.
    """
    every = [f for service in desired.services for f in frontends(desired, service)]
    lines = list(_lines(desired, every))
    addresses = {a: f"{s.namespace}/{s.name}" for s in desired.services for a in s.cluster_ips}
    tables = (_table(family, desired, every, lines, addresses) for family in desired.families)
    return "".join([*(f"{line}\n" for line in lines), *tables])


def _lines(desired: ServiceProxy, every: Iterable[Frontend]) -> Iterator[Line]:
    """A port for each way of choosing; the number comes from the frontend's name, or is the next that is free."""
    taken = set[int]()
    for frontend in every:
        sources = allowed_sources(desired, frontend) if frontend.source_ranges else ()
        ways = [(False, frontend.endpoints), (True, frontend.short_cut)]
        for inner, endpoints in ways:
            if not endpoints or frontend.protocol == "SCTP":  # no sockets of that kind are served
                continue
            offset = crc32(f"{frontend.address} {frontend.protocol} {frontend.port} {inner}".encode())
            port = next(p for n in range(len(PORTS)) if (p := PORTS[(offset + n) % len(PORTS)]) not in taken)
            taken.add(port)
            yield Line(port, frontend, endpoints, inner, sources)


def _table(
    family: str, desired: ServiceProxy, every: list[Frontend], lines: list[Line], cluster_ips: dict[str, str]
) -> str:
    address, ip = ("ipv4_addr", "ip") if family == "ip" else ("ipv6_addr", "ip6")
    held: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        place = "inner_redirects" if line.inner else "redirects"
        held[place] += _of(family, line.frontend, f" : {line.port}")
    for frontend in every:
        if not frontend.endpoints or frontend.protocol == "SCTP":
            held["dropped" if frontend.refusal == "drop" else "refused"] += _of(family, frontend)
    held["cluster_ips"] = [f'{a} comment "{o}"' for a, o in cluster_ips.items() if family_of(a) == family]
    held["ports"] = [str(line.port) for line in lines if family_of(line.frontend.address) == family]
    key = f"{address} . inet_proto . inet_service"
    places = {
        "map redirects": f"{key} : inet_service",
        "map inner_redirects": f"{key} : inet_service",
        "set refused": key,
        "set dropped": key,
        "set cluster_ips": address,
        "set ports": "inet_service",
    }
    sets = "".join(_set(head, kind, held[head.split()[1]]) for head, kind in places.items())
    mine = next(cidr for cidr in desired.pod_cidrs if family_of(cidr) == family)
    services = next(cidr for cidr in desired.service_cidrs if family_of(cidr) == family)
    chains = CHAINS.format(ip=ip, key=f"{ip} daddr . meta l4proto . th dport", pods=mine, services=services)
    return f"table {family} {TABLE}\ndelete table {family} {TABLE}\ntable {family} {TABLE} {{\n{sets}{chains}}}\n"


def _of(family: str, frontend: Frontend, value: str = "") -> list[str]:
    if family_of(frontend.address) != family:
        return []
    key = f"{frontend.address} . {frontend.protocol.lower()} . {frontend.port}"
    return [f'{key} comment "{frontend.owner}"{value}']


def _set(head: str, kind: str, elements: list[str]) -> str:
    body = ",\n".join(f"\t\t\t{element}" for element in elements)
    filled = f"\t\telements = {{\n{body}\n\t\t}}\n" if elements else ""
    return f"\t{head} {{\n\t\ttype {kind}\n{filled}\t}}\n\n"


CHAINS = """\
	chain prerouting {{
		type nat hook prerouting priority dstnat; policy accept;
		{ip} saddr {pods} jump inside
		jump outside
	}}

	chain output {{
		type nat hook output priority -100; policy accept;
		jump inside
		jump outside
	}}

	chain inside {{
		meta l4proto {{ tcp, udp }} redirect to :{key} map @inner_redirects
	}}

	chain outside {{
		meta l4proto {{ tcp, udp }} redirect to :{key} map @redirects
	}}

	chain filter-input {{
		type filter hook input priority filter; policy accept;
		ct state new meta l4proto {{ tcp, udp }} th dport @ports ct status ! dnat drop comment "not redirected"
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
		{key} @dropped drop
		{key} @refused goto reject-now
		{ip} daddr @cluster_ips goto reject-now comment "no such port"
		{ip} daddr {services} drop comment "no such service"
	}}

	chain reject-now {{
		meta l4proto tcp reject with tcp reset
		reject
	}}
"""


# ---------------------------------------------------------------- apply, observe


def prepare(kernel: Kernel) -> None:
    """Set what forwarding needs. Raises CommandError."""
    kernel.sysctl("net.ipv4.ip_forward", "1")


def apply(kernel: Kernel, text: str) -> None:
    """Tell the proxy its ports, starting it where it does not run, then load the rules that lead to them. A port that
    is no longer told of is closed a moment later, when no rule leads to it any more. Raises CommandError.
    """
    lines = [line for line in text.splitlines() if line.startswith(MARK)]
    kernel.run([*ASK, "serve"], "".join(f"{line}\n" for line in lines))
    kernel.nft("".join(f"{line}\n" for line in text.splitlines() if not line.startswith(MARK)))


def observe(kernel: Kernel) -> str:
    """Read the lines that the proxy serves, and the tables as nft lists them."""
    texts = [_if_there(kernel, [*ASK, "show"])]
    texts += [_if_there(kernel, ["nft", "list", "table", family, TABLE]) for family in FAMILIES]
    return "".join(texts)


def intact(kernel: Kernel, families: Iterable[str]) -> bool:
    """Whether the rules of each of these families (ip, ip6) are there, and the proxy."""
    chains = (_if_there(kernel, ["nft", "list", "chain", family, TABLE, "outside"]) for family in families)
    return all("@redirects" in chain for chain in chains) and bool(_if_there(kernel, [*ASK, "ping"]))


def remove(kernel: Kernel) -> None:
    """Take the rules away, and end the proxy. Raises CommandError."""
    kernel.nft("".join(f"table {family} {TABLE}\ndelete table {family} {TABLE}\n" for family in FAMILIES))
    kernel.run([*ASK, "stop"])


def _if_there(kernel: Kernel, argv: list[str]) -> str:
    try:
        return kernel.run(argv)
    except CommandError:
        return ""
