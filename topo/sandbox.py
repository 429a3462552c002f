"""The sandbox: fresh namespaces around a whole lab, whose first process is the lab's supervisor.

    minipod up ──fork──> entry ──unshare, fork──> pid 1 of the sandbox ──exec──> supervisor
        │  <── "unshared" ──┤                          │
        ├── uid_map, gid_map, "mapped" ──>             │ waits for "go" on the lifeline
        │  <── host pid ────┘ exits                    │
        └──────────────── lifeline ────────────────────┘

Invariants:
- The lab lives as long as its first process; the kernel ends every other process with it and frees every namespace,
  mount, link and rule. Nothing has to be cleaned up.
- Until the starter says "keep", the lifeline's end ends the lab: whoever is killed, at whichever moment, nobody
  stays behind. No step relies on a death signal, which a parent that dies early would outrun; each end of every
  handshake sees the other's end of file.
- No process of the lab is the host's root, unless the lab was started with `privileged`.

Sources: user_namespaces(7) "Defining user and group ID mappings", pid_namespaces(7), newuidmap(1), subuid(5).
"""

import ctypes
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from topo import rootfs, syscalls

NAMESPACES = (
    syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWCGROUP
)
# The host's ids that a lab has when root starts it. Neither accounts nor the subordinate ranges that useradd(8) gives
# them (from 100000 on) come up here, so no user's own user namespace holds an id of a lab.
ROOT_RANGE = (2_000_000_000, 65_536)
_PR_SET_DUMPABLE = 4


class SandboxError(Exception):
    """The sandbox could not be made; the message names the step, the fact and the next step."""


class UserNamespaceRefused(SandboxError):
    """This kernel, or the container around it, allows no user namespace with a /proc of its own."""


_REFUSED = "no user namespace: "


def error_of(text: str) -> SandboxError:
    """The error that a process on the other side of a handshake told as text."""
    return UserNamespaceRefused(text) if text.startswith(_REFUSED) else SandboxError(text)


@dataclass(frozen=True)
class Plan:
    """What to run as the sandbox's first process, and what it may see.

    argv: the command, run with the sandbox's file tree. environment: all of its environment.
    code: folder shown at rootfs.CODE; state: folder shown at rootfs.STATE, owned by the sandbox's root.
    log: descriptor for its standard output and error. inherited: descriptors that it keeps, under the same numbers.
    privileged: stay the host's root, without a user namespace.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    code: Path
    state: Path
    log: int
    inherited: Sequence[int] = field(default_factory=tuple)
    privileged: bool = False


@dataclass
class Sandbox:
    """A started sandbox as its starter holds it: the first process's pid on the host, and the lifeline to it."""

    pid: int
    lifeline: socket.socket

    def kill(self) -> None:
        """End the sandbox with all that is in it, now."""
        self.lifeline.close()
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)


def start(plan: Plan) -> Sandbox:
    """Make the namespaces and start `plan.argv` in them.

    Must be called from a process with a single thread. Raises SandboxError; nothing is left behind then.
    """
    if not plan.privileged:
        first, _ = _root_of_map()
        if first != os.geteuid():
            for path in (plan.state, *plan.state.iterdir()):
                os.chown(path, first, first, follow_symlinks=False)
    lifeline, lab_end = socket.socketpair()
    ours, theirs = socket.socketpair()
    entry = os.fork()
    if entry == 0:
        lifeline.close()
        ours.close()
        _run_entry(plan, theirs, lab_end)
    lab_end.close()
    theirs.close()
    try:
        pid = _bring_up(entry, ours, privileged=plan.privileged)
        lifeline.sendall(b"go\n")
        return Sandbox(pid, lifeline)
    except BaseException:
        lifeline.close()
        raise
    finally:
        ours.close()
        os.waitpid(entry, 0)


def _bring_up(entry: int, ours: socket.socket, *, privileged: bool) -> int:
    """The starter's side of the handshake. Returns the first process's pid as the host sees it."""
    _expect(ours, "unshared")
    if not privileged:
        _write_id_maps(entry)
    ours.sendall(b"mapped\n")
    return int(_expect(ours, "pid").split()[1])


def _expect(channel: socket.socket, word: str) -> str:
    line = channel.recv(4096).decode(errors="replace").strip()
    if line.split(" ", 1)[0] != word:
        raise error_of(line or "sandbox: its entry process ended before it was ready: try again")
    return line


