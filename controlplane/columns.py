"""The columns that `kubectl get` shows, computed by the server: one list a kind.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go; the Table kind of meta.k8s.io/v1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from controlplane.meta import Obj, condition, labels_of, seconds
from controlplane.selectors import to_text

NONE, UNKNOWN = "<none>", "<unknown>"
_READINESS_GATES = "readinessGates"


@dataclass(frozen=True)
class Column:
    """A column: those with a priority above 0 are shown by `-o wide` only. `value` gives the cell."""

    name: str
    value: Callable[[Obj], str | int]
    type: str = "string"
    priority: int = 0


def human_duration(span: float) -> str:
    """A span of seconds as kubectl writes it: 45s, 3m20s, 5h, 2d3h, 40d, 2y."""
    span = int(span)
    minutes, hours, days = span // 60, span // 3600, span // 86400
    if span < 0:
        return "0s"
    if span < 120:
        return f"{span}s"
    if minutes < 10:
        return f"{minutes}m{span % 60}s" if span % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y{days % 365}d" if days < 2920 else f"{days // 365}y"


def _since(text: str | None) -> str:
    return human_duration(time.time() - seconds(text)) if text else UNKNOWN


def _at(*path: str, default: Any = NONE) -> Callable[[Obj], Any]:
    """The value at a path of fields."""

    def value(obj: Obj) -> Any:
        found: Any = obj
        for part in path:
            found = (found or {}).get(part)
        return default if found in (None, "") else found

    return value


def _joined(values: Iterable[Any], limit: int = 0) -> str:
    texts = [str(value) for value in values]
    if limit and len(texts) > limit:
        return ",".join(texts[:limit]) + f" + {len(texts) - limit} more..."
    return ",".join(texts) or NONE


NAME = Column("Name", lambda obj: obj["metadata"]["name"])
AGE = Column("Age", lambda obj: _since(obj["metadata"].get("creationTimestamp")))


# pods


def pod_status(pod: Obj) -> str:
    """What kubectl's STATUS column says: the phase, or the reason why it is not what it should be."""
    status = pod["status"]
    result = status.get("reason") or status.get("phase", UNKNOWN)
    result = _init_status(pod) or _container_status(status, result)
    if "deletionTimestamp" in pod["metadata"]:
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return str(result)


def _init_status(pod: Obj) -> str:
    statuses = pod["status"].get("initContainerStatuses") or ()
    sidecars = {
        c["name"] for c in pod["spec"].get("initContainers") or () if c.get("restartPolicy") == "Always"
    }
    for index, entry in enumerate(statuses):
        state = entry.get("state") or {}
        ended = state.get("terminated")
        if (ended and ended.get("exitCode") == 0) or (entry["name"] in sidecars and entry.get("started")):
            continue
        if ended:
            return f"Init:{_ended(ended)}"
        reason = (state.get("waiting") or {}).get("reason")
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{index}/{len(statuses)}"
    return ""


def _container_status(status: Obj, result: str) -> str:
    running = False
    for entry in reversed(status.get("containerStatuses") or ()):
        state = entry.get("state") or {}
        if (state.get("waiting") or {}).get("reason"):
            result = state["waiting"]["reason"]
        elif state.get("terminated"):
            result = _ended(state["terminated"])
        elif entry.get("ready") and "running" in state:
            running = True
    if result == "Completed" and running:
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
        return "Running" if ready else "NotReady"
    return result


def _ended(terminated: Obj) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    signal = terminated.get("signal")
    return f"Signal:{signal}" if signal else f"ExitCode:{terminated.get('exitCode', 0)}"


def _pod_ready(pod: Obj) -> str:
    entries = pod["status"].get("containerStatuses") or ()
    sidecars = {
        c["name"] for c in pod["spec"].get("initContainers") or () if c.get("restartPolicy") == "Always"
    }
    extra = [e for e in pod["status"].get("initContainerStatuses") or () if e["name"] in sidecars]
    ready = sum(bool(entry.get("ready")) for entry in (*entries, *extra))
    return f"{ready}/{len(pod['spec']['containers']) + len(sidecars)}"


def _pod_restarts(pod: Obj) -> str:
    entries = pod["status"].get("containerStatuses") or ()
    count = sum(entry.get("restartCount", 0) for entry in entries)
    ends = [(entry.get("lastState") or {}).get("terminated", {}).get("finishedAt") for entry in entries]
    latest = max((end for end in ends if end), default=None)
    return f"{count} ({_since(latest)} ago)" if count and latest else str(count)


def _pod_gates(pod: Obj) -> str:
    gates = pod["spec"].get(_READINESS_GATES) or ()
    if not gates:
        return NONE
    met = sum((condition(pod, gate["conditionType"]) or {}).get("status") == "True" for gate in gates)
    return f"{met}/{len(gates)}"


POD = (
    NAME,
    Column("Ready", _pod_ready),
    Column("Status", pod_status),
    Column("Restarts", _pod_restarts),
    AGE,
    Column("IP", _at("status", "podIP"), priority=1),
    Column("Node", _at("spec", "nodeName"), priority=1),
    Column("Nominated Node", _at("status", "nominatedNodeName"), priority=1),
    Column("Readiness Gates", _pod_gates, priority=1),
)


# nodes, namespaces


def _node_status(node: Obj) -> str:
    ready = (condition(node, "Ready") or {}).get("status", "Unknown")
    text = {"True": "Ready"}.get(ready, "NotReady")
    return f"{text},SchedulingDisabled" if (node.get("spec") or {}).get("unschedulable") else text


