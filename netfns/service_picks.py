"""How one of a frontend's endpoints is chosen: what the map `services` says, and the chain that does it.

    services: frontend -> pick          pickers: pick -> chain           ct mark: the choice
                          3                      pick-3                  0..2, each with equal chance
                          sticky, 3              sticky-3                what the client had, or as pick-3
                          local, 1 and 3         local-1-3               senders of the cluster: short-cut-3
                                                                         all others: pick-1

A chain for each number, because nftables wants to know at load time how many there are to draw from. The
first few numbers are always there; a number that nobody had so far brings its chain along.

*Local* is an external frontend with policy Local. Whoever comes from outside gets an endpoint of this node
and keeps its address. Pods and the node itself never left the cluster: they get any endpoint, as if the
policy were Cluster. Those endpoints have choices of their own, from SHORT_CUT on.

Invariant: what is in the connection's mark when an endpoint is looked up fits into bits 0-15 (marks.py).

Sources: nft(8), "NUMGEN EXPRESSION", "VERDICT MAPS"; KEP-2086; kube-proxy, pkg/proxy/nftables (external chain).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from netfns.service_types import LOCAL, Endpoint, Frontend

SHORT_CUT = 0x8000  # the first choice of those that only pods and the node itself have
MOST = 0x3FFF  # endpoints of one frontend, as many as the number below has room for
ALWAYS = range(1, 17)  # pick-1 to pick-16 are there before anybody needs them
_STICKY, _LOCAL = 1 << 29, 1 << 28


@dataclass(frozen=True, order=True)
class Pick:
    """One way to choose. `count` endpoints for everybody; with `local`, `short_cut` ones for senders of the
    cluster; `sticky`: a client keeps the one that it had. Both counts are 0 to MOST, and not both 0.
    """

    count: int
    local: bool = False
    short_cut: int = 0
    sticky: bool = False

    @property
    def number(self) -> str:
        """How the map `services` writes it: `count` in bits 0-13, `short_cut` in bits 14-27, bit 28 for `local`, bit
        29 for `sticky`. Where nothing is special that is the count alone, in decimal: `3`.
        """
        special = _STICKY * self.sticky | _LOCAL * self.local | self.short_cut << 14
        return f"0x{special | self.count:08x}" if special else str(self.count)

    @property
    def chain(self) -> str:
        """The chain that does it."""
        if self.local:
            return f"local-{self.count}-{self.short_cut}" + ("-sticky" if self.sticky else "")
        return f"{'sticky' if self.sticky else 'pick'}-{self.count}"


def pick_of(frontend: Frontend) -> Pick:
    """How one of a frontend's endpoints is chosen; there must be one for somebody."""
    return Pick(
        len(frontend.endpoints[:MOST]),
        local=frontend.external and frontend.policy == LOCAL,
        short_cut=len(frontend.short_cut[:MOST]),
        sticky=frontend.affinity_timeout > 0,
    )


def choices(frontend: Frontend) -> Iterator[tuple[int, Endpoint]]:
    """Every choice of a frontend, with its endpoint: from 0 on those of everybody, from SHORT_CUT on those of the
    cluster's senders.
    """
    yield from enumerate(frontend.endpoints[:MOST])
    yield from enumerate(frontend.short_cut[:MOST], SHORT_CUT)


def pickers(picks: Iterable[Pick]) -> list[tuple[Pick, str]]:
    """The picks with their chains' names, each once, as the map `pickers` holds them."""
    return [(pick, pick.chain) for pick in sorted(set(picks))]


def chains(picks: Iterable[Pick], words: dict[str, str]) -> dict[str, list[str]]:
    """The rules of every chain that the picks need, name -> rules. A chain comes after those that it names.

    `words` are the family's: `ip` (ip or ip6), `key` (the expression `address . protocol . port` of a packet), `pods`
    (the pod range, a CIDR), `masquerade` (the mark's bit, as 0x00010000).
    """
    found: dict[str, list[str]] = {}
    for pick in sorted(set(picks)):
        if pick.count:
            plain = Pick(pick.count, sticky=pick.sticky)
            found[plain.chain] = _draw(pick.count, 0, words, sticky=pick.sticky)
        if pick.local:
            short_cut = f"short-cut-{pick.short_cut}" + ("-sticky" if pick.sticky else "")
            found[short_cut] = _draw(pick.short_cut, SHORT_CUT, words, sticky=pick.sticky)
            found[pick.chain] = _by_sender(pick, short_cut, words)
    return found


def _draw(count: int, first: int, words: dict[str, str], *, sticky: bool) -> list[str]:
    """Draw one of `count` choices that begin with `first`."""
    offset = f" offset {first}" if first else ""
    draw = f"ct mark set numgen random mod {count}{offset}"
    if not sticky:
        return [draw, "goto translate"]
    key = words["key"]
    own = [f"ct mark set ct mark | 0x{first:08x}"] if first else []
    recall = [f"ct mark != 0 {' '.join([*own, 'jump translate'])}"]
    return [
        "ct mark set 0",
        f'{key} vmap @affinity comment "into the mark: the endpoint that the client had"',
        *recall,
        draw,
        f"ct mark set {key} . ct mark map @affinity_ids",
        f'{key} vmap @affinity comment "the client is to have this one again"',
        *own,
        "goto translate",
    ]


def _by_sender(pick: Pick, short_cut: str, words: dict[str, str]) -> list[str]:
    """Senders of the cluster take the short cut, all others the endpoints of this node, if it has any."""
    ip, masquerade = words["ip"], words["masquerade"]
    mark = f"meta mark set meta mark | {masquerade}"
    rules = [
        f'{ip} saddr {words["pods"]} goto {short_cut} comment "a pod"',
        f'fib saddr type local {mark} goto {short_cut} comment "the node itself"',
    ]
    if pick.count:
        rules.append(f"goto {Pick(pick.count, sticky=pick.sticky).chain}")
    return rules
