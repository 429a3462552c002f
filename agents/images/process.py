"""What every stand-in does with its own process: log lines, its name, the signals that end it.

A forked process pays for each page that it touches, and a refcount is a touch: `_signal.signal` is the C
function below `signal.signal`, whose conversion of the old handler to an enum alone touches 170 KiB.

Invariant: a stand-in ends at once on SIGTERM with the status that the real program ends with. A handler is
needed for that even where the default would do: the first process of a pid namespace ignores signals that it
does not handle (pid_namespaces(7)).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # CPython's own, see above; typeshed leaves it out
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping

STDOUT, STDERR = 1, 2
# Plain numbers: hashing an enum's member runs Python code.
SIGINT, SIGQUIT, SIGTERM, SIGCHLD, SIGWINCH, SIGPIPE = map(
    int, (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD, signal.SIGWINCH, signal.SIGPIPE)
)


def write(text: str, fd: int = STDOUT) -> None:
    """Write to the container's log, unbuffered. A log whose reader has gone is no reason to end."""
    try:
        os.write(fd, text.encode("utf-8", "replace"))
    except (BrokenPipeError, BlockingIOError):
        pass


def log(line: str) -> None:
    """One line as Go's standard logger writes it: `2026/01/31 12:00:00 line`, on stderr."""
    write(f"{time.strftime('%Y/%m/%d %H:%M:%S', time.gmtime())} {line}\n", STDERR)


def hostname() -> str:
    """The name of the pod: that of its UTS namespace."""
    return socket.gethostname()


def end_on(signals: Mapping[int, int]) -> None:
    """End at once with the given status when one of these signals comes: {signal number: exit status}.

    A write to a client that has gone becomes an error: a container starts with SIGPIPE at its default.
    """

    def end(number: int, _frame: object) -> None:
        os._exit(signals[number])

    _signal.signal(SIGPIPE, _signal.SIG_IGN)
    for number in signals:
        _signal.signal(number, end)


def call_on(number: int, handler: Callable[[], None]) -> None:
    """Call `handler` when the signal comes, between any two steps of the program: it may do little."""
    _signal.signal(number, lambda _number, _frame: handler())


def reap_children() -> None:
    """Collect each child when it ends, also those that the kernel hands to a container's first process."""

    def reap() -> None:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    call_on(SIGCHLD, reap)
