"""Nodes, services and what stands behind them, events, configuration."""

from __future__ import annotations

from collections.abc import Callable

from controlplane.columns.cell import AGE, NAME, NONE, UNKNOWN, Column, at, joined, since
from controlplane.meta import Obj, condition, labels_of


def _node_status(node: Obj) -> str:
    ready = (condition(node, "Ready") or {}).get("status", "Unknown")
    text = {"True": "Ready"}.get(ready, "NotReady")
    return f"{text},SchedulingDisabled" if (node.get("spec") or {}).get("unschedulable") else text


def _node_roles(node: Obj) -> str:
    prefix = "node-role.kubernetes.io/"
    return joined(sorted(key.removeprefix(prefix) for key in labels_of(node) if key.startswith(prefix)))


def _node_address(kind: str) -> Callable[[Obj], str]:
    def value(node: Obj) -> str:
        entries = (node.get("status") or {}).get("addresses") or ()
        return next((entry["address"] for entry in entries if entry["type"] == kind), NONE)

    return value


NODE = (
    NAME,
    Column("Status", _node_status),
    Column("Roles", _node_roles),
    AGE,
    Column("Version", at("status", "nodeInfo", "kubeletVersion", default="")),
    Column("Internal-IP", _node_address("InternalIP"), priority=1),
    Column("External-IP", _node_address("ExternalIP"), priority=1),
    Column("OS-Image", at("status", "nodeInfo", "osImage", default=UNKNOWN), priority=1),
    Column("Kernel-Version", at("status", "nodeInfo", "kernelVersion", default=UNKNOWN), priority=1),
    Column(
        "Container-Runtime", at("status", "nodeInfo", "containerRuntimeVersion", default=UNKNOWN), priority=1
    ),
)


def _external_address(service: Obj) -> str:
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        return str(spec["externalName"])
    given = [entry.get("ip") or entry.get("hostname") for entry in _ingress(service)]
    addresses = [*given, *(spec.get("externalIPs") or ())]
    if spec["type"] == "LoadBalancer" and not addresses:
        return "<pending>"
    return joined(addresses)


def _ingress(service: Obj) -> list[Obj]:
    return ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []


def _service_ports(service: Obj) -> str:
    texts = []
    for port in service["spec"].get("ports") or ():
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port['port']}{node_port}/{port['protocol']}")
    return joined(texts)


def _service_selector(service: Obj) -> str:
    return joined(f"{key}={value}" for key, value in sorted((service["spec"].get("selector") or {}).items()))


SERVICE = (
    NAME,
    Column("Type", at("spec", "type")),
    Column("Cluster-IP", at("spec", "clusterIP")),
    Column("External-IP", _external_address),
    Column("Port(s)", _service_ports),
    AGE,
    Column("Selector", _service_selector, priority=1),
)


def _slice_ports(entry: Obj) -> str:
    return (
        joined((port.get("port", "*") for port in entry.get("ports") or ()), 3)
        if entry.get("ports")
        else "<unset>"
    )


def _slice_endpoints(entry: Obj) -> str:
    endpoints = entry.get("endpoints") or ()
    return joined((endpoint["addresses"][0] for endpoint in endpoints), 3) if endpoints else "<unset>"


SLICE = (
    NAME,
    Column("AddressType", at("addressType")),
    Column("Ports", _slice_ports),
    Column("Endpoints", _slice_endpoints),
    AGE,
)


def _endpoints(entry: Obj) -> str:
    texts = []
    for subset in entry.get("subsets") or ():
        for address in subset.get("addresses") or ():
            texts += [f"{address['ip']}:{port['port']}" for port in subset.get("ports") or ()] or [
                address["ip"]
            ]
    return joined(texts, 3)


ENDPOINTS = (NAME, Column("Endpoints", _endpoints), AGE)


def _event_object(event: Obj) -> str:
    involved = event.get("involvedObject") or {}
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


def _event_source(event: Obj) -> str:
    source = event.get("source") or {}
    return ", ".join(filter(None, (source.get("component"), source.get("host"))))


EVENT = (
    Column("Last Seen", lambda event: since(event.get("lastTimestamp"))),
    Column("Type", at("type", default="")),
    Column("Reason", at("reason", default="")),
    Column("Object", _event_object),
    Column("Subobject", at("involvedObject", "fieldPath", default=""), priority=1),
    Column("Source", _event_source, priority=1),
    Column("Message", lambda event: str(event.get("message", "")).strip()),
    Column("First Seen", lambda event: since(event.get("firstTimestamp")), priority=1),
    Column("Count", at("count", default=1), "integer", priority=1),
    Column("Name", lambda event: event["metadata"]["name"], priority=1),
)
CONFIG_MAP = (
    NAME,
    Column("Data", lambda obj: len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), "integer"),
    AGE,
)
SECRET = (
    NAME,
    Column("Type", at("type")),
    Column("Data", lambda obj: len(obj.get("data") or ()), "integer"),
    AGE,
)
ACCOUNT = (NAME, Column("Secrets", lambda obj: len(obj.get("secrets") or ()), "integer"), AGE)
