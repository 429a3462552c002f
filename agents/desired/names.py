"""Services and pods, as the cluster's DNS wants to know them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agents.desired.candidates import is_ready
from agents.desired.objects import Obj, namespaced_name
from agents.desired.services import cluster_addresses
from netfns.dns import NamedEndpoint, NamedPod, NamedPort, NamedService


def named_service(service: Obj, slices: Iterable[Obj]) -> NamedService:
    """The names of one Service. A headless one has those of its ready endpoints; one with addresses of its own only
    of those that have a host name, as the members of a StatefulSet (CoreDNS answers for these too).
    """
    namespace, name = namespaced_name(service)
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return NamedService(namespace, name, external_name=spec["externalName"])
    cluster_ips = cluster_addresses(service)
    ports = _named_ports(spec)
    found = sorted({e for e in _named_endpoints(slices) if e.hostname or not cluster_ips})
    return NamedService(namespace, name, cluster_ips, ports if cluster_ips else (), tuple(found))


def _named_ports(obj: Obj) -> tuple[NamedPort, ...]:
    """The ports of a Service's spec or of a slice; a slice's port without a number is every port, and has no name."""
    return tuple(
        NamedPort(port.get("name") or "", port.get("protocol") or "TCP", port["port"])
        for port in obj.get("ports") or ()
        if port.get("port")
    )


def _named_endpoints(slices: Iterable[Obj]) -> Iterator[NamedEndpoint]:
    for endpoint_slice in slices:
        if endpoint_slice.get("addressType") == "FQDN":
            continue
        ports = _named_ports(endpoint_slice)
        for endpoint in endpoint_slice.get("endpoints") or ():
            if is_ready(endpoint):
                yield NamedEndpoint(tuple(endpoint["addresses"]), endpoint.get("hostname") or "", ports)


def named_pod(pod: Obj) -> NamedPod | None:
    """The names of one pod; None while it has no address, and when it has ended."""
    namespace, name = namespaced_name(pod)
    status = pod.get("status") or {}
    addresses = tuple(row["ip"] for row in status.get("podIPs") or ())
    if not addresses or status.get("phase") in ("Succeeded", "Failed"):
        return None
    return NamedPod(namespace, name, addresses)
