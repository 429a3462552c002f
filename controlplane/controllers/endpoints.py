"""What an EndpointSlice says about pods, as pure functions: from a Service and its pods to slices.

    Service (selector, ports) --+--> a slice for each address family, and for each way in which
    pods (labels, addresses) ---'    its named target ports resolve

Sources: Kubernetes documentation "EndpointSlices"; KEP-1672 (terminating endpoints), KEP-4444 and KEP-3015
(trafficDistribution).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controlplane.controllers.pods import is_finished, is_ready
from controlplane.meta import Obj, labels_of

MAX_ENDPOINTS = 100  # in one slice
Ports = tuple[tuple[str, str, int, str], ...]  # (name, protocol, number, appProtocol)


def endpoint(service: Obj, pod: Obj, address: str, zone: str = "") -> Obj:
    """One endpoint: ready means ready for new connections, serving means it would be if it were not going
    away. It has the pod's host name when the pod says that the Service is its subdomain, the zone of its
    node, and the hints that the Service's trafficDistribution asks for.
    """
    publish_not_ready = bool(service["spec"].get("publishNotReadyAddresses"))
    terminating = "deletionTimestamp" in pod["metadata"]
    serving = is_ready(pod)
    result: Obj = {
        "addresses": [address],
        "conditions": {
            "ready": publish_not_ready or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {
            "kind": "Pod",
            "namespace": pod["metadata"]["namespace"],
            "name": pod["metadata"]["name"],
            "uid": pod["metadata"]["uid"],
        },
    }
    hostname = pod["spec"].get("hostname")
    if hostname and pod["spec"].get("subdomain") == service["metadata"]["name"]:
        result["hostname"] = hostname
    if zone:
        result["zone"] = zone
    hints = _hints(service["spec"].get("trafficDistribution"), zone, result["nodeName"])
    if hints and result["conditions"]["ready"]:
        result["hints"] = hints
    return result


def _hints(distribution: str | None, zone: str, node: str) -> Obj:
    """For whom an endpoint is meant: its own zone, and with PreferSameNode its own node."""
    hints: Obj = {}
    if distribution and zone:
        hints["forZones"] = [{"name": zone}]
    if distribution == "PreferSameNode":
        hints["forNodes"] = [{"name": node}]
    return hints


def addresses(pod: Obj, family: str) -> list[str]:
    """The pod's addresses of one family (IPv4 or IPv6)."""
    separator = ":" if family == "IPv6" else "."
    listed = pod["status"].get("podIPs") or [{"ip": pod["status"].get("podIP", "")}]
    return [entry["ip"] for entry in listed if separator in entry["ip"]]


def belongs(pod: Obj) -> bool:
    """Whether a selected pod is an endpoint at all: it has a node and an address, and has not finished."""
    return bool(pod["spec"].get("nodeName") and pod["status"].get("podIP")) and not is_finished(pod)


def resolve_ports(service: Obj, pod: Obj) -> Ports:
    """The Service's ports as they are in this pod: a named target port has the number that the pod's
    container gives it.
    """
    result = []
    for port in service["spec"].get("ports") or ():
        number = _target_number(port, pod)
        if number is not None:
            result.append((port.get("name", ""), port["protocol"], number, port.get("appProtocol", "")))
    return tuple(result)


def _target_number(port: Obj, pod: Obj) -> int | None:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    sidecars = [
        entry for entry in pod["spec"].get("initContainers") or () if entry.get("restartPolicy") == "Always"
    ]
    for container in (*pod["spec"]["containers"], *sidecars):
        for declared in container.get("ports") or ():
            if declared.get("name") == target and declared.get("protocol", "TCP") == port["protocol"]:
                return int(declared["containerPort"])
    return None


def slices(service: Obj, pods: Iterable[Obj], zone_of: Callable[[str], str] = lambda _: "") -> list[Obj]:
    """The wanted slices without names: addressType, ports, endpoints (ordered by address), at most
    MAX_ENDPOINTS in each. `zone_of` tells the zone of a node, "" for none.
    """
    groups: dict[tuple[str, Ports], list[Obj]] = {}
    families = service["spec"].get("ipFamilies") or ["IPv4"]
    for pod in pods:
        if not belongs(pod):
            continue
        ports, zone = resolve_ports(service, pod), zone_of(pod["spec"]["nodeName"])
        for family in families:
            for address in addresses(pod, family):
                groups.setdefault((family, ports), []).append(endpoint(service, pod, address, zone))
    for family in families:
        if not any(key[0] == family for key in groups):
            groups[family, ()] = []
    result = []
    for (family, ports), endpoints in sorted(groups.items(), key=lambda group: group[0]):
        endpoints.sort(key=lambda entry: entry["addresses"][0])
        for start in range(0, max(len(endpoints), 1), MAX_ENDPOINTS):
            part = endpoints[start : start + MAX_ENDPOINTS]
            result.append(
                {"addressType": family, "ports": [_port(port) for port in ports], "endpoints": part}
            )
    return result


def _port(port: tuple[str, str, int, str]) -> Obj:
    name, protocol, number, app_protocol = port
    result: Obj = {"name": name, "port": number, "protocol": protocol}
    if app_protocol:
        result["appProtocol"] = app_protocol
    return result


def slice_labels(service: Obj, managed_by: str) -> Mapping[str, str]:
    """A slice carries its Service's labels, the Service's name, and who keeps it."""
    labels: dict[str, Any] = {
        **labels_of(service),
        "kubernetes.io/service-name": service["metadata"]["name"],
        "endpointslice.kubernetes.io/managed-by": managed_by,
    }
    if service["spec"].get("clusterIP") == "None":
        labels["service.kubernetes.io/headless"] = ""
    return labels
