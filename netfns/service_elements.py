"""What a service brings to the maps of service.py: the elements that are all there is of it in the kernel.

    Service default/web --frontends--> 10.96.0.20 80/TCP
        |--> services   10.96.0.20 . tcp . 80     : 2
        |--> endpoints  10.96.0.20 . tcp . 80 . 0 : 10.244.1.2 . 8080
        |               10.96.0.20 . tcp . 80 . 1 : 10.244.2.3 . 8080
        `--> hairpin    10.244.1.2 . 10.96.0.20 . tcp . 80 . 0           on worker1 alone

Nearly all of it is the same on every node. A node has more only for its own endpoints (hairpin) and its own
addresses (node ports), so what a service brings is made once and kept for the next node.

Invariant: each element belongs to one service, so a change follows from the changed services alone.

Source: nft(8), "SETS" and "MAPS".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from netfns import service_affinity as affinity
from netfns.service_picks import MOST, SHORT_CUT, Pick, choices, pick_of
from netfns.service_types import CLUSTER, Endpoint, Frontend, Service, ServiceProxy, family_of, frontends
from netfns.service_verdict import allowed_sources


class Element(NamedTuple):
    """One element of a set, or with a `value` of a map, in the table of `family` (ip or ip6).

    `place` is the set's or map's name (service.PLACES), `key` and `value` are as nft writes them, and `owner` is the
    service port, `default/web:http`; of an element of `cluster_ips` the service, `default/web`.
    """

    family: str
    place: str
    key: str
    owner: str
    value: str = ""

    @property
    def text(self) -> str:
        """As nft has it between the braces."""
        text = f'{self.key} comment "{self.owner}"'
        return f"{text} : {self.value}" if self.value else text


@dataclass(frozen=True)
class Rules:
    """What services bring to a node: elements, those of this node's own frontends last; the picks that they
    name, as (family, pick); and the service ports whose clients keep their endpoint, as (family, owner, seconds).
    """

    elements: tuple[Element, ...]
    picks: frozenset[tuple[str, Pick]]
    sticky: frozenset[tuple[str, str, int]]


def rules_of(desired: ServiceProxy, services: Iterable[Service]) -> Rules:
    """What `services` bring to this node; each element is owned by one of them alone."""
    everywhere, here = list[Element](), list[Element]()
    picks, sticky = set[tuple[str, Pick]](), set[tuple[str, str, int]]()
    for service in services:
        portion = _portion(service, desired.node_addresses if _asks_for_addresses(service) else ())
        everywhere += portion.everywhere
        here += portion.here
        here += portion.hairpins.get("", ())
        here += portion.hairpins.get(desired.node, ())
        picks |= portion.picks
        sticky |= portion.sticky
    return Rules((*everywhere, *here), frozenset(picks), frozenset(sticky))


@dataclass
class Portion:
    """What one service brings: to every node, to the one with these addresses, and, by the node's name ("":
    unknown, so to all), because of a node's own endpoints.
    """

    everywhere: list[Element] = field(default_factory=list)
    here: list[Element] = field(default_factory=list)
    hairpins: dict[str, list[Element]] = field(default_factory=dict)
    picks: set[tuple[str, Pick]] = field(default_factory=set)
    sticky: set[tuple[str, str, int]] = field(default_factory=set)


def _asks_for_addresses(service: Service) -> bool:
    return bool(service.load_balancer_source_ranges) or any(port.node_port for port in service.ports)


@lru_cache(maxsize=4096)  # the nodes of a lab have most of their services in common
def _portion(service: Service, node_addresses: tuple[str, ...]) -> Portion:
    portion, node = Portion(), ServiceProxy("", node_addresses, (), ())
    for address in service.cluster_ips:
        owner = f"{service.namespace}/{service.name}"
        portion.everywhere.append(Element(family_of(address), "cluster_ips", address, owner))
    for frontend in frontends(node, service):
        family = family_of(frontend.address)
        own = portion.here if frontend.address in node_addresses else portion.everywhere
        own += _frontend_elements(frontend)
        key = _key(frontend)
        for _, number, endpoint in _numbered(frontend):
            itself = Element(family, "hairpin", f"{endpoint.address} . {key} . {number}", frontend.owner)
            portion.hairpins.setdefault(endpoint.node, []).append(itself)
        for source in allowed_sources(node, frontend):
            portion.here.append(Element(family, "allowed", f"{source} . {key}", frontend.owner))
        if frontend.endpoints or frontend.short_cut:
            portion.picks.add((family, pick_of(frontend)))
        if frontend.affinity_timeout:
            portion.sticky.add((family, frontend.owner, frontend.affinity_timeout))
    return portion


def _frontend_elements(frontend: Frontend) -> Iterator[Element]:
    """What a frontend brings, but for what depends on the node."""
    family, owner, key = family_of(frontend.address), frontend.owner, _key(frontend)
    if frontend.refusal:
        place = "no_endpoints" if frontend.refusal == "reject" else "no_local_endpoints"
        yield Element(family, place, key, owner)
    if frontend.external and frontend.policy == CLUSTER and frontend.endpoints:
        yield Element(family, "external", key, owner)
    if frontend.source_ranges:
        yield Element(family, "firewalled", key, owner)
    if frontend.endpoints or frontend.short_cut:
        yield Element(family, "services", key, owner, pick_of(frontend).number)
    for choice, number, endpoint in _numbered(frontend):
        target = f"{endpoint.address} . {endpoint.port}"
        yield Element(family, "endpoints", f"{key} . {number}", owner, target)
        if frontend.affinity_timeout:
            its_number = str(number & ~SHORT_CUT)
            yield Element(family, "affinity_ids", f"{key} . {choice}", owner, its_number)
    if frontend.affinity_timeout:
        yield Element(family, "affinity", key, owner, f"jump {affinity.name_of(owner)}")


def _key(frontend: Frontend) -> str:
    return f"{frontend.address} . {frontend.protocol.lower()} . {frontend.port}"


def _numbered(frontend: Frontend) -> Iterator[tuple[int, int, Endpoint]]:
    """Each choice, what the connection's mark holds once it is made, and the endpoint. They are the same,
    but where clients are remembered by the endpoint's own number.
    """
    if not frontend.affinity_timeout:
        yield from ((choice, choice, endpoint) for choice, endpoint in choices(frontend))
        return
    numbers = affinity.numbers((*frontend.endpoints[:MOST], *frontend.cluster_endpoints[:MOST]))
    for choice, endpoint in choices(frontend):
        yield choice, numbers[endpoint] | choice & SHORT_CUT, endpoint
