"""Who in a namespace can bear witness: pods by node, a service with endpoints, a way in from outside.

Claims ask for what they need (`scene.far_pair()`), whoever wrote the manifests; what is not there makes a claim "not
applicable", with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from controlplane.client import Client
from labs.lab import Lab
from topo.capture import Capture
from topo.probe import Outcome, http_get

Obj = dict[str, Any]
DEADLINE = 30.0


class NotApplicable(Exception):
    """Nobody in the namespace can bear witness to this claim."""


class GaveUp(Exception):
    """A condition did not come true before its deadline."""


def until(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """The first true value of `condition()`, asked again and again. Raises GaveUp after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        if time.monotonic() > end:
            raise GaveUp(f"{what}: not within {deadline:.0f} s")
        time.sleep(0.02)
    return value


@dataclass(frozen=True)
class Witness:
    """A running pod: where it is, its addresses (one of each family), and a TCP port that it answers on (0: none)."""

    name: str
    namespace: str
    node: str
    addresses: tuple[str, ...]
    port: int
    obj: Obj

    @property
    def address(self) -> str:
        """Its address of the cluster's first family."""
        return self.addresses[0]

    @property
    def ipv6(self) -> str:
        """Its IPv6 address, "" for none."""
        return ipv6_of(self.addresses)

    @property
    def machine(self) -> str:
        """As `minipod exec` names it."""
        return f"pod/{self.name}.{self.namespace}"


@dataclass(frozen=True)
class Target:
    """One TCP port of a Service, and the pods behind it."""

    name: str
    namespace: str
    cluster_ips: tuple[str, ...]
    port: int
    node_port: int
    load_balancer: str
    pods: tuple[Witness, ...]

    @property
    def cluster_ip(self) -> str:
        """Its first address."""
        return self.cluster_ips[0]

    @property
    def cluster_ipv6(self) -> str:
        """Its IPv6 address, "" for none."""
        return ipv6_of(self.cluster_ips)


def ipv6_of(addresses: Iterable[str]) -> str:
    """The IPv6 address among `addresses`, "" for none."""
    return next((address for address in addresses if ":" in address), "")


