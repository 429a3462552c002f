"""Services and their EndpointSlices, as service NAT on one node wants to know them."""

from __future__ import annotations

from collections.abc import Sequence

from agents.desired.candidates import (
    Place,
    all_candidates,
    cluster_endpoints,
    ending_endpoints,
    local_endpoints,
)
from agents.desired.objects import Obj
from netfns.service_types import CLUSTER, LOCAL, Service, ServicePort

SERVICE_NAME = "kubernetes.io/service-name"
PROXY_NAME = "service.kubernetes.io/service-proxy-name"
AFFINITY_SECONDS = 10800


def service_key(endpoint_slice: Obj) -> tuple[str, str]:
    """Namespace and name of the Service that a slice belongs to; the name is "" when it belongs to none."""
    metadata = endpoint_slice["metadata"]
    return metadata["namespace"], (metadata.get("labels") or {}).get(SERVICE_NAME, "")


def service(obj: Obj, slices: Sequence[Obj], here: Place) -> Service | None:
    """A Service with addresses of its own, and who answers now to connections from `here`.

    None for a headless or external one, and for one that asks for another proxy (label
    service.kubernetes.io/service-proxy-name).
    """
    metadata, spec = obj["metadata"], obj["spec"]
    cluster_ips = cluster_addresses(obj)
    if not cluster_ips or PROXY_NAME in (metadata.get("labels") or {}):
        return None
    internal = spec.get("internalTrafficPolicy") or CLUSTER
    external = spec.get("externalTrafficPolicy") or CLUSTER
    local = LOCAL in (internal, external)
    return Service(
        metadata["namespace"],
        metadata["name"],
        cluster_ips,
        tuple(_port(port, slices, here, local=local) for port in spec.get("ports") or ()),
        external_ips=tuple(spec.get("externalIPs") or ()),
        load_balancer_ips=_load_balancer_ips(obj),
        load_balancer_source_ranges=tuple(
            text.strip() for text in spec.get("loadBalancerSourceRanges") or ()
        ),
        affinity_timeout=_affinity_timeout(spec),
        internal_traffic_policy=internal,
        external_traffic_policy=external,
        health_check_node_port=spec.get("healthCheckNodePort") or 0,
    )


def _port(port: Obj, slices: Sequence[Obj], here: Place, *, local: bool) -> ServicePort:
    found = all_candidates(port, slices)
    return ServicePort(
        port.get("name", ""),
        port.get("protocol", "TCP"),
        port["port"],
        port.get("nodePort") or 0,
        cluster_endpoints(found, here),
        local_endpoints(found, here) if local else (),
        ending_endpoints(found),
    )


def cluster_addresses(obj: Obj) -> tuple[str, ...]:
    """The Service's cluster addresses; none for a headless or external one."""
    spec = obj["spec"]
    if spec.get("type") == "ExternalName":
        return ()
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
    return tuple(address for address in addresses if address not in ("", "None"))


def _load_balancer_ips(obj: Obj) -> tuple[str, ...]:
    """The addresses that the nodes answer for themselves; not those of a proxy, which must see the traffic."""
    if obj["spec"].get("type") != "LoadBalancer":
        return ()
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return tuple(row["ip"] for row in ingress if row.get("ip") and row.get("ipMode", "VIP") == "VIP")


def _affinity_timeout(spec: Obj) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    client_ip = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(client_ip.get("timeoutSeconds") or AFFINITY_SECONDS)
