"""The start of a container that needs no interpreter: one that executes a program, or one that only waits for its end.

    clone ──> pid 1 of its own pid namespace: no descriptor but its own, the pod's namespaces, session, terminal or
              pipes, /proc, signals, SETTLED
          ──> read: until the supervisor knows of it    send: SIGPIPE ends it when whoever should have told is gone
          ──> execve, or sigwait until SIGTERM or SIGINT and _exit(0)

It begins with the descriptors of the process that starts it (a table of its own would be copied in full, whatever it is
to have), which leaves those alone that are to be the container's until SETTLED has come, and starts others meanwhile.
For one that only waits, nothing can fail any more then: the supervisor is told once that it is there and that it runs.
Whether a program can be executed is seen only when it has been told to.

What `topo.container` says in Python, said by topo.native.

Source: the OCI runtime specification, "Lifecycle"; Kubernetes' build/pause/linux/pause.c; pid_namespaces(7).
"""

import errno
import os
import select
import signal
import socket
import stat
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from topo import capabilities
from topo.native import Call, Chain, address, signal_set, strings
from topo.rootfs import PROC_FLAGS
from topo.syscalls import POD_NAMESPACES, PR_SET_NAME

WAIT = "wait"  # in place of a stand-in's "module:function"
_SETTLED = b"settled"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LAST_DESCRIPTOR, _CLOSE_RANGE_UNSHARE = (1 << 32) - 1, 2
_IGNORE, _DEFAULT = 1, 0  # SIG_IGN, SIG_DFL
_ENDS = signal_set([signal.SIGTERM, signal.SIGINT])


def is_native(spec: Mapping[str, Any]) -> bool:
    """Whether a container is started by a chain."""
    return spec["standin"] in ("", WAIT)


@dataclass(frozen=True)
class Slots:
    """The descriptors from which a container takes its own: the report, what becomes its 0, 1 and 2, and its pod.

    They are among the lowest of whoever starts it, so that only a few are copied.
    """

    report: int
    stdio: tuple[int, int, int]
    pod: int

    @classmethod
    def reserve(cls) -> "Slots":
        """Take five numbers for as long as this process lives."""
        report, one, two, three, pod = (os.open(os.devnull, os.O_RDONLY) for _ in range(5))
        return cls(report, (one, two, three), pod)

    @property
    def _all(self) -> tuple[int, ...]:
        return (self.report, *self.stdio, self.pod)

    @property
    def last(self) -> int:
        """The highest of the numbers."""
        return max(self._all)

    def fill(self, report: int, stdio: Sequence[int], pod: int) -> None:
        """Put a container's descriptors there, which stay open where they are."""
        for descriptor, place in zip((report, *stdio, pod), self._all, strict=True):
            os.dup2(descriptor, place, inheritable=False)

    def clear(self, nothing: int) -> None:
        """Let go of a container's descriptors; `nothing` stays in their place."""
        self.fill(nothing, (nothing, nothing, nothing), nothing)


def chain_of(spec: Mapping[str, Any], slots: Slots, *, tty: bool) -> Chain:
    """The calls of a container's first process. The report is its end of a stream, which closes when its program runs.

    To be called within the container's root. Raises OSError when there is no such program.
    """
    if spec["standin"] == WAIT:
        name = os.path.basename(spec["argv"][0])
        return _waiting_chain(name, slots, tty, spec["confined"]).another()
    settling = _settling(slots, tty, spec["confined"])
    return Chain([*settling, *_settled(slots.report), *_executing(spec)])


@lru_cache(maxsize=64)
def _waiting_chain(name: str, slots: Slots, tty: bool, confined: bool) -> Chain:
    """The one from which those of all containers are made that only wait, and under the same name."""
    before, after = _waiting(name, slots.report)
    return Chain([*_settling(slots, tty, confined), *before, *_settled(slots.report), *after], _ENDS)


def settles(report: socket.socket, pidfd: int) -> bool:
    """Wait until a chain's process is what it was to be and says so; False when it ends before."""
    poll = select.poll()
    for descriptor in (report.fileno(), pidfd):
        poll.register(descriptor, select.POLLIN)
    poll.poll()
    try:
        return report.recv(len(_SETTLED), socket.MSG_DONTWAIT) == _SETTLED
    except BlockingIOError:
        return False


def refusal(spec: Mapping[str, Any], number: int) -> str:
    """The usual message of a container runtime for a program that cannot be executed."""
    return f'exec: "{spec["argv"][0]}": {os.strerror(number).lower()}'


def _settling(slots: Slots, tty: bool, confined: bool) -> list[Call]:
    """What both have in common."""
    terminal: list[Call] = [("ioctl", 0, termios.TIOCSCTTY, 0)] if tty else []
    report, others = slots.report, slots.last + 1
    return [
        ("close_range", others, _LAST_DESCRIPTOR, _CLOSE_RANGE_UNSHARE),
        ("setns", slots.pod, POD_NAMESPACES),
        ("setsid",),
        *(("dup2", descriptor, number) for number, descriptor in enumerate(slots.stdio)),
        *terminal,
        ("close_range", 3, report - 1, 0),
        ("close_range", report + 1, others, 0),
        ("mount", b"proc", b"/proc", b"proc", PROC_FLAGS, None),
        *([("capset", capabilities.HEADER, capabilities.confined())] if confined else ()),
        ("signal", signal.SIGPIPE, address("_exit")),
    ]


def _settled(report: int) -> list[Call]:
    """Say so; then wait until the supervisor knows of the process."""
    return [
        ("send", report, _SETTLED, len(_SETTLED), 0),
        ("read", report, bytes(8), 1),
        ("send", report, b"", 0, 0),
    ]


def _waiting(name: str, report: int) -> tuple[list[Call], list[Call]]:
    """What comes before the process is told to go on, and after."""
    before: list[Call] = [
        ("prctl", PR_SET_NAME, name.encode()),
        ("signal", signal.SIGCHLD, _IGNORE),  # the kernel reaps what is left to it
        # They are blocked, and sigwait takes them: this is only to be seen as having decided about them.
        ("signal", signal.SIGTERM, address("_exit")),
        ("signal", signal.SIGINT, address("_exit")),
    ]
    return before, [("close", report), ("sigwait", _ENDS, bytes(8)), ("_exit", 0)]


def _executing(spec: Mapping[str, Any]) -> list[Call]:
    """A handler does not survive execve; what Python ignores would."""
    program = _program(spec["argv"][0], spec["env"].get("PATH", PATH))
    environment = strings(f"{name}={value}" for name, value in spec["env"].items())
    return [
        ("signal", signal.SIGXFSZ, _DEFAULT),
        ("execve", os.fsencode(program), strings(spec["argv"]), environment),
        ("_exit", 127),
    ]


def _program(name: str, path: str) -> str:
    """Where a program is, as execvp(3) looks for it. Raises OSError with a container runtime's usual message."""
    candidates = [name] if "/" in name else [f"{folder}/{name}" for folder in path.split(":")]
    there = [candidate for candidate in candidates if os.path.exists(candidate)]
    for candidate in there:
        if stat.S_ISREG(os.stat(candidate).st_mode) and os.access(candidate, os.X_OK):
            return candidate
    where = "no such file or directory" if "/" in name else "executable file not found in $PATH"
    number = errno.EACCES if there else errno.ENOENT
    raise OSError(number, f'exec: "{name}": {os.strerror(number).lower() if there else where}')