def _node_roles(node: Obj) -> str:
    prefix = "node-role.kubernetes.io/"
    return _joined(sorted(key.removeprefix(prefix) for key in labels_of(node) if key.startswith(prefix)))


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
    Column("Version", _at("status", "nodeInfo", "kubeletVersion", default="")),
    Column("Internal-IP", _node_address("InternalIP"), priority=1),
    Column("External-IP", _node_address("ExternalIP"), priority=1),
    Column("OS-Image", _at("status", "nodeInfo", "osImage", default=UNKNOWN), priority=1),
    Column("Kernel-Version", _at("status", "nodeInfo", "kernelVersion", default=UNKNOWN), priority=1),
    Column(
        "Container-Runtime", _at("status", "nodeInfo", "containerRuntimeVersion", default=UNKNOWN), priority=1
    ),
)


# services and what stands behind them


def _external_address(service: Obj) -> str:
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        return str(spec["externalName"])
    given = [entry.get("ip") or entry.get("hostname") for entry in _ingress(service)]
    addresses = [*given, *(spec.get("externalIPs") or ())]
    if spec["type"] == "LoadBalancer" and not addresses:
        return "<pending>"
    return _joined(addresses)


def _ingress(service: Obj) -> list[Obj]:
    return ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []


def _service_ports(service: Obj) -> str:
    texts = []
    for port in service["spec"].get("ports") or ():
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port['port']}{node_port}/{port['protocol']}")
    return _joined(texts)


def _service_selector(service: Obj) -> str:
    return _joined(f"{key}={value}" for key, value in sorted((service["spec"].get("selector") or {}).items()))


SERVICE = (
    NAME,
    Column("Type", _at("spec", "type")),
    Column("Cluster-IP", _at("spec", "clusterIP")),
    Column("External-IP", _external_address),
    Column("Port(s)", _service_ports),
    AGE,
    Column("Selector", _service_selector, priority=1),
)


def _slice_ports(entry: Obj) -> str:
    return (
        _joined((port.get("port", "*") for port in entry.get("ports") or ()), 3)
        if entry.get("ports")
        else "<unset>"
    )


def _slice_endpoints(entry: Obj) -> str:
    endpoints = entry.get("endpoints") or ()
    return _joined((endpoint["addresses"][0] for endpoint in endpoints), 3) if endpoints else "<unset>"


SLICE = (
    NAME,
    Column("AddressType", _at("addressType")),
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
    return _joined(texts, 3)


ENDPOINTS = (NAME, Column("Endpoints", _endpoints), AGE)


# workloads


def _count(*path: str) -> Callable[[Obj], int]:
    return _at(*path, default=0)


def _containers(field: str) -> Callable[[Obj], str]:
    return lambda obj: _joined(entry[field] for entry in obj["spec"]["template"]["spec"]["containers"])


def _selector(obj: Obj) -> str:
    return to_text(obj["spec"].get("selector"))


def _deployment_ready(obj: Obj) -> str:
    return f"{(obj.get('status') or {}).get('readyReplicas', 0)}/{obj['spec']['replicas']}"


TEMPLATE = (
    Column("Containers", _containers("name"), priority=1),
    Column("Images", _containers("image"), priority=1),
    Column("Selector", _selector, priority=1),
)
DEPLOYMENT = (
    NAME,
    Column("Ready", _deployment_ready),
    Column("Up-to-date", _count("status", "updatedReplicas"), "integer"),
    Column("Available", _count("status", "availableReplicas"), "integer"),
    AGE,
    *TEMPLATE,
)
REPLICA_SET = (
    NAME,
    Column("Desired", _count("spec", "replicas"), "integer"),
    Column("Current", _count("status", "replicas"), "integer"),
    Column("Ready", _count("status", "readyReplicas"), "integer"),
    AGE,
    *TEMPLATE,
)


# the rest


def _event_object(event: Obj) -> str:
    involved = event.get("involvedObject") or {}
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


def _event_source(event: Obj) -> str:
    source = event.get("source") or {}
    return ", ".join(filter(None, (source.get("component"), source.get("host"))))


EVENT = (
    Column("Last Seen", lambda event: _since(event.get("lastTimestamp"))),
    Column("Type", _at("type", default="")),
    Column("Reason", _at("reason", default="")),
    Column("Object", _event_object),
    Column("Subobject", _at("involvedObject", "fieldPath", default=""), priority=1),
    Column("Source", _event_source, priority=1),
    Column("Message", lambda event: str(event.get("message", "")).strip()),
    Column("First Seen", lambda event: _since(event.get("firstTimestamp")), priority=1),
    Column("Count", _at("count", default=1), "integer", priority=1),
    Column("Name", lambda event: event["metadata"]["name"], priority=1),
)
CONFIG_MAP = (
    NAME,
    Column("Data", lambda obj: len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), "integer"),
    AGE,
)
SECRET = (
    NAME,
    Column("Type", _at("type")),
    Column("Data", lambda obj: len(obj.get("data") or ()), "integer"),
    AGE,
)
ACCOUNT = (NAME, Column("Secrets", lambda obj: len(obj.get("secrets") or ()), "integer"), AGE)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "Namespace": (NAME, Column("Status", _at("status", "phase")), AGE),
    "Node": NODE,
    "Pod": POD,
    "Service": SERVICE,
    "Endpoints": ENDPOINTS,
    "EndpointSlice": SLICE,
    "ConfigMap": CONFIG_MAP,
    "Secret": SECRET,
    "ServiceAccount": ACCOUNT,
    "Deployment": DEPLOYMENT,
    "ReplicaSet": REPLICA_SET,
    "Lease": (NAME, Column("Holder", _at("spec", "holderIdentity", default="")), AGE),
    "Event": EVENT,
}


def columns_of(kind: str) -> tuple[Column, ...]:
    """The columns of a kind; name and age for one that has none of its own."""
    return COLUMNS.get(kind, (NAME, Column("Created At", _at("metadata", "creationTimestamp"))))
