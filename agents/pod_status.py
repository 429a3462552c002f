"""What the kubelet says of a pod: from the states of its containers to the pod's status. Pure.

    phase       Pending until every container has been started once; Running; Succeeded or Failed when all have ended
                and none will start again
    conditions  PodReadyToStartContainers, Initialized, ContainersReady, Ready, PodScheduled

Sources: Kubernetes documentation, "Pod Lifecycle"; API reference, PodStatus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Obj = dict[str, Any]


def timestamp() -> str:
    """Now, as Kubernetes writes times: UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class ContainerState:
    """One container as the kubelet knows it. `state` and `last_state` are API objects: {"running": {...}} and so on."""

    name: str
    image: str
    state: Obj = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: Obj = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    container_id: str = ""

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
            "started": self.running,
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


def phase(policy: str, initialized: bool, containers: Sequence[ContainerState]) -> str:
    """The pod's phase."""
    if not initialized or any("waiting" in c.state and not c.last_state for c in containers):
        return "Pending"
    codes = [container.exit_code for container in containers]
    if all(code is not None and not restarts(policy, code) for code in codes):
        return "Failed" if any(codes) else "Succeeded"
    return "Running"


@dataclass(frozen=True)
class PodFacts:
    """What a status is made of, beside the containers."""

    policy: str
    host_ip: str
    addresses: Sequence[str]
    started_at: str
    initialized: bool
    networked: bool


def pod_status(
    facts: PodFacts, containers: Sequence[ContainerState], init: Sequence[ContainerState], previous: Obj
) -> Obj:
    """The PodStatus as a merge patch. `previous` is the status so far, whose transition times are kept where a
    condition's status is the same.
    """
    ended = phase(facts.policy, facts.initialized, containers)
    finished = ended in ("Succeeded", "Failed")
    all_ready = all(container.ready for container in containers) and not finished
    why = "PodCompleted" if ended == "Succeeded" else "ContainersNotReady"
    conditions = {
        "PodReadyToStartContainers": (facts.networked, ""),
        "Initialized": (facts.initialized, "ContainersNotInitialized"),
        "Ready": (facts.initialized and all_ready, why),
        "ContainersReady": (facts.initialized and all_ready, why),
        "PodScheduled": (True, ""),
    }
    status: Obj = {
        "phase": ended,
        "conditions": _conditions(conditions, previous.get("conditions") or ()),
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        "startTime": facts.started_at,
        "containerStatuses": [container.status() for container in containers],
    }
    if init:
        status["initContainerStatuses"] = [container.status() for container in init]
    if facts.addresses:
        status["podIP"] = facts.addresses[0]
        status["podIPs"] = [{"ip": address} for address in facts.addresses]
    return status


def _conditions(wanted: Mapping[str, tuple[bool, str]], previous: Sequence[Obj]) -> list[Obj]:
    """The conditions that the kubelet answers for, and others' (readiness gates) as they were."""
    before = {condition["type"]: condition for condition in previous}
    conditions = []
    for name, (holds, reason) in wanted.items():
        status = "True" if holds else "False"
        old = before.pop(name, None)
        since = old["lastTransitionTime"] if old and old["status"] == status else timestamp()
        condition = {"type": name, "status": status, "lastProbeTime": None, "lastTransitionTime": since}
        if not holds and reason:
            condition["reason"] = reason
        conditions.append(condition)
    return [*conditions, *before.values()]
