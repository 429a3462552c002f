"""A process for code that nobody trusts: it may compute, and talk to whoever started it. Nothing else.

    starter ──pipes──> launcher: python -I -S, one thread
                          │ own user, mount, pid, ipc, uts, cgroup (and network) namespaces
                          └─fork─> pid 1 of them: a file tree of its own, no rights, limits, a filter on system calls
                                   `confine` returns here, and only here

What each wall is for:

    network namespace   no packet leaves: it holds nothing, not even a loopback that is up
    mount namespace     a tmpfs that is read-only, with the standard library and the given files: no reference, no state
    pid namespace       sees and signals nobody; when it ends, everything in it ends
    user namespace      no capability outside; none inside either, and no_new_privs so that none can come
    limits              memory, processor time, open files, no file written, no core dump
    system calls        topo/system_calls.py: no process, thread, program, namespace, socket

Invariant: `confine` either returns in a process behind all of these walls or does not return.

Sources: user_namespaces(7), pid_namespaces(7), capabilities(7), prctl(2), setrlimit(2), capset(2).
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from topo import capabilities, syscalls, system_calls

NOBODY = 65534
_NEW_ROOT = "/run"
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_FAILED = 70  # the launcher's exit status when a wall could not be built


@dataclass(frozen=True)
class Confinement:
    """What the process may have.

    files: path -> text, all that it sees besides the standard library. network: keep the caller's network namespace,
    and make sockets in it. memory: bytes of address space. cpu: seconds of processor time in its whole life.
    descriptors: how many may be open.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    memory: int = 512 << 20
    cpu: int = 60
    descriptors: int = 32


def confine(plan: Confinement) -> None:
    """Go behind the walls; the calling process stays outside as the launcher and ends when the confined one does.

    For a fresh process with a single thread. Returns in the confined process; when a wall cannot be built, the
    process ends with status 70 and says why on standard error.
    """
    try:
        _take_another_id()
        _unshare(plan.network)
        launcher = os.getpid()
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            ended = os.waitstatus_to_exitcode(status)
            os._exit(ended if ended >= 0 else 128 - ended)  # as a shell tells of a signal
        _end_with(launcher)
        _take_file_tree(plan.files)
        _limit(plan)
        _drop_rights()
        calls = system_calls.COMPUTE | (system_calls.SOCKETS if plan.network else {})
        system_calls.restrict(calls)
    except (OSError, KeyError) as error:
        os.write(2, f"confinement: {error}\n".encode())
        os._exit(_FAILED)


def _take_another_id() -> None:
    """Be nobody, where we may be; a user namespace with one id leaves us no other."""
    if os.geteuid() == 0:
        try:
            if os.path.exists("/proc/self/setgroups") and _text("/proc/self/setgroups").strip() == "allow":
                os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        except OSError:
            return
        _prctl(_PR_SET_DUMPABLE, 1)  # a change of ids closes /proc/self to ourselves


def _unshare(network: bool) -> None:
    uid, gid = os.geteuid(), os.getegid()
    flags = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC
    flags |= syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWCGROUP | (0 if network else syscalls.CLONE_NEWNET)
    syscalls.unshare(flags)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{NOBODY} {uid} 1"),
        ("gid_map", f"{NOBODY} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _end_with(launcher: int) -> None:
    """Die when the launcher does: whoever kills it has killed us."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if not os.path.exists(f"/proc/{launcher}"):  # this /proc is still the launcher's
        os._exit(_FAILED)


def _take_file_tree(files: Mapping[str, str]) -> None:
    """A read-only tree: where the interpreter's libraries are, two devices, and `files`."""
    new = _NEW_ROOT
    libraries = [path for path in ("/usr/lib", "/usr/lib32", "/usr/lib64", sys.base_prefix) if _is_ours(path)]
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("tmpfs", new, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=755,size=16m")
    for path in libraries:
        os.makedirs(f"{new}{path}")
        syscalls.bind(path, f"{new}{path}", read_only=True)
    for path in ("/lib", "/lib32", "/lib64"):
        if os.path.islink(path):
            os.symlink(os.readlink(path), f"{new}{path}")
    os.mkdir(f"{new}/dev")
    for device in ("/dev/null", "/dev/urandom"):
        os.close(os.open(f"{new}{device}", os.O_CREAT | os.O_WRONLY, 0o644))
        syscalls.bind(device, f"{new}{device}")
    for path, text in files.items():
        os.makedirs(os.path.dirname(f"{new}{path}"), exist_ok=True)
        with open(f"{new}{path}", "w") as file:
            file.write(text)
    read_only = syscalls.MS_REMOUNT | syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("tmpfs", new, "tmpfs", read_only)
    syscalls.pivot_root(new)


def _is_ours(path: str) -> bool:
    """Whether a folder is there and not below another one that is shown already."""
    return os.path.isdir(path) and not os.path.islink(path) and path != "/usr"


def _limit(plan: Confinement) -> None:
    for limit, most in (
        (resource.RLIMIT_AS, plan.memory),
        (resource.RLIMIT_CPU, plan.cpu),
        (resource.RLIMIT_NOFILE, plan.descriptors),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 1),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(limit, (most, most))


def _drop_rights() -> None:
    """No capability is left in any set, and none can come back."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    capabilities.renounce()


_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _text(path: str) -> str:
    with open(path) as file:
        return file.read()
