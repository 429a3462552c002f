"""What is to be done next for a pod's containers: from their states to one decision. Pure.

    ephemeral containers, whenever one has been added (kubectl debug)
    init containers, one after another: an ordinary one must end well, a sidecar must have started
        -> containers, all of them -> finished when every one has ended and none will start again

The kubelet's own way: it never remembers what it was doing, it looks at what is and does what is missing.

Sources: Kubernetes documentation, "Init Containers", "Sidecar Containers"; the kubelet's computePodActions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.pod_status import ContainerState


@dataclass(frozen=True)
class Plan:
    """start: the container to start now, "" for none. finished: the pod has ended, well or badly."""

    start: str = ""
    initialized: bool = False
    finished: bool = False


def plan(
    init: Sequence[ContainerState],
    containers: Sequence[ContainerState],
    now: float,
    initialized: bool = False,
    ephemeral: Sequence[ContainerState] = (),
) -> Plan:
    """The next step. `now` as the states' `due`; `initialized`: the init containers of this sandbox are through."""
    if all(_over(state) for state in containers):
        return Plan(initialized=True, finished=True)
    for state in ephemeral:
        if _due(state, now):
            return Plan(state.name, initialized)
    for state in init:
        if _due(state, now):
            return Plan(state.name, initialized)
        if not state.sidecar and state.exit_code and _over(state):
            return Plan(initialized=initialized, finished=True)
        through = state.started if state.sidecar else state.exit_code == 0
        if not through and not initialized:
            return Plan()
    due = next((state.name for state in containers if _due(state, now)), "")
    return Plan(due, initialized=True)


def _due(state: ContainerState, now: float) -> bool:
    return not state.running and state.due is not None and state.due <= now


def _over(state: ContainerState) -> bool:
    """Ended, and not to be started again."""
    return state.exit_code is not None and state.due is None
