"""From objects to what the network functions want to know: pure translation, the only place that reads both.

    Node ------------------> Vtep, Masquerade        Service + EndpointSlices --> Service
    (netfns/service_types.py) Service + Node --------> balancer's Frontend     Service + EndpointSlices -->
    names (netfns/dns.py)

Every function takes objects as the API hands them out and changes none. An object that says nothing of use
(a headless Service has no address, a Node no podCIDR yet) gives None or is left out: it will come again
when it says more.

Sources: Kubernetes API reference, Service, EndpointSlice, Node and Pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from netfns.balancer import Frontend, Server
from netfns.dns import NamedEndpoint, NamedPod, NamedPort, NamedService
from netfns.masquerade import Masquerade
from netfns.overlay import Overlay, Vtep
from netfns.service_types import Endpoint, Service, ServicePort

Obj = dict[str, Any]
SERVICE_NAME = "kubernetes.io/service-name"

# ---------------------------------------------------------------- nodes


def node_addresses(node: Obj) -> tuple[str, ...]:
    """The node's own addresses on the nodes' network, of every family."""
    addresses = (node.get("status") or {}).get("addresses") or ()
    return tuple(address["address"] for address in addresses if address["type"] == "InternalIP")


def vtep(node: Obj) -> Vtep | None:
    """The node's tunnel end; None when it has no IPv4 address or no pod range yet."""
    spec = node.get("spec") or {}
    addresses = [address for address in node_addresses(node) if ":" not in address]
    pod_cidrs = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    if not addresses or not pod_cidrs:
        return None
    return Vtep(node["metadata"]["name"], addresses[0], tuple(pod_cidrs))


def overlay(name: str, nodes: Iterable[Obj]) -> Overlay | None:
    """What the node `name` must know of the tunnels; None until its own Node object is complete."""
    ends = [end for end in map(vtep, nodes) if end is not None]
    local = next((end for end in ends if end.node == name), None)
    return None if local is None else Overlay(local, tuple(end for end in ends if end is not local))


def masquerade(pod_cidrs: Sequence[str], nodes: Iterable[Obj]) -> Masquerade:
    """What is inside the cluster: its pods, and its nodes."""
    return Masquerade(tuple(pod_cidrs), tuple(address for node in nodes for address in node_addresses(node)))


# ---------------------------------------------------------------- services


def service_key(endpoint_slice: Obj) -> tuple[str, str]:
    """Namespace and name of the Service that a slice belongs to; the name is "" when it belongs to none."""
    metadata = endpoint_slice["metadata"]
    return metadata["namespace"], (metadata.get("labels") or {}).get(SERVICE_NAME, "")


def service(obj: Obj, slices: Sequence[Obj]) -> Service | None:
    """A Service with addresses of its own, and who answers now; None for a headless or external one."""
    metadata, spec = obj["metadata"], obj["spec"]
    cluster_ips = cluster_addresses(obj)
    if not cluster_ips:
        return None
    ports = tuple(
        ServicePort(
            port.get("name", ""),
            port.get("protocol", "TCP"),
            port["port"],
            port.get("nodePort", 0),
            tuple(endpoints(port, slices)),
        )
        for port in spec.get("ports") or ()
    )
    return Service(metadata["namespace"], metadata["name"], cluster_ips, ports)


def cluster_addresses(obj: Obj) -> tuple[str, ...]:
    """The Service's cluster addresses; none for a headless or external one."""
    spec = obj["spec"]
    if spec.get("type") == "ExternalName":
        return ()
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
    return tuple(address for address in addresses if address not in ("", "None"))


def endpoints(port: Obj, slices: Iterable[Obj]) -> list[Endpoint]:
    """The endpoints of one service port that get new connections, sorted and each once.

    Those that are ready; when none is, those that end but still serve, so that the last pod answers until its
    successor does (KEP-1669).
    """
    ready, serving = set[Endpoint](), set[Endpoint]()
    for endpoint_slice in slices:
        for number in _port_numbers(port, endpoint_slice):
            for endpoint in endpoint_slice.get("endpoints") or ():
                found = {Endpoint(a, number, endpoint.get("nodeName", "")) for a in endpoint["addresses"]}
                if is_ready(endpoint):
                    ready |= found
                elif (endpoint.get("conditions") or {}).get("serving"):
                    serving |= found
    return sorted(ready or serving)


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


