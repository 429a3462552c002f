"""Services that ask for an address outside the cluster, as a balancer wants to know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from agents.desired.nodes import node_addresses
from agents.desired.objects import Obj, namespaced_name
from netfns.balancer import Frontend, Server

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


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


def ingress_address(service: Obj) -> str:
    """The address that the Service's status names, "" when it names none."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [{}]
    return str(ingress[0].get("ip", ""))


def assign(
    services: Iterable[Obj], pool: Sequence[str], before: Mapping[tuple[str, str], str] | None = None
) -> dict[tuple[str, str], str]:
    """An address of the pool for each Service: its own if its status has one (or `before`, what was given it
    and is not in its status yet), the one that it asks for by spec.loadBalancerIP, or the first that is free.

    A Service for which none is left is left out. New ones get theirs in order of their creation.
    """
    given: dict[tuple[str, str], str] = {}
    new: list[Obj] = []
    for obj in services:
        held = ingress_address(obj) or (before or {}).get(namespaced_name(obj), "")
        if held in pool and held not in given.values():
            given[namespaced_name(obj)] = held
        else:
            new.append(obj)
    new.sort(key=lambda obj: (obj["metadata"].get("creationTimestamp", ""), namespaced_name(obj)))
    for obj in (obj for obj in new if obj["spec"].get("loadBalancerIP")):
        if obj["spec"]["loadBalancerIP"] in set(pool) - set(given.values()):
            given[namespaced_name(obj)] = obj["spec"]["loadBalancerIP"]
    taken = set(given.values())
    free = (address for address in pool if address not in taken)
    anywhere = (obj for obj in new if not obj["spec"].get("loadBalancerIP"))
    return given | {namespaced_name(obj): address for obj, address in zip(anywhere, free, strict=False)}


def frontends(
    services: Iterable[Obj], given: Mapping[tuple[str, str], str], nodes: Iterable[Obj]
) -> list[Frontend]:
    """The balancer's frontends: each TCP port of each Service at its address, behind it the nodes' node
    ports.
    """
    targets = [
        (node["metadata"]["name"], node_addresses(node)[0])
        for node in nodes
        if node_addresses(node) and EXCLUDED not in (node["metadata"].get("labels") or {})
    ]
    found = []
    for obj in services:
        namespace, name = namespaced_name(obj)
        for port in obj["spec"].get("ports") or ():
            if (namespace, name) in given and port.get("protocol", "TCP") == "TCP" and port.get("nodePort"):
                servers = tuple(Server(node, address, port["nodePort"]) for node, address in targets)
                owner = f"{namespace}/{name}:{port.get('name') or port['port']}"
                found.append(Frontend(owner, given[namespace, name], port["port"], servers))
    return found
