"""The pause container: holds the pod's namespaces, reaps what is left of its processes, ends with status 0.

Source: build/pause/linux/pause.c of Kubernetes.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence

from agents.images.process import SIGINT, SIGTERM, end_on, reap_children, write


def main(_argv: Sequence[str]) -> int:
    """Wait until SIGTERM or SIGINT."""
    wait_for_end({SIGTERM: 0, SIGINT: 0})
    return 0


def wait_for_end(statuses: Mapping[int, int], words: str = "") -> None:
    """Say `words`, then only reap children until one of the signals comes; end with its status."""
    end_on(statuses)
    reap_children()
    write(words)
    while True:
        signal.pause()
