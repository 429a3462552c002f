"""Who is there, as policies see them, and what the words of a question mean.

    pod/web-1.shop   node/worker1   outside          who sends
    pod/web-1.shop:80   service/web:80/udp   10.244.1.5:80   node/worker1:22   where to

A service is asked for by its own address, and judged by its endpoints: policies act after the translation.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from agents import desired
from controlplane.client import Client
from labs.errors import LabError
from labs.lab import Lab
from netfns.policy_types import PROTOCOLS, Cluster, Pod, Policy

Obj = dict[str, Any]
ANY_PORT = 9  # of a socket that is only asked for its own address: "discard"


@dataclass(frozen=True)
class Target:
    """Where a packet is sent (address, protocol, port), and where it may arrive: at one of `ends`."""

    name: str
    address: str
    protocol: str
    port: int
    ends: tuple[End, ...]


@dataclass(frozen=True)
class End:
    """One place where a packet may arrive. `machine`: as `minipod exec` names it, "" where nobody can look."""

    name: str
    machine: str
    address: str
    port: int


@dataclass(frozen=True)
class Scene:
    """What the API says now."""

    lab: Lab
    cluster: Cluster
    policies: tuple[Policy, ...]
    services: dict[tuple[str, str], Obj]
    slices: tuple[Obj, ...]

    @classmethod
    def read(cls, lab: Lab) -> Scene:
        """Everything at this moment. Raises LabError."""
        with lab.api() as client:
            nodes = _objects(client, "Node")
            pods = [desired.policy_pod(obj) for obj in _objects(client, "Pod")]
            namespaces = {
                o["metadata"]["name"]: desired.namespace_labels(o) for o in _objects(client, "Namespace")
            }
            found = Cluster(
                tuple(pod for pod in pods if pod is not None), namespaces, desired.policy_nodes(nodes)
            )
            policies = tuple(map(desired.network_policy, _objects(client, "NetworkPolicy")))
            services = {desired.namespaced_name(obj): obj for obj in _objects(client, "Service")}
            return cls(lab, found, policies, services, tuple(_objects(client, "EndpointSlice")))

    def pod(self, name: str) -> Pod:
        """The pod NAME[.NAMESPACE] that runs, whose NAME may have dots itself. Raises LabError."""
        head, _, tail = name.rpartition(".")
        for namespace, short in [("default", name), *([(tail, head)] if head else [])]:
            for pod in self.cluster.pods:
                if (pod.namespace, pod.name) == (namespace, short):
                    return pod
        raise LabError(
            f"pod/{name}: no such pod with its own address runs: see `minipod kubectl get pods -A`"
        )

    def source_address(self, machine: str, destination: str) -> str:
        """The address that a machine or a pod speaks with to a destination. Raises LabError."""
        kind, _, name = machine.partition("/")
        if kind == "pod":
            return _of_family(self.pod(name).addresses, ":" in destination, machine)
        family = socket.AF_INET6 if ":" in destination else socket.AF_INET
        with self.lab.socket(machine, family, socket.SOCK_DGRAM) as asked:
            try:
                asked.connect((destination, ANY_PORT))
            except OSError as error:
                raise LabError(f"{machine}: no way to {destination}: {error.strerror}") from None
            return str(asked.getsockname()[0])

    def target(self, question: str, ipv6: bool = False) -> Target:
        """What DST[:PORT][/PROTOCOL] means. Raises LabError."""
        kind, name, port, protocol = parse(question)
        if kind == "service":
            return self._service(question, name, port, protocol, ipv6)
        if not port:
            raise LabError(
                f"{question}: no port: want such as {question.partition('/')[0]}/NAME:80 or :53/udp"
            )
        if kind == "pod":
            pod = self.pod(name)
            address = _of_family(pod.addresses, ipv6, f"pod/{name}")
            end = End(f"pod/{pod.name}.{pod.namespace}", f"pod/{pod.name}.{pod.namespace}", address, port)
        elif kind == "node":
            if name not in self.cluster.nodes:
                raise LabError(
                    f"node/{name}: no such node: want one of {', '.join(sorted(self.cluster.nodes))}"
                )
            self._no_node_port(question, port, protocol)
            address = _of_family(self.cluster.nodes[name], ipv6, f"node/{name}")
            end = End(f"node/{name}", f"node/{name}", address, port)
        else:
            end = self._address(name, port)
            if any(end.address in addresses for addresses in self.cluster.nodes.values()):
                self._no_node_port(question, port, protocol)
        return Target(question, end.address, protocol, port, (end,))

    def _no_node_port(self, question: str, port: int, protocol: str) -> None:
        """A node port is a Service's: what becomes of the packet is not the node's matter. Raises LabError."""
        for key, service in self.services.items():
            for one in service["spec"].get("ports") or ():
                if (one.get("nodePort"), one.get("protocol", "TCP")) == (port, protocol):
                    name = f"service/{'.'.join(reversed(key))}:{one['port']}"
                    raise LabError(
                        f"{question}: is a node port of {name}: policies judge its pods: ask for that"
                    )

    def _address(self, text: str, port: int) -> End:
        try:
            address = str(ip_address(text))
        except ValueError:
            raise LabError(f"{text}: want pod/NAME, service/NAME, node/NAME or an address") from None
        for service in self.services.values():
            if address in desired.cluster_addresses(service):
                name = ".".join(reversed(desired.namespaced_name(service)))
                raise LabError(f"{text}: is the address of service/{name}: ask for it by that name")
        for pod in self.cluster.pods:
            if address in pod.addresses:
                return End(
                    f"pod/{pod.name}.{pod.namespace}", f"pod/{pod.name}.{pod.namespace}", address, port
                )
        return End(address, "", address, port)

    def _service(self, question: str, name: str, port: int, protocol: str, ipv6: bool) -> Target:
        head, _, tail = name.rpartition(".")
        key = ("default", name) if ("default", name) in self.services else (tail, head)
        service = self.services.get(key)
        if service is None:
            raise LabError(f"service/{name}: no such Service: see `minipod kubectl get services -A`")
        ports = [p for p in service["spec"].get("ports") or () if p.get("protocol", "TCP") == protocol]
        chosen = next((p for p in ports if p["port"] == port), ports[0] if ports and not port else None)
        if chosen is None:
            known = ", ".join(
                f"{p['port']}/{p.get('protocol', 'TCP')}" for p in service["spec"].get("ports") or ()
            )
            raise LabError(f"{question}: service/{name} has no such port: want one of {known or 'none'}")
        address = _of_family(desired.cluster_addresses(service), ipv6, f"service/{name}")
        slices = [s for s in self.slices if desired.service_key(s) == key]
        found = desired.cluster_endpoints(desired.all_candidates(chosen, slices), desired.place(None, ""))
        ends = tuple(self._address(e.address, e.port) for e in found if (":" in e.address) == ipv6)
        return Target(question, address, protocol, chosen["port"], ends)


def parse(question: str) -> tuple[str, str, int, str]:
    """(kind, name, port, protocol) of DST[:PORT][/PROTOCOL]; kind is "" for an address. Raises LabError."""
    kind, slash, rest = question.partition("/")
    if not slash or kind not in ("pod", "node", "service", "svc"):
        kind, rest = "", question
    rest, _, protocol = rest.partition("/")
    if rest.startswith("["):
        name, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    elif rest.count(":") > 1:
        name, port = rest, ""
    else:
        name, _, port = rest.partition(":")
    protocol = protocol.upper() or "TCP"
    if protocol not in PROTOCOLS:
        raise LabError(f"{question}: {protocol.lower()}: want one of {', '.join(PROTOCOLS).lower()}")
    if port and not (port.isdecimal() and 1 <= int(port) <= 65535):
        raise LabError(f"{question}: port: want 1-65535, got {port}")
    if not name:
        raise LabError(f"{question}: want pod/NAME, service/NAME, node/NAME or an address, with a port")
    return "service" if kind == "svc" else kind, name, int(port or 0), protocol


def _of_family(addresses: Iterable[str], ipv6: bool, whose: str) -> str:
    for address in addresses:
        if (":" in address) == ipv6:
            return address
    raise LabError(f"{whose}: has no IPv{6 if ipv6 else 4} address")


def _objects(client: Client, kind: str) -> Sequence[Obj]:
    items: list[Obj] = client.request("GET", client.resource(kind).path(""))["items"]
    return items
