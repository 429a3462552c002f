"""The row of a pod: above all, one word for how it is."""

from __future__ import annotations

from controlplane.columns.cell import AGE, NAME, NONE, UNKNOWN, Column, at, since
from controlplane.meta import Obj, condition


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
    return f"{count} ({since(latest)} ago)" if count and latest else str(count)


def _pod_gates(pod: Obj) -> str:
    gates = pod["spec"].get("readinessGates") or ()
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
    Column("IP", at("status", "podIP"), priority=1),
    Column("Node", at("spec", "nodeName"), priority=1),
    Column("Nominated Node", at("status", "nominatedNodeName"), priority=1),
    Column("Readiness Gates", _pod_gates, priority=1),
)
