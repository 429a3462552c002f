"""Services and pods, as the cluster's DNS wants to know them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agents.desired.candidates import is_ready
from agents.desired.objects import Obj, namespaced_name
from agents.desired.services import cluster_addresses
from netfns.dns import NamedEndpoint, NamedPod, NamedPort, NamedService


def named_service(service: Obj, slices: Iterable[Obj]) -> NamedService:
    """The names of one Service; a headless one has those of its ready endpoints."""
    namespace, name = namespaced_name(service)
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
    namespace, name = namespaced_name(pod)
    status = pod.get("status") or {}
    addresses = tuple(row["ip"] for row in status.get("podIPs") or ())
    if not addresses or status.get("phase") in ("Succeeded", "Failed"):
        return None
    return NamedPod(namespace, name, addresses)
