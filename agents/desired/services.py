"""Services and their EndpointSlices, as service NAT wants to know them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agents.desired.objects import Obj
from netfns.service_types import Endpoint, Service, ServicePort

SERVICE_NAME = "kubernetes.io/service-name"


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
