"""Going into somebody's namespaces: run a command, or open a socket, as if one were there.

    thread ──setns(them)──> posix_spawn / socket() ──setns(own)──> thread, back home
                                   │
                                   └─> the process, or the socket, stays in their namespaces

A namespace belongs to a thread. So a thread goes in, makes what it came for and comes back; what it made stays.
The cost does not grow with the number of namespaces, unlike `ip netns exec`, which mounts its way through them.

Invariant: a thread that cannot come home ends the process, rather than going on in the wrong network.

Sources: setns(2), pidfd_open(2), namespaces(7), `CLONE_FS` in unshare(2).
"""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from topo import syscalls
from topo.netlink import NetlinkError, Request, Rtnetlink

T = TypeVar("T")

MOUNT, NETWORK, UTS = syscalls.CLONE_NEWNS, syscalls.CLONE_NEWNET, syscalls.CLONE_NEWUTS
MACHINE = MOUNT | NETWORK | UTS
POD = MACHINE | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWPID
_FILES = {
    MOUNT: "mnt",
    NETWORK: "net",
    UTS: "uts",
    syscalls.CLONE_NEWIPC: "ipc",
    syscalls.CLONE_NEWPID: "pid_for_children",
}

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Completed:
    """What a command left: its exit status (minus the signal's number when one ended it) and its two outputs."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


class Namespaces:
    """Open descriptors of the namespaces of a machine or a pod. They keep a machine's network alive by themselves."""

    def __init__(self, descriptors: Sequence[tuple[int, int]]) -> None:
        """`descriptors`: pairs of a descriptor (a /proc/PID/ns file, or a pidfd) and the CLONE_NEW* flags it is for."""
        self._descriptors = tuple(descriptors)

    @classmethod
    def of_thread(cls, flags: int = MACHINE) -> "Namespaces":
        """Those that the calling thread is in, held by their files, so that they outlive every process in them."""
        files = [(flag, name) for flag, name in _FILES.items() if flags & flag]
        return cls([(os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY), flag) for flag, name in files])

    @classmethod
    def of_process(cls, pidfd: int, flags: int = POD) -> "Namespaces":
        """Those of a process. Takes over the pidfd; entering fails with ESRCH once the process is gone."""
        return cls([(pidfd, flags)])

    def descriptor(self, kind: int) -> int:
        """The descriptor that stands for one kind of namespace (NETWORK, …). Raises KeyError when none does."""
        return {flag: fd for fd, flags in self._descriptors for flag in _FILES if flags & flag}[kind]

    def close(self) -> None:
        """Let go of the descriptors."""
        for descriptor, _ in self._descriptors:
            os.close(descriptor)

    @contextmanager
    def entered(self, flags: int = POD) -> Iterator[None]:
        """Within the block the calling thread is in these namespaces (of the kinds in `flags`). Raises OSError."""
        home = _home()
        if flags & MOUNT:
            # setns refuses a mount namespace to a thread that shares its root, as each does with those that it starts.
            syscalls.unshare(syscalls.CLONE_FS)
        went = self.join(flags)
        try:
            yield
        finally:
            home.arrive(went)

    def join(self, flags: int = POD) -> int:
        """Move the calling thread in for good (for a mount namespace it must have a root of its own, CLONE_FS).

        Returns the kinds of namespaces that it joined. Raises OSError.
        """
        joined = 0
        for descriptor, kinds in self._descriptors:
            if kinds & flags:
                syscalls.setns(descriptor, kinds & flags)
                joined |= kinds & flags
        return joined

    def arrive(self, flags: int) -> None:
        """`join` for a thread that comes home: when it cannot, the process ends rather than go on in a wrong place."""
        try:
            self.join(flags)
        except OSError as error:
            os.write(2, f"enter: cannot leave a namespace: {error}\n".encode())
            os._exit(70)

    def call(self, function: Callable[[], T], flags: int = NETWORK) -> T:
        """`function()`, called in these namespaces: for sockets, which stay where they are made."""
        with self.entered(flags):
            return function()

    def popen(self, argv: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        """Start a command there, with its root folder as working folder. Options are subprocess.Popen's."""
        options.setdefault("env", environment())
        with self.entered():
            return subprocess.Popen(list(argv), **options)

    def run(self, argv: Sequence[str], stdin: str = "", env: Mapping[str, str] | None = None) -> Completed:
        """Run a command there to its end. A command that is not there gives status 127, as in a shell."""
        try:
            process = self.popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=env or environment(),
            )
        except (FileNotFoundError, PermissionError) as error:
            return Completed(tuple(argv), 127, "", f"{argv[0]}: {error.strerror}")
        stdout, stderr = process.communicate(stdin)
        return Completed(tuple(argv), process.returncode, stdout, stderr)


@cache
def _home() -> Namespaces:
    """The namespaces that every thread of this process starts in; taken before the first one leaves them."""
    return Namespaces.of_thread(POD)


def environment() -> dict[str, str]:
    """The environment of a command on a machine: a search path, a locale, a home."""
    return {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root", "TERM": os.environ.get("TERM", "xterm")}


class Links:
    """The `ip -batch` of one network namespace, in process where `topo.netlink` can compile it."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._rtnetlink = namespaces.call(Rtnetlink)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the netlink socket."""
        self._rtnetlink.close()

    def batch(self, text: str, requests: Sequence[Request] | None) -> Completed:
        """Run the lines of `text`, given with what `compile_batch` made of it; stops at the first that fails."""
        if requests is None:
            return self._namespaces.run(["ip", "-batch", "-"], text)
        try:
            with self._lock:
                self._rtnetlink.send(requests)
        except NetlinkError as error:
            return Completed(("ip", "-batch", "-"), 2, "", str(error.strerror))
        return Completed(("ip", "-batch", "-"), 0, "", "")
