"""A child known by its pidfd: signalled without mistaking another for it, and reaped when it ends.

    pidfds of all pods and containers ──> one epoll(7) ──> the event loop, to which that is a single descriptor
                                            └─ readable: this one has ended ──> waitid, handler(status, signal)

The loop's own way to wait for a descriptor takes some ten times as long, twice for each pod.

Sources: pidfd_open(2), waitid(2), epoll(7) "an epoll descriptor can itself be waited for".
"""

import asyncio
import os
import select
import signal
import time
from collections.abc import Callable
from functools import cache


class Process:
    """The first process of a pod or of a container: its `pid` and its `pidfd`."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.born = time.monotonic()
        self.ended = False

    def signal(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if not self.ended:
            signal.pidfd_send_signal(self.pidfd, number)

    def when_ended(self, handler: Callable[[int, int], None]) -> None:
        """Reap it when it ends, let go of its pidfd, and call `handler(exit status, signal or 0)` then."""
        _ends_of(asyncio.get_running_loop()).wait_for(self.pidfd, lambda: handler(*self._reap()))

    def _reap(self) -> tuple[int, int]:
        result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        assert result is not None
        os.close(self.pidfd)
        self.ended = True
        by_signal = result.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
        return (128 + result.si_status, result.si_status) if by_signal else (result.si_status, 0)


class _Ends:
    """The pidfds that one event loop waits for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._ended)

    def wait_for(self, pidfd: int, handler: Callable[[], None]) -> None:
        self._handlers[pidfd] = handler
        self._epoll.register(pidfd, select.EPOLLIN)

    def _ended(self) -> None:
        """Those that are left when a handler fails are found again in the loop's next round."""
        for pidfd, _ in self._epoll.poll(0):
            self._epoll.unregister(pidfd)
            self._handlers.pop(pidfd)()


@cache
def _ends_of(loop: asyncio.AbstractEventLoop) -> _Ends:
    return _Ends(loop)
