"""How long a container that has ended waits for its next start. Pure.

    ends -> at once -> ends -> 10 s -> ends -> 20 s -> ... -> 300 s         (it ran for ten minutes: from the start)

Source: Kubernetes documentation, "Pod Lifecycle: Container restarts"; kubelet's MaxContainerBackOff.
"""

from __future__ import annotations

FIRST, LAST = 10.0, 300.0  # seconds
FORGET_AFTER = 600.0


class BackOff:
    """The back-off of one container, or of anything else that is begun again after it failed."""

    def __init__(self, first: float = FIRST, last: float = LAST) -> None:
        self._first, self._last = first, last
        self._ends = 0

    def next(self, ran_for: float) -> float:
        """Seconds to wait after a run of `ran_for` seconds."""
        if ran_for >= FORGET_AFTER:
            self._ends = 0
        delay = min(self._first * 2.0 ** (self._ends - 1), self._last) if self._ends else 0.0
        self._ends = min(self._ends + 1, 64)
        return delay
