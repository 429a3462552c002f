"""Who reaches whom: every pod with every other one, predicted and measured."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from labs.errors import LabError
from labs.policy import measure
from labs.policy.measure import Shot
from labs.policy.scene import Scene
from netfns.policy_types import Packet, Pod
from netfns.policy_verdict import evaluate

MOST = 100  # pods: ten thousand packets
ARRIVE_WITHIN, SETTLE = 5.0, 0.2  # seconds


@dataclass(frozen=True)
class Cell:
    """One pair. None: it cannot be measured, since no container of one of the two runs."""

    sender: str
    receiver: str
    predicted: bool
    measured: bool | None

    @property
    def agrees(self) -> bool:
        """Whether the packet did what was predicted."""
        return self.measured in (None, self.predicted)


@dataclass(frozen=True)
class Matrix:
    """All pairs of `pods` (namespace/name), in their order, on one port."""

    pods: tuple[str, ...]
    port: int
    protocol: str
    cells: dict[tuple[str, str], Cell]

    @property
    def agrees(self) -> bool:
        """Whether all packets did what was predicted."""
        return all(cell.agrees for cell in self.cells.values())

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        rows = [
            {"from": c.sender, "to": c.receiver, "predicted": c.predicted, "measured": c.measured}
            for c in self.cells.values()
        ]
        return {
            "port": self.port,
            "protocol": self.protocol,
            "pods": list(self.pods),
            "cells": rows,
            "agrees": self.agrees,
        }


def draw_up(scene: Scene, namespaces: Sequence[str], port: int, protocol: str, ipv6: bool = False) -> Matrix:
    """The matrix of the pods of some namespaces (none: all but Kubernetes' own). Raises LabError."""
    unknown = [name for name in namespaces if name not in scene.cluster.namespaces]
    if unknown:
        raise LabError(f"--namespace {unknown[0]}: no such namespace: see `minipod kubectl get namespaces`")
    pods = {
        pod.owner: pod
        for pod in sorted(scene.cluster.pods, key=lambda pod: pod.owner)
        if (pod.namespace in namespaces if namespaces else not pod.namespace.startswith("kube-"))
        and any((":" in address) == ipv6 for address in pod.addresses)
    }
    if not pods:
        raise LabError(
            "minipod policy matrix: no pods run there: start some, or give other namespaces with -n"
        )
    if len(pods) > MOST:
        raise LabError(
            f"minipod policy matrix: {len(pods)} pods: want at most {MOST}; choose namespaces with -n"
        )
    address = {name: next(a for a in pod.addresses if (":" in a) == ipv6) for name, pod in pods.items()}
    pairs = [(one, other) for one in pods for other in pods if one != other]
    predicted = {
        (one, other): evaluate(
            scene.policies, scene.cluster, Packet(address[one], address[other], protocol, port)
        ).allowed
        for one, other in pairs
    }
    measured = _measure(scene, pods, address, port, protocol, predicted)
    cells = {pair: Cell(*pair, predicted[pair], measured.get(pair)) for pair in pairs}
    return Matrix(tuple(pods), port, protocol, cells)


def _measure(
    scene: Scene,
    pods: dict[str, Pod],
    address: dict[str, str],
    port: int,
    protocol: str,
    predicted: dict[tuple[str, str], bool],
) -> dict[tuple[str, str], bool]:
    """Which packets arrive. First those that shall not: when the others are there, these would be."""
    with ExitStack() as stack:
        captures = {}
        for name, pod in pods.items():
            try:
                captures[name] = stack.enter_context(scene.lab.capture(f"pod/{pod.name}.{pod.namespace}"))
            except LabError:  # it does not run now
                continue
        pairs = [pair for pair in predicted if pair[0] in captures and pair[1] in captures]
        pairs.sort(key=lambda pair: predicted[pair])
        shots = {
            pair: Shot(
                f"pod/{pods[pair[0]].name}.{pods[pair[0]].namespace}", address[pair[1]], protocol, port
            )
            for pair in pairs
        }
        measure.fire(scene.lab, shots.values(), stack)
        wanted = sum(predicted[pair] for pair in pairs)
        arrived = measure.wait_for(captures, list(shots.values()), wanted, ARRIVE_WITHIN)
        if wanted < len(pairs):  # one more look at what should have been dropped
            arrived = measure.wait_for(captures, list(shots.values()), len(pairs), SETTLE)
        return {
            pair: (protocol, shot.address, port, shot.local_port) in arrived[pair[1]]
            for pair, shot in shots.items()
        }