class Scene:
    """A namespace of a running lab, with hands to touch it."""

    def __init__(self, lab: Lab, client: Client, namespace: str) -> None:
        self.lab = lab
        self.client = client
        self.namespace = namespace

    # ---------------------------------------------------------------- objects

    def objects(self, kind: str, namespace: str | None = None) -> list[Obj]:
        """All objects of a kind in the namespace ("" for every namespace)."""
        namespace = self.namespace if namespace is None else namespace
        items: list[Obj] = self.client.request("GET", self.client.resource(kind).path(namespace))["items"]
        return items

    def pods(self, namespace: str | None = None) -> list[Witness]:
        """The pods that are Ready, have an address of their own and are not on their way out."""
        found = []
        for pod in self.objects("Pod", namespace):
            status, metadata = pod["status"], pod["metadata"]
            ready = any(
                c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()
            )
            if (
                ready
                and status.get("podIP")
                and "deletionTimestamp" not in metadata
                and not pod["spec"].get("hostNetwork")
            ):
                node, addresses = pod["spec"]["nodeName"], tuple(row["ip"] for row in status["podIPs"])
                found.append(
                    Witness(metadata["name"], metadata["namespace"], node, addresses, _port(pod), pod)
                )
        return found

    def near_pair(self) -> tuple[Witness, Witness]:
        """Two pods of one node, of which the second listens."""
        return self._pair(lambda a, b: a.node == b.node, "two pods on one node, of which one listens")

    def far_pair(self) -> tuple[Witness, Witness]:
        """Two pods of different nodes, of which the second listens."""
        return self._pair(lambda a, b: a.node != b.node, "pods on two nodes, of which one listens")

    def _pair(self, fits: Callable[[Witness, Witness], bool], what: str) -> tuple[Witness, Witness]:
        pods = self.pods()
        for first in pods:
            for second in pods:
                if first.name != second.name and second.port and fits(first, second):
                    return first, second
        raise NotApplicable(f"namespace {self.namespace} has no {what}")

    def targets(self) -> list[Target]:
        """The TCP ports of Services with a cluster address and at least one pod behind them."""
        by_address = {address: pod for pod in self.pods() for address in pod.addresses}
        slices = self.objects("EndpointSlice")
        found = []
        for service in self.objects("Service"):
            spec, name = service["spec"], service["metadata"]["name"]
            if not spec.get("clusterIP") or spec["clusterIP"] == "None":
                continue
            behind = {
                by_address[a].name: by_address[a]
                for a in sorted(endpoint_addresses(slices, name))
                if a in by_address
            }
            pods = tuple(behind.values())
            ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [{}]
            for port in spec.get("ports") or ():
                if port.get("protocol", "TCP") == "TCP" and pods:
                    balancer, node_port = ingress[0].get("ip", ""), port.get("nodePort", 0)
                    where = (
                        name,
                        self.namespace,
                        tuple(spec["clusterIPs"]),
                        port["port"],
                        node_port,
                        balancer,
                    )
                    found.append(Target(*where, pods))
        return found

    def target(self, fits: Callable[[Target], bool], what: str) -> Target:
        """The Service port with the most pods behind it, of those that fit."""
        fitting = [target for target in self.targets() if fits(target)]
        if not fitting:
            raise NotApplicable(f"namespace {self.namespace} has no {what}")
        return max(fitting, key=lambda target: len(target.pods))

    def client_of(self, target: Target, besides: str = "") -> Witness:
        """A pod that asks the cluster's DNS and is not behind the service, if there is one; never the pod `besides`."""
        endpoints = {pod.name for pod in target.pods}
        pods = [pod for pod in self.pods() if pod.name != besides and _asks_cluster_dns(pod.obj)]
        if not pods:
            raise NotApplicable(f"namespace {self.namespace} has no pod that could ask")
        return next((pod for pod in pods if pod.name not in endpoints), pods[0])

    # ---------------------------------------------------------------- packets

    def get(self, machine: str, address: str, port: int, path: str = "/", timeout: float = 3.0) -> Outcome:
        """One HTTP GET on a connection of its own, from a machine or a pod."""
        host = f"[{address}]" if ":" in address else address
        return self.lab.tcp(machine, address, port, http_get(path, host), timeout)

    @contextmanager
    def captures(self, pods: tuple[Witness, ...]) -> Iterator[dict[str, Capture]]:
        """A capture at each pod's eth0, by the pod's name."""
        with ExitStack() as stack:
            yield {pod.name: stack.enter_context(self.lab.capture(pod.machine)) for pod in pods}


def connections(capture: Capture, port: int) -> list[tuple[str, int]]:
    """The (source address, source port) of each connection that arrived at a TCP port, in order."""
    from scapy.layers.inet import TCP

    found: dict[tuple[str, int], None] = {}
    for packet in capture.packets(lambda p: TCP in p and p[TCP].dport == port and p[TCP].flags == "S"):
        found[network_layer(packet).src, packet[TCP].sport] = None
    return list(found)


def network_layer(packet: Any) -> Any:
    """The IPv4 or the IPv6 header of a packet that has a TCP or UDP header."""
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    return packet[IPv6] if IPv6 in packet else packet[IP]


def _port(pod: Obj) -> int:
    """The first TCP port that a container of the pod declares."""
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or ():
            if port.get("protocol", "TCP") == "TCP":
                return int(port["containerPort"])
    return 0


def _asks_cluster_dns(pod: Obj) -> bool:
    return str(pod["spec"].get("dnsPolicy") or "ClusterFirst").startswith("ClusterFirst")


def endpoint_addresses(slices: list[Obj], service: str) -> set[str]:
    """The addresses of a Service's ready endpoints."""
    return {
        address
        for endpoint_slice in slices
        if (endpoint_slice["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == service
        for endpoint in endpoint_slice.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for address in endpoint["addresses"]
    }
