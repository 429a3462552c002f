"""What the kubelet says of a pod: from the states of its containers to the pod's status. Pure.

    phase       Pending until every container has been started once; Running; Succeeded or Failed when all have ended
                and none will start again
    conditions  PodReadyToStartContainers, Initialized, ContainersReady, Ready (with the readiness gates), PodScheduled

Sources: Kubernetes documentation, "Pod Lifecycle"; API reference, PodStatus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from controlplane.meta import now as timestamp

Obj = dict[str, Any]


@dataclass
class ContainerState:
    """One container as the kubelet knows it. `state` and `last_state` are API objects: {"running": {...}} and so on.

    started: its startup probe has succeeded, if it has one. sidecar: an init container that stays.
    due: when it may start (time.monotonic); None: not, or not again.
    """

    name: str
    image: str
    state: Obj = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: Obj = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    started: bool = False
    sidecar: bool = False
    container_id: str = ""
    due: float | None = 0.0

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        """Of a container that has ended; None for any other."""
        return self.state["terminated"]["exitCode"] if "terminated" in self.state else None

    def status(self) -> Obj:
        """The ContainerStatus object."""
        return {
            "name": self.name,
            "image": self.image,
            "imageID": f"minipod://{self.image}",
            "containerID": self.container_id,
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
        }


def terminated(code: int, signal: int, started_at: str, container_id: str, message: str = "") -> Obj:
    """The state of a container that has ended; `signal` is 0 when it ended by itself."""
    reason = "Completed" if code == 0 else "Error"
    ended: Obj = {
        "exitCode": code,
        "reason": reason,
        "startedAt": started_at,
        "finishedAt": timestamp(),
        "containerID": container_id,
    }
    if signal:
        ended["signal"] = signal
    if message:
        ended["message"] = message
    return {"terminated": ended}


def restarts(policy: str, exit_code: int) -> bool:
    """Whether a container that has ended with `exit_code` is started again."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def phase(
    policy: str, initialized: bool, containers: Sequence[ContainerState], init: Sequence[ContainerState] = ()
) -> str:
    """The pod's phase."""
    if policy == "Never" and any(state.exit_code and not state.sidecar for state in init):
        return "Failed"
    if not initialized or any("waiting" in c.state and not c.last_state for c in containers):
        return "Pending"
    codes = [container.exit_code for container in containers]
    if all(code is not None and not restarts(policy, code) for code in codes):
        return "Failed" if any(codes) else "Succeeded"
    return "Running"


class PodFacts(NamedTuple):
    """What a status is made of, beside the containers.

    gates: the condition types of spec.readinessGates. reason, message: why the kubelet ended the pod, if it did.
    """

    policy: str
    host_ip: str
    addresses: Sequence[str]
    started_at: str
    initialized: bool
    networked: bool
    host_ips: Sequence[str] = ()
    gates: Sequence[str] = ()
    reason: str = ""
    message: str = ""


class _Condition(NamedTuple):
    holds: bool
    reason: str = ""
    message: str = ""


def pod_status(
    facts: PodFacts,
    containers: Sequence[ContainerState],
    init: Sequence[ContainerState],
    previous: Obj,
    ephemeral: Sequence[ContainerState] = (),
) -> Obj:
    """The PodStatus as a merge patch. `previous` is the status so far, whose transition times are kept where a
    condition's status is the same.
    """
    current = "Failed" if facts.reason else phase(facts.policy, facts.initialized, containers, init)
    conditions = previous.get("conditions") or ()
    status: Obj = {
        "phase": current,
        "conditions": _conditions(_wanted(facts, current, containers, init, conditions), conditions),
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": address} for address in facts.host_ips or (facts.host_ip,)],
        "startTime": facts.started_at,
        "containerStatuses": [container.status() for container in containers],
    }
    if init:
        status["initContainerStatuses"] = [container.status() for container in init]
    if ephemeral:
        status["ephemeralContainerStatuses"] = [container.status() for container in ephemeral]
    if facts.addresses:
        status["podIP"] = facts.addresses[0]
        status["podIPs"] = [{"ip": address} for address in facts.addresses]
    if facts.reason:
        status |= {"reason": facts.reason, "message": facts.message}
    return status


def _wanted(
    facts: PodFacts,
    current: str,
    containers: Sequence[ContainerState],
    init: Sequence[ContainerState],
    previous: Sequence[Obj],
) -> dict[str, _Condition]:
    """The conditions that the kubelet answers for."""
    ready = _containers_ready(facts, current, [*containers, *(state for state in init if state.sidecar)])
    waiting = [state.name for state in init if not (state.started if state.sidecar else state.exit_code == 0)]
    initialized = _Condition(
        facts.initialized,
        "" if facts.initialized else "ContainersNotInitialized",
        "" if facts.initialized else f"containers with incomplete status: [{' '.join(waiting)}]",
    )
    if current == "Succeeded":
        initialized = _Condition(True, "PodCompleted")
    return {
        "PodReadyToStartContainers": _Condition(facts.networked),
        "Initialized": initialized,
        "Ready": _gated(ready, facts.gates, previous),
        "ContainersReady": ready,
        "PodScheduled": _Condition(True),
    }


def _containers_ready(facts: PodFacts, current: str, containers: Sequence[ContainerState]) -> _Condition:
    if current in ("Succeeded", "Failed"):
        return _Condition(False, "PodCompleted" if current == "Succeeded" else "PodFailed")
    unready = [container.name for container in containers if not container.ready]
    if unready:
        return _Condition(
            False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
        )
    return _Condition(facts.initialized, "" if facts.initialized else "ContainersNotReady")


def _gated(ready: _Condition, gates: Sequence[str], previous: Sequence[Obj]) -> _Condition:
    """Ready: the containers are, and every readiness gate's condition, which others write, is True."""
    if not ready.holds:
        return ready
    statuses = {condition["type"]: condition["status"] for condition in previous}
    for gate in gates:
        if gate not in statuses:
            text = f'corresponding condition of pod readiness gate "{gate}" does not exist.'
            return _Condition(False, "ReadinessGatesNotReady", text)
        if statuses[gate] != "True":
            text = f'the status of pod readiness gate "{gate}" is not "True", but {statuses[gate]}'
            return _Condition(False, "ReadinessGatesNotReady", text)
    return ready


def _conditions(wanted: Mapping[str, _Condition], previous: Sequence[Obj]) -> list[Obj]:
    """The conditions that the kubelet answers for, and others' (readiness gates) as they were."""
    before = {condition["type"]: condition for condition in previous}
    conditions = []
    for name, found in wanted.items():
        status = "True" if found.holds else "False"
        old = before.pop(name, None)
        since = old["lastTransitionTime"] if old and old["status"] == status else timestamp()
        condition = {"type": name, "status": status, "lastProbeTime": None, "lastTransitionTime": since}
        if found.reason:
            condition["reason"] = found.reason
        if found.message:
            condition["message"] = found.message
        conditions.append(condition)
    return [*conditions, *before.values()]
