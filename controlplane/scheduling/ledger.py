"""What is taken on each node: places for pods, resources, host ports. Kept up with every change of a pod.

A pod takes what its containers request: the ordinary ones and the sidecars all at once, or what the hungriest init
container requests beside the sidecars that are there before it, whichever is more; and its overhead.

Sources: Kubernetes documentation "Resource Management for Pods and Containers", "Sidecar Containers";
k8s.io/component-helpers resource/helpers.go; the scheduler's plugins NodeResourcesFit and NodePorts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple

from controlplane.meta import Obj
from controlplane.quantity import parse

Requests = dict[str, Fraction]
HostPort = tuple[str, str, int]  # the node's address or "", protocol, port
ANY_ADDRESS = ("", "0.0.0.0", "::")
NO_FREE_PORTS = "node(s) didn't have free ports for the requested pod ports"


class Needs(NamedTuple):
    """What a pod asks of whatever node it comes to: read from it once, and held against each."""

    requests: Requests
    ports: tuple[HostPort, ...]

    @classmethod
    def of(cls, pod: Obj) -> Needs:
        """The needs of a pod."""
        return cls(requests(pod["spec"]), tuple(host_ports(pod["spec"])))


class Ledger:
    """See the head of this file."""

    def __init__(self) -> None:
        self.pods: Counter[str] = Counter()
        self._requests: defaultdict[str, Counter[str]] = defaultdict(
            Counter
        )  # Fractions, by node and resource
        self._ports: defaultdict[str, Counter[HostPort]] = defaultdict(Counter)

    def count(self, pod: Obj, node: str, step: int) -> None:
        """A pod is on the node (step 1), or is not any more (-1)."""
        self.pods[node] += step
        taken: Any = self._requests[node]
        for resource, amount in requests(pod["spec"]).items():
            taken[resource] += step * amount
        for port in host_ports(pod["spec"]):
            self._ports[node][port] += step

    def why_not(self, needs: Needs, node: Obj) -> list[str]:
        """What a pod needs and the node has no room for, in the scheduler's words."""
        name, reasons = node["metadata"]["name"], []
        if needs.ports and any(self._is_taken(name, port) for port in needs.ports):
            reasons.append(NO_FREE_PORTS)
        allocatable = (node.get("status") or {}).get("allocatable")
        if allocatable is None:  # a node that has not said what it has
            return reasons
        if "pods" in allocatable and self.pods[name] >= _whole(str(allocatable["pods"])):
            reasons.append("Too many pods")
        if needs.requests:
            taken: Any = self._requests[name]
            for resource, amount in needs.requests.items():
                if amount and taken[resource] + amount > parse(str(allocatable.get(resource, "0"))):
                    reasons.append(f"Insufficient {resource}")
        return reasons

    def _is_taken(self, node: str, wanted: HostPort) -> bool:
        return any(count > 0 and collide(taken, wanted) for taken, count in self._ports[node].items())


@lru_cache(maxsize=64)
def _whole(text: str) -> int:
    """A quantity of whole things, rounded up: a fraction, which no count of pods is, compares ten times as slowly."""
    return ceil(parse(text))


def collide(one: HostPort, other: HostPort) -> bool:
    """The same port of the same protocol, on the same address or on all."""
    return one[1:] == other[1:] and (one[0] == other[0] or one[0] in ANY_ADDRESS or other[0] in ANY_ADDRESS)


def host_ports(spec: Obj) -> Iterator[HostPort]:
    """The host ports of a pod."""
    for container in (*spec["containers"], *(spec.get("initContainers") or ())):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield port.get("hostIP") or "", port.get("protocol", "TCP"), port["hostPort"]


def requests(spec: Obj) -> Requests:
    """What a pod takes of each resource."""
    total: Requests = {}
    for container in spec["containers"]:
        _add(total, container)
    beside: Requests = {}
    most: Requests = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            _add(total, container)
            _add(beside, container)
            alone = beside
        else:
            alone = dict(beside)
            _add(alone, container)
        for resource, amount in alone.items():
            most[resource] = max(most.get(resource, Fraction(0)), amount)
    for resource, amount in most.items():
        total[resource] = max(total.get(resource, Fraction(0)), amount)
    for resource, text in (spec.get("overhead") or {}).items():
        total[resource] = total.get(resource, Fraction(0)) + parse(str(text))
    return total


def _add(total: Requests, container: Obj) -> None:
    resources = container.get("resources")
    if resources:
        wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        for resource, text in wanted.items():
            total[resource] = total.get(resource, Fraction(0)) + parse(str(text))
