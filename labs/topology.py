"""What a lab is made of right now, as values: machines, their networks, the pods on each node.

    topo.plan (names, places) ──┐
    Node, Pod, Service objects ─┴──> Topology ──> labs.pictures: text, SVG        `minipod map -o json`: as it is

Source: DESIGN's address plan in topo/plan.py; everything else is read from the API.
"""

from dataclasses import dataclass
from typing import Any

from labs.lab import Lab
from topo import plan

Obj = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """One pod on a node; `address` is "" until it has one, `host_network` one that has its node's."""

    name: str
    namespace: str
    address: str
    ready: bool
    host_network: bool = False


@dataclass(frozen=True)
class Machine:
    """One machine: its kind (node, lb, vm, outside), the addresses of its eth0, and what is on it.

    `pod_cidr` is "" for all but nodes; `serves` are the Services that a load balancer holds an address for, as
    `default/web 192.168.50.200`.
    """

    name: str
    kind: str
    addresses: tuple[str, ...]
    pod_cidr: str = ""
    pods: tuple[Pod, ...] = ()
    serves: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """One underlay network: its range, the router's address in it, and the machines in it."""

    name: str
    cidr: str
    router: str
    machines: tuple[Machine, ...]


@dataclass(frozen=True)
class Topology:
    """A lab: its name and its networks, which one router joins. The nodes' network comes first."""

    name: str
    networks: tuple[Network, ...]


NAMES = {plan.NODES: "nodes", plan.SECOND: "second network", plan.OUTSIDE: "outside world"}
LOAD_BALANCERS = {"": "lb1", "minipod.dev/python": "lb2"}  # by loadBalancerClass


def read(lab: Lab) -> Topology:
    """What a running lab is made of. Raises LabError."""
    workers = lab.info["config"]["workers"]
    with lab.api() as api:
        nodes, pods, services = (
            list(api.request("GET", f"/api/v1/{kind}")["items"]) for kind in ("nodes", "pods", "services")
        )
    return assemble(lab.name, workers, nodes, pods, services)


def assemble(name: str, workers: int, nodes: list[Obj], pods: list[Obj], services: list[Obj]) -> Topology:
    """Put plan and objects together."""
    cidrs = {node["metadata"]["name"]: node["spec"].get("podCIDR", "") for node in nodes}
    networks = []
    for network in plan.NETWORKS:
        machines = [
            Machine(
                spot.name,
                spot.kind,
                tuple(str(interface.ip) for interface in spot.interfaces),
                cidrs.get(spot.name, ""),
                tuple(_pod(pod) for pod in pods if pod["spec"].get("nodeName") == spot.name),
                _served(spot.name, services),
            )
            for spot in plan.spots(workers)
            if spot.network == network
        ]
        networks.append(Network(NAMES[network], str(network.ipv4), str(network.gateway[0]), tuple(machines)))
    return Topology(name, tuple(networks))


def _pod(pod: Obj) -> Pod:
    conditions = pod.get("status", {}).get("conditions") or []
    return Pod(
        pod["metadata"]["name"],
        pod["metadata"]["namespace"],
        pod.get("status", {}).get("podIP", ""),
        any(one["type"] == "Ready" and one["status"] == "True" for one in conditions),
        bool(pod["spec"].get("hostNetwork")),
    )


def _served(machine: str, services: list[Obj]) -> tuple[str, ...]:
    """The Services that a load balancer has an address for."""
    found = []
    for service in services:
        if LOAD_BALANCERS.get(service["spec"].get("loadBalancerClass", "")) != machine:
            continue
        for ingress in service.get("status", {}).get("loadBalancer", {}).get("ingress") or []:
            metadata = service["metadata"]
            found.append(f"{metadata['namespace']}/{metadata['name']} {ingress.get('ip', '')}")
    return tuple(found)