# ---------------------------------------------------------------- load balancer

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


def is_balanced(service: Obj) -> bool:
    """Whether a Service asks for an address outside the cluster, and of us (not of a loadBalancerClass)."""
    spec = service["spec"]
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass")


def ingress_address(service: Obj) -> str:
    """The address that the Service's status names, "" when it names none."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [{}]
    return str(ingress[0].get("ip", ""))


def assign(services: Iterable[Obj], pool: Sequence[str]) -> dict[tuple[str, str], str]:
    """An address of the pool for each Service: its own if its status has one, the one that it asks for by
    spec.loadBalancerIP, or the first that is free.

    A Service for which none is left is left out. New ones get theirs in order of their creation.
    """
    given: dict[tuple[str, str], str] = {}
    new: list[Obj] = []
    for obj in services:
        held = ingress_address(obj)
        if held in pool and held not in given.values():
            given[_key(obj)] = held
        else:
            new.append(obj)
    new.sort(key=lambda obj: (obj["metadata"].get("creationTimestamp", ""), _key(obj)))
    for obj in (obj for obj in new if obj["spec"].get("loadBalancerIP")):
        if obj["spec"]["loadBalancerIP"] in set(pool) - set(given.values()):
            given[_key(obj)] = obj["spec"]["loadBalancerIP"]
    taken = set(given.values())
    free = (address for address in pool if address not in taken)
    anywhere = (obj for obj in new if not obj["spec"].get("loadBalancerIP"))
    return given | {_key(obj): address for obj, address in zip(anywhere, free, strict=False)}


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
        namespace, name = _key(obj)
        for port in obj["spec"].get("ports") or ():
            if (namespace, name) in given and port.get("protocol", "TCP") == "TCP" and port.get("nodePort"):
                servers = tuple(Server(node, address, port["nodePort"]) for node, address in targets)
                owner = f"{namespace}/{name}:{port.get('name') or port['port']}"
                found.append(Frontend(owner, given[namespace, name], port["port"], servers))
    return found


def _key(obj: Obj) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


# ---------------------------------------------------------------- names


def named_service(service: Obj, slices: Iterable[Obj]) -> NamedService:
    """The names of one Service; a headless one has those of its ready endpoints."""
    namespace, name = _key(service)
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return NamedService(namespace, name, external_name=spec["externalName"])
    cluster_ips = cluster_addresses(service)
    ports = tuple(
        NamedPort(port.get("name", ""), port.get("protocol", "TCP"), port["port"])
        for port in spec.get("ports") or ()
    )
    found = () if cluster_ips else tuple(sorted(_named_endpoints(slices)))
    return NamedService(namespace, name, cluster_ips, ports, found)


def _named_endpoints(slices: Iterable[Obj]) -> Iterator[NamedEndpoint]:
    for endpoint_slice in slices:
        if endpoint_slice.get("addressType") == "FQDN":
            continue
        ports = tuple(
            NamedPort(port.get("name", ""), port.get("protocol", "TCP"), port["port"])
            for port in endpoint_slice.get("ports") or ()
            if port.get("port")
        )
        for endpoint in endpoint_slice.get("endpoints") or ():
            if is_ready(endpoint):
                yield NamedEndpoint(tuple(endpoint["addresses"]), endpoint.get("hostname", ""), ports)


def named_pod(pod: Obj) -> NamedPod | None:
    """The names of one pod; None while it has no address, and when it has ended."""
    namespace, name = _key(pod)
    status = pod.get("status") or {}
    addresses = tuple(row["ip"] for row in status.get("podIPs") or ())
    if not addresses or status.get("phase") in ("Succeeded", "Failed"):
        return None
    return NamedPod(namespace, name, addresses)
