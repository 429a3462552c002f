"""Services that ask for an address outside the cluster, as a balancer wants to know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from agents.desired.nodes import node_addresses
from agents.desired.objects import Obj, namespaced_name
from netfns.balancer_types import Frontend, Server

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
Given = Mapping[tuple[str, str], tuple[str, ...]]  # (namespace, name) of a Service -> its addresses
FAMILIES = ("IPv4", "IPv6")
PYTHON_CLASS = "minipod.dev/python"
CLASSES = ("", PYTHON_CLASS)


def balancer_class(service: Obj) -> str | None:
    """The loadBalancerClass of a Service that asks for an address outside the cluster, "" when it names none;
    None for other Services.
    """
    spec = service["spec"]
    return (spec.get("loadBalancerClass") or "") if spec.get("type") == "LoadBalancer" else None


def is_balanced(service: Obj) -> bool:
    """Whether a Service asks for an address outside the cluster, and of us (not of a class that is not ours)."""
    return balancer_class(service) in CLASSES


def ingress_addresses(service: Obj) -> tuple[str, ...]:
    """The addresses that the Service's status names."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return tuple(entry["ip"] for entry in ingress if entry.get("ip"))


def assign(
    services: Iterable[Obj],
    pool: Sequence[str],
    before: Given | None = None,
    held: Mapping[str, str] | None = None,
) -> Given:
    """Addresses of the pool for each Service, one of each of its families in its order.

    Its own if its status has one (or `before`, what was given it and is not in its status yet), the one that it
    asks for by spec.loadBalancerIP, or the first that is free. A Service for which one is missing is left out. New
    ones get theirs in order of their creation. `held` tells the class whose engine has an address on its machine:
    it is free for Services of this class only.
    """
    every = list(services)
    by_family = {
        family: _assign([obj for obj in every if family in _families(obj)], own, before or {}, held or {})
        for family in FAMILIES
        if (own := [address for address in pool if _family(address) == family])
    }
    given: dict[tuple[str, str], tuple[str, ...]] = {}
    for obj in every:
        key, families = namespaced_name(obj), _families(obj)
        found = [by_family[family][key] for family in families if key in by_family.get(family, {})]
        asked = obj["spec"].get("loadBalancerIP")
        if len(found) == len(families) and (not asked or _family(asked) in families):
            given[key] = tuple(found)
    return given


def _assign(
    services: Iterable[Obj], pool: Sequence[str], before: Given, held: Mapping[str, str]
) -> dict[tuple[str, str], str]:
    """One address of one family's pool for each Service, as far as there are any."""

    def free(obj: Obj, address: str) -> bool:
        own = balancer_class(obj)
        return address in pool and address not in given.values() and held.get(address, own) == own

    given: dict[tuple[str, str], str] = {}
    new: list[Obj] = []
    for obj in services:
        known = (*ingress_addresses(obj), *before.get(namespaced_name(obj), ()))
        kept = next((address for address in known if free(obj, address)), "")
        if kept:
            given[namespaced_name(obj)] = kept
        else:
            new.append(obj)
    family = _family(pool[0])

    def turn(obj: Obj) -> tuple[bool, str, tuple[str, str]]:
        return not _asks(obj, family), obj["metadata"].get("creationTimestamp", ""), namespaced_name(obj)

    for obj in sorted(new, key=turn):
        asked = _asks(obj, family)
        found = next((address for address in ([asked] if asked else pool) if free(obj, address)), "")
        if found:
            given[namespaced_name(obj)] = found
    return given


def _asks(service: Obj, family: str) -> str:
    """The address of this family that a Service asks for; "" for any."""
    asked = str(service["spec"].get("loadBalancerIP") or "")
    return asked if _family(asked) == family else ""


def _source_ranges(service: Obj) -> list[str]:
    return [text.strip() for text in service["spec"].get("loadBalancerSourceRanges") or ()]


def _families(service: Obj) -> list[str]:
    return service["spec"].get("ipFamilies") or ["IPv4"]


def _family(address: str) -> str:
    """The family of an address, "" for none."""
    return "" if not address else "IPv6" if ":" in address else "IPv4"


def frontends(services: Iterable[Obj], given: Given, nodes: Iterable[Obj]) -> list[Frontend]:
    """The balancer's frontends: each TCP port of each Service at each of its addresses, behind it the node ports
    at the nodes' addresses of the same family.
    """
    targets = [
        (node["metadata"]["name"], address)
        for node in nodes
        if EXCLUDED not in (node["metadata"].get("labels") or {})
        for address in node_addresses(node)
    ]
    found = []
    for obj in services:
        namespace, name = namespaced_name(obj)
        for port in obj["spec"].get("ports") or ():
            if port.get("protocol", "TCP") != "TCP" or not port.get("nodePort"):
                continue
            owner = f"{namespace}/{name}:{port.get('name') or port['port']}"
            for front in given.get((namespace, name), ()):
                servers = tuple(
                    Server(node, address, port["nodePort"])
                    for node, address in targets
                    if _family(address) == _family(front)
                )
                ranges = tuple(text for text in _source_ranges(obj) if _family(text) == _family(front))
                health = obj["spec"].get("healthCheckNodePort") or 0
                found.append(Frontend(owner, front, port["port"], servers, ranges, health))
    return found
