"""Defaults of Service, Endpoints and EndpointSlice. Addresses and node ports are no defaults:
service_allocation.py gives them.
"""

from __future__ import annotations

from controlplane.meta import Obj

SERVICE_SPEC: Obj = {"type": "ClusterIP", "sessionAffinity": "None"}
AFFINITY_SECONDS = 10800


def service(obj: Obj) -> Obj:
    """Type ClusterIP, protocol TCP, targetPort like port, traffic policies Cluster."""
    spec = {**SERVICE_SPEC, **(obj.get("spec") or {})}
    if spec.get("ports"):
        spec["ports"] = [_port(port) for port in spec["ports"]]
    if spec["sessionAffinity"] == "ClientIP":
        config = spec.get("sessionAffinityConfig") or {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}
        spec["sessionAffinityConfig"] = config
    else:
        spec.pop("sessionAffinityConfig", None)
    kind = spec["type"]
    if kind != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and spec.get("externalIPs")):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    return {**obj, "spec": spec}


def _port(port: Obj) -> Obj:
    result = {"protocol": "TCP", **port}
    if "targetPort" not in result and "port" in result:
        result["targetPort"] = result["port"]
    return result


def endpoint_slice(obj: Obj) -> Obj:
    """Ports are TCP and unnamed unless told otherwise."""
    if "ports" not in obj:
        return obj
    return {**obj, "ports": [{"name": "", "protocol": "TCP", **port} for port in obj["ports"]]}


def endpoints(obj: Obj) -> Obj:
    """Ports are TCP unless told otherwise."""
    if "subsets" not in obj:
        return obj
    return {**obj, "subsets": [_subset(subset) for subset in obj["subsets"]]}


def _subset(subset: Obj) -> Obj:
    if "ports" not in subset:
        return subset
    return {**subset, "ports": [{"protocol": "TCP", **port} for port in subset["ports"]]}
