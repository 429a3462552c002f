"""Which endpoints of a service port may get a new connection on one node.

    slices --> all endpoints of the port --+--> policy Cluster: ready, and hinted for this node or zone
                                           |        none ready: those that end but still serve
                                           `--> policy Local:   ready on this node
                                                    none ready: those on this node that end but still serve

Hints narrow the choice only when every ready endpoint has them and one of them is for this node (or its
zone): half-written hints must not starve anybody.

Sources: KEP-1669 (terminating endpoints), KEP-2433 (hints), KEP-3015 (PreferSameZone, PreferSameNode);
kube-proxy, pkg/proxy/topology.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from agents.desired.objects import Obj
from netfns.service_types import Endpoint

ZONE_LABEL = "topology.kubernetes.io/zone"


@dataclass(frozen=True)
class Place:
    """Where one stands: the node's name, and its zone ("" when it has none)."""

    node: str
    zone: str = ""


@dataclass(frozen=True)
class Candidate:
    """An endpoint with what its slice says of it."""

    endpoint: Endpoint
    ready: bool
    ending: bool  # it serves, but will be gone
    for_nodes: frozenset[str]
    for_zones: frozenset[str]


def place(node: Obj | None, name: str) -> Place:
    """The place of a node; without its object, the name alone."""
    labels = ((node or {}).get("metadata") or {}).get("labels") or {}
    return Place(name, labels.get(ZONE_LABEL, ""))


def cluster_endpoints(found: Iterable[Candidate], here: Place) -> tuple[Endpoint, ...]:
    """Those that the policy Cluster chooses from, sorted and each once."""
    every = list(found)
    ready = [candidate for candidate in every if candidate.ready]
    near = _hinted(ready, here)
    return _sorted(near or ready or [candidate for candidate in every if candidate.ending])


def local_endpoints(found: Iterable[Candidate], here: Place) -> tuple[Endpoint, ...]:
    """Those that the policy Local chooses from, sorted and each once."""
    local = [candidate for candidate in found if candidate.endpoint.node == here.node]
    ready = [candidate for candidate in local if candidate.ready]
    return _sorted(ready or [candidate for candidate in local if candidate.ending])


def ending_endpoints(found: Iterable[Candidate]) -> tuple[Endpoint, ...]:
    """Those that still serve the connections that they have, though they end."""
    return _sorted(candidate for candidate in found if candidate.ending)


def local_ready(slices: Iterable[Obj], here: Place) -> int:
    """How many pods of a node are ready behind a Service: what its health-check node port tells."""
    families: dict[str, set[str]] = {}
    for endpoint_slice in slices:
        for endpoint in endpoint_slice.get("endpoints") or ():
            if endpoint.get("nodeName") == here.node and is_ready(endpoint):
                families.setdefault(endpoint_slice.get("addressType", ""), set()).update(
                    endpoint["addresses"][:1]
                )
    return max(map(len, families.values()), default=0)


def _hinted(ready: list[Candidate], here: Place) -> list[Candidate]:
    """The ready endpoints hinted for this node, or else for its zone; none when hints do not count."""
    ways: tuple[tuple[str, Callable[[Candidate], frozenset[str]]], ...] = (
        (here.node, lambda candidate: candidate.for_nodes),
        (here.zone, lambda candidate: candidate.for_zones),
    )
    for name, hints in ways:
        if all(map(hints, ready)) and (near := [found for found in ready if name in hints(found)]):
            return near
    return []


def _sorted(found: Iterable[Candidate]) -> tuple[Endpoint, ...]:
    return tuple(sorted({candidate.endpoint for candidate in found}))


def all_candidates(port: Obj, slices: Iterable[Obj]) -> list[Candidate]:
    """All endpoints of one service port, of every slice that has addresses."""
    return [
        candidate
        for endpoint_slice in slices
        for number in _port_numbers(port, endpoint_slice)
        for endpoint in endpoint_slice.get("endpoints") or ()
        for candidate in _candidate(endpoint, number)
    ]


def _candidate(endpoint: Obj, number: int) -> Iterator[Candidate]:
    """One endpoint at its first address: a slice's addresses are one pod's, and interchangeable."""
    conditions, hints = endpoint.get("conditions") or {}, endpoint.get("hints") or {}
    for address in (endpoint.get("addresses") or ())[:1]:
        yield Candidate(
            Endpoint(address, number, endpoint.get("nodeName") or ""),
            is_ready(endpoint),
            conditions.get("serving") is not False and conditions.get("terminating") is True,
            frozenset(hint["name"] for hint in hints.get("forNodes") or ()),
            frozenset(hint["name"] for hint in hints.get("forZones") or ()),
        )


def is_ready(endpoint: Obj) -> bool:
    """Whether an endpoint of a slice is ready; one that does not say is."""
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _port_numbers(port: Obj, endpoint_slice: Obj) -> list[int]:
    """The numbers that a service port has in a slice: named target ports differ by pod, and so by slice.

    A slice of names instead of addresses (addressType FQDN) has none, for there is no address to translate
    to.
    """
    if endpoint_slice.get("addressType") == "FQDN":
        return []
    wanted = (port.get("name", ""), port.get("protocol", "TCP"))
    return [
        row["port"]
        for row in endpoint_slice.get("ports") or ()
        if (row.get("name", ""), row.get("protocol", "TCP")) == wanted and row.get("port")
    ]