def _run_entry(plan: Plan, starter: socket.socket, lifeline: socket.socket) -> NoReturn:
    """In the entry process: leave the terminal, unshare, fork the first process, tell its pid, and go."""
    try:
        os.setsid()
        if not plan.privileged:
            with _refusal_named("run scripts/setup as root once, which allows user namespaces"):
                syscalls.unshare(syscalls.CLONE_NEWUSER)
        syscalls.unshare(NAMESPACES)
        # Only now: a descriptor of another mount namespace could not be bound here.
        root = rootfs.SandboxRoot.open(plan.code, plan.state)
        starter.sendall(b"unshared\n")
        if starter.recv(64) != b"mapped\n":
            os._exit(1)
        pid = os.fork()
        if pid == 0:
            starter.close()
            _run_first_process(plan, root, lifeline)
        starter.sendall(f"pid {pid}\n".encode())
        os._exit(0)
    except (OSError, SandboxError) as error:
        starter.sendall(f"{_told(error)}\n".encode())
        os._exit(1)


def _told(error: OSError | SandboxError) -> str:
    if isinstance(error, SandboxError):
        return str(error)
    return f"sandbox: {error.strerror}: see `minipod up --help`"


@contextmanager
def _refusal_named(advice: str) -> Iterator[None]:
    """An OSError within the block becomes UserNamespaceRefused, with `advice` as the next step."""
    try:
        yield
    except OSError as error:
        raise UserNamespaceRefused(f"{_REFUSED}{error.strerror}: {advice}") from None


def _run_first_process(plan: Plan, root: rootfs.SandboxRoot, lifeline: socket.socket) -> NoReturn:
    """In the sandbox's pid 1: become its root, take its file tree, and run the supervisor."""
    try:
        if lifeline.recv(3) != b"go\n":
            os._exit(1)
        os.umask(0o022)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(plan.log, 1)
        os.dup2(plan.log, 2)
        if not plan.privileged:
            _become_root_of_the_sandbox()
        rootfs.prepare_sandbox_root(root)
        if plan.privileged:
            rootfs.mount_proc()
        else:
            with _refusal_named("a container that masks parts of /proc allows no new one: unmask them"):
                rootfs.mount_proc()
        rootfs.enter_sandbox_root()
        syscalls.sethostname("minipod")
        keep = {0, 1, 2, lifeline.fileno(), *plan.inherited}
        _close_all_but(keep)
        for descriptor in keep:
            os.set_inheritable(descriptor, True)
        environment = {**plan.environment, "MINIPOD_LIFELINE": str(lifeline.fileno())}
        os.execve(plan.argv[0], list(plan.argv), environment)
    except (OSError, SandboxError) as error:
        lifeline.sendall(f"error {_told(error)}\n".encode())
        os._exit(1)


def _become_root_of_the_sandbox() -> None:
    if Path("/proc/self/setgroups").read_text().strip() == "allow":
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    # A change of ids makes a process undumpable, and /proc/self/fd unreadable to itself; see prctl(2).
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def _close_all_but(keep: set[int]) -> None:
    start = 0
    for descriptor in sorted(keep):
        if start < descriptor:  # closerange(n, n) would close all from n on
            os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))


def _root_of_map() -> tuple[int, int]:
    """The host's id that the sandbox's root is, and how many ids follow it."""
    return ROOT_RANGE if os.geteuid() == 0 else (os.geteuid(), 1)


def _write_id_maps(pid: int) -> None:
    """Map the sandbox's ids, from outside of it, where the rights for it are."""
    if os.geteuid() != 0 and _map_subordinate_range(pid):
        return
    first, count = _root_of_map()
    try:
        if os.geteuid() != 0:
            Path(f"/proc/{pid}/setgroups").write_text("deny")
        Path(f"/proc/{pid}/uid_map").write_text(f"0 {first} {count}")
        group = first if os.geteuid() == 0 else os.getegid()
        Path(f"/proc/{pid}/gid_map").write_text(f"0 {group} {count}")
    except OSError as error:
        raise SandboxError(f"sandbox: uid_map: {error.strerror}: see user_namespaces(7)") from None


def _map_subordinate_range(pid: int) -> bool:
    """Map root to the user and the ids from 1 on to the range that /etc/subuid grants; False when there is none."""
    if not (shutil.which("newuidmap") and shutil.which("newgidmap")):
        return False
    ranges = [_subordinate_range(path) for path in ("/etc/subuid", "/etc/subgid")]
    if None in ranges:
        return False
    for tool, own, granted in zip(
        ("newuidmap", "newgidmap"), (os.geteuid(), os.getegid()), ranges, strict=True
    ):
        assert granted is not None
        argv = [tool, str(pid), "0", str(own), "1", "1", str(granted[0]), str(granted[1])]
        if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
            return False
    return True


def _subordinate_range(path: str) -> tuple[int, int] | None:
    names = {getpass.getuser(), str(os.geteuid())}
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, numbers = line.partition(":")
        if name in names and numbers.count(":") == 1:
            first, count = (int(number) for number in numbers.split(":"))
            return first, min(count, 65_535)
    return None


def python_argv(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of Minipod inside the sandbox."""
    return [sys.executable, "-m", module, *arguments]
