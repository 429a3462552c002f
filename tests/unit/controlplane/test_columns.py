from __future__ import annotations

import time
from typing import Any

import pytest

from controlplane.builtin_kinds import standard_kinds
from controlplane.columns import columns_of, human_duration, pod_status
from controlplane.meta import timestamp


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (600, "10m"),
        (3600 * 2.5, "150m"),
        (3600 * 3, "3h"),
        (3600 * 5 + 60, "5h1m"),
        (3600 * 30, "30h"),
        (86400 * 3 + 3600, "3d1h"),
        (86400 * 40, "40d"),
        (86400 * 365 * 3, "3y0d"),
        (86400 * 365 * 9, "9y"),
    ],
)
def test_human_duration(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def pod(*statuses: dict[str, Any], **fields: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c"}] * max(1, len(statuses)), **fields.pop("spec", {})}
    metadata = {"name": "p", **fields.pop("metadata", {})}
    return {
        "metadata": metadata,
        "spec": spec,
        "status": {"phase": "Running", "containerStatuses": list(statuses), **fields},
    }


WAITING = {"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
RUNNING = {"name": "c", "ready": True, "state": {"running": {}}}
DONE = {"name": "c", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
KILLED = {"name": "c", "state": {"terminated": {"signal": 9}}}


@pytest.mark.parametrize(
    ("obj", "status"),
    [
        (pod(RUNNING), "Running"),
        (pod(WAITING), "CrashLoopBackOff"),
        (pod(DONE), "Completed"),
        (pod(DONE, RUNNING), "NotReady"),
        (pod(KILLED), "Signal:9"),
        (pod({"name": "c", "state": {"terminated": {"exitCode": 3}}}), "ExitCode:3"),
        (pod(phase="Failed", reason="Evicted"), "Evicted"),
        (pod(RUNNING, metadata={"deletionTimestamp": "x"}), "Terminating"),
        (pod(initContainerStatuses=[{"name": "i", "state": {"running": {}}}]), "Init:0/1"),
        (
            pod(initContainerStatuses=[{"name": "i", "state": {"terminated": {"exitCode": 1}}}]),
            "Init:ExitCode:1",
        ),
        (pod(initContainerStatuses=[{"name": "i", "state": {"waiting": {"reason": "Err"}}}]), "Init:Err"),
    ],
)
def test_pod_status(obj: dict[str, Any], status: str) -> None:
    assert pod_status(obj) == status


def cells(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    return {column.name: column.value(obj) for column in columns_of(kind)}


def test_pod_row() -> None:
    ended = {"finishedAt": timestamp(time.time() - 60)}
    restarted = {**RUNNING, "restartCount": 2, "lastState": {"terminated": ended}}
    row = cells("Pod", pod(restarted, metadata={"creationTimestamp": timestamp(time.time() - 300)}))
    assert (row["Ready"], row["Age"], row["IP"]) == ("1/1", "5m", "<none>")
    assert row["Restarts"].startswith("2 (6")


def test_service_row() -> None:
    ports = [{"port": 80, "protocol": "TCP", "nodePort": 30001}, {"port": 53, "protocol": "UDP"}]
    service = {
        "metadata": {"name": "s"},
        "spec": {"type": "LoadBalancer", "ports": ports, "selector": {"b": "2", "a": "1"}},
    }
    row = cells("Service", service)
    assert (row["External-IP"], row["Port(s)"], row["Selector"]) == (
        "<pending>",
        "80:30001/TCP,53/UDP",
        "a=1,b=2",
    )


def test_long_lists_are_cut() -> None:
    endpoints = [{"addresses": [f"10.0.0.{n}"]} for n in range(5)]
    row = cells("EndpointSlice", {"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": endpoints})
    assert row["Endpoints"] == "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more..."


def test_every_kind_has_a_name_column() -> None:
    for kind in standard_kinds():
        assert "Name" in {column.name for column in kind.columns}, kind.name
