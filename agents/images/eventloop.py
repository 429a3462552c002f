"""One process, many sockets: readiness from epoll, timers from a heap. No threads, nothing that costs while
idle.

    epoll.poll(until the next timer) -> (fd, events) -> the callback that was registered for fd

asyncio does the same and more; a forked stand-in would carry hundreds of KiB of it. Invariant: a loop without
ready sockets and due timers does not run. Source: epoll(7), level-triggered.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
_AT_ONCE = 64  # events taken in one turn, so that a flood on one socket cannot starve the timers


class Loop:
    """Calls back when a file descriptor is ready or a time has come."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def add(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback(events)` whenever `fd` is ready for one of `events` (READ, WRITE)."""
        self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def change(self, fd: int, events: int) -> None:
        """Wait for other events on `fd`; 0 waits for none."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Forget `fd`; to be called before it is closed."""
        if self._callbacks.pop(fd, None):
            self._epoll.unregister(fd)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call once after `seconds`."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), callback))

    def close(self) -> None:
        """Give the descriptor back; the loop cannot run any more."""
        self._epoll.close()

    def run(self) -> None:
        """Serve until the process ends."""
        while True:
            self.run_once()

    def run_once(self) -> None:
        """Wait for one batch of events or the next timer, and serve it."""
        timeout = max(self._timers[0][0] - time.monotonic(), 0.0) if self._timers else -1.0
        for fd, events in self._epoll.poll(timeout, _AT_ONCE):
            callback = self._callbacks.get(fd)
            if callback:  # an earlier callback of this batch may have removed it
                callback(events)
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()
