"""The start of a container that needs no interpreter: one that executes a program, or one that only waits for its end.

    clone ──> pid 1 of its own pid namespace: session, terminal or pipes, no other descriptor, /proc, signals
          ──> read: until the supervisor knows of it    send: SIGPIPE ends it when whoever should have told is gone
          ──> execve, or sigwait until SIGTERM or SIGINT and _exit(0)

One that only waits says SETTLED before it reads: nothing can fail any more then, so that the supervisor is told once
that it is there and that it runs. Whether a program can be executed is seen only when it has been told to.

What `topo.container` says in Python, said by topo.native.

Source: the OCI runtime specification, "Lifecycle"; Kubernetes' build/pause/linux/pause.c; pid_namespaces(7).
"""

import errno
import os
import signal
import stat
import termios
from collections.abc import Mapping
from typing import Any

from topo import capabilities
from topo.native import Call, Chain, address, signal_set, strings
from topo.rootfs import PROC_FLAGS
from topo.stdio import Stdio
from topo.syscalls import PR_SET_NAME

WAIT = "wait"  # in place of a stand-in's "module:function"
SETTLED = b"settled"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LAST_DESCRIPTOR = (1 << 32) - 1
_IGNORE, _DEFAULT = 1, 0  # SIG_IGN, SIG_DFL
_ENDS = signal_set([signal.SIGTERM, signal.SIGINT])


def is_native(spec: Mapping[str, Any]) -> bool:
    """Whether a container is started by a chain."""
    return spec["standin"] in ("", WAIT)


def chain_of(spec: Mapping[str, Any], report: int, stdio: Stdio) -> Chain:
    """The calls of a container's first process. `report`: its end of a stream, which closes when its program runs.

    To be called within the container's root. Raises OSError when there is no such program.
    """
    settling = _settling(report, stdio, spec["confined"])
    if spec["standin"] == WAIT:
        return Chain([*settling, *_waiting(spec, report)], _ENDS)
    return Chain([*settling, *_told(report), *_executing(spec)])


def refusal(spec: Mapping[str, Any], number: int) -> str:
    """The usual message of a container runtime for a program that cannot be executed."""
    return f'exec: "{spec["argv"][0]}": {os.strerror(number).lower()}'


def _settling(report: int, stdio: Stdio, confined: bool) -> list[Call]:
    """What both have in common."""
    terminal: list[Call] = [("ioctl", 0, termios.TIOCSCTTY, 0)] if stdio.tty else []
    return [
        ("setsid",),
        *(("dup2", descriptor, number) for number, descriptor in enumerate(stdio.theirs)),
        *terminal,
        ("close_range", 3, report - 1, 0),
        ("close_range", report + 1, _LAST_DESCRIPTOR, 0),
        ("mount", b"proc", b"/proc", b"proc", PROC_FLAGS, None),
        *([("capset", capabilities.HEADER, capabilities.confined())] if confined else ()),
        ("signal", signal.SIGPIPE, address("_exit")),
    ]


def _told(report: int) -> list[Call]:
    """Until the supervisor knows of the process."""
    return [("read", report, bytes(8), 1), ("send", report, b"", 0, 0)]


def _waiting(spec: Mapping[str, Any], report: int) -> list[Call]:
    name = os.path.basename(spec["argv"][0]).encode()
    return [
        ("prctl", PR_SET_NAME, name),
        ("signal", signal.SIGCHLD, _IGNORE),  # the kernel reaps what is left to it
        # They are blocked, and sigwait takes them: this is only to be seen as having decided about them.
        ("signal", signal.SIGTERM, address("_exit")),
        ("signal", signal.SIGINT, address("_exit")),
        ("send", report, SETTLED, len(SETTLED), 0),
        *_told(report),
        ("close", report),
        ("sigwait", _ENDS, bytes(8)),
        ("_exit", 0),
    ]


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
