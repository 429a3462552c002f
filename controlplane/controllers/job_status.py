"""Counting for Jobs, as pure functions: completed indexes, the time until the next try.

Source: Kubernetes documentation "Jobs: Completion mode, Pod backoff failure policy".
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.meta import Obj, annotations_of, seconds

INDEX = "batch.kubernetes.io/job-completion-index"


def parse_indexes(text: str) -> set[int]:
    """`0-2,4` -> {0, 1, 2, 4}."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def format_indexes(indexes: Iterable[int]) -> str:
    """The inverse of `parse_indexes`."""
    spans: list[list[int]] = []
    for index in sorted(indexes):
        if spans and spans[-1][1] == index - 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def index_of(pod: Obj) -> int | None:
    """The completion index of a pod; None for one that has none."""
    text = annotations_of(pod).get(INDEX, "")
    return int(text) if text.isdecimal() else None


def restarts(pods: Iterable[Obj]) -> int:
    """How often containers of these pods have been started again."""
    entries = (
        entry
        for pod in pods
        for field in ("initContainerStatuses", "containerStatuses")
        for entry in pod["status"].get(field) or ()
    )
    return sum(entry.get("restartCount", 0) for entry in entries)


def finished_at(pod: Obj) -> float:
    """When the last container of a pod ended, in seconds since the epoch; else when the pod was made."""
    ends = [
        ((entry.get("state") or {}).get("terminated") or {}).get("finishedAt")
        for entry in pod["status"].get("containerStatuses") or ()
    ]
    known = [seconds(end) for end in ends if end]
    return max(known) if known else seconds(pod["metadata"]["creationTimestamp"])


def retry_delay(failed: list[Obj], succeeded: list[Obj], first: float, last: float) -> tuple[float, float]:
    """(moment, delay): after failures without a success in between, the next try is `delay` after `moment`."""
    since = max((finished_at(pod) for pod in succeeded), default=0.0)
    ends = [
        end for end in (finished_at(pod) for pod in failed) if end >= since
    ]  # in the same second: after it
    if not ends:
        return 0.0, 0.0
    return max(ends), min(first * 2.0 ** (len(ends) - 1), last)
