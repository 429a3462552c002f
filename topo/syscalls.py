"""The dozen Linux system calls that Python 3.11 has no name for, as functions that raise OSError.

Sources: clone(2), unshare(2), setns(2), mount(2), mount_setattr(2), pivot_root(2), switch_root(8), umount2(2),
prctl(2), sethostname(2), inotify(7).
"""

import ctypes
import fcntl
import os
import resource
import signal
import struct

CLONE_VM = 0x00000100
CLONE_FS = 0x00000200
CLONE_FILES = 0x00000400
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
POD_NAMESPACES = CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC  # which the containers of a pod have in common

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

IN_MODIFY = 0x00000002
IN_CLOSE_WRITE = 0x00000008
IN_ATTRIB = 0x00000004
IN_MOVE_SELF = 0x00000800

PR_SET_NAME = 15

_SYS_CLONE, _SYS_PIVOT_ROOT = {"x86_64": (56, 155), "aarch64": (220, 41)}.get(os.uname().machine, (0, 0))

_SYS_MOUNT_SETATTR, _AT_FDCWD = 442, -100
_READ_ONLY = struct.pack("=QQQQ", 1, 0, 0, 0)  # struct mount_attr: MOUNT_ATTR_RDONLY is set, nothing cleared

_libc = ctypes.CDLL(None, use_errno=True)
# Unlike CDLL, PyDLL keeps the interpreter's lock across the call: a forked child comes back holding it.
_libc_locked = ctypes.PyDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Move the calling thread into fresh namespaces (CLONE_NEW*) or its own file-system state (CLONE_FS)."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, flags: int) -> None:
    """Move the calling thread into the namespaces behind `fd`: a /proc/PID/ns file or a pidfd (Linux 5.8)."""
    _check(_libc.setns(fd, ctypes.c_int(flags)), "setns")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """Mount a file system, see mount(2); an empty string stands for NULL."""
    result = _libc.mount(
        source.encode() or None,
        target.encode(),
        fstype.encode() or None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _check(result, f"mount {fstype or 'bind'} {source} on {target}")


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Show `source` (with all that is mounted below it) at `target`, which must exist."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        make_read_only(target)


def make_read_only(target: str) -> None:
    """Make a mount read-only, and leave its other settings as they are: mount_setattr(2), Linux 5.12."""
    path = target.encode()
    result = _libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, path, 0, _READ_ONLY, len(_READ_ONLY))
    _check(result, f"mount read-only {target}")


def unmount(target: str) -> None:
    """Detach a mount now; the kernel frees it when its last user is gone."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root(new_root: str) -> None:
    """Make `new_root` (a mount point) the root of this mount namespace and let go of the old one.

    The old root is stacked on the new one and detached at once, so that no directory for it is needed; see
    pivot_root(2), "pivot_root(".", ".")".
    """
    os.chdir(new_root)
    _check(_libc.syscall(_SYS_PIVOT_ROOT, b".", b"."), f"pivot_root {new_root}")
    _check(_libc.umount2(b".", MNT_DETACH), "umount old root")
    os.chdir("/")


def switch_root(new_root: str) -> None:
    """Make `new_root` (a mount point) the root of this mount namespace, on top of the old one.

    What switch_root(8) does. Unlike pivot_root, it need not look at every thread of the machine, which may have the
    old root as its own: it costs the same with thousands of processes. For a process that is alone in its namespace.
    """
    os.chdir(new_root)
    mount(".", "/", flags=MS_MOVE)
    os.chroot(".")
    os.chdir("/")


def clone(flags: int) -> int:
    """fork(2) into fresh namespaces: returns the child's pid, and 0 in the child.

    Only for a process with a single thread. The child shares nothing with its parent but what fork shares.
    """
    ctypes.pythonapi.PyOS_BeforeFork()  # these three are what os.fork does around the system call
    pid: int = _libc_locked.syscall(_SYS_CLONE, ctypes.c_ulong(flags | signal.SIGCHLD), 0, 0, 0, 0)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    return _check(pid, "clone")


# One page for all of them: a process that only pauses comes no further than its system call.
_PAUSE_STACK = ctypes.create_string_buffer(4096)
_PAUSE_STACK_TOP = ctypes.c_void_p((ctypes.addressof(_PAUSE_STACK) + len(_PAUSE_STACK)) & ~15)


def clone_pause(flags: int) -> int:
    """Start a process that does nothing but pause(2), in fresh namespaces (CLONE_NEW*). Returns its pid.

    It runs libc's own function in this process's memory (CLONE_VM), so nothing is copied for it and nothing of it is
    written; it stays when this process ends. Its name is this thread's at the moment of the call.
    """
    pause = ctypes.cast(_libc.pause, ctypes.c_void_p)
    flags |= CLONE_VM | signal.SIGCHLD
    return _check(_libc_locked.clone(pause, _PAUSE_STACK_TOP, ctypes.c_int(flags), None), "clone")


def expect_descriptors(count: int) -> None:
    """Let the kernel make room for this many open descriptors now.

    A table that threads or other processes share is made larger only when no processor can be looking at the smaller
    one any more (a grace period of RCU, some milliseconds). So this is for the time when nobody shares it yet.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = min(count, most) - 1
    os.close(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, last))


def inotify_open() -> int:
    """A descriptor that becomes readable when a watched file changes; see inotify(7)."""
    return _check(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1")


def inotify_watch(descriptor: int, path: str, mask: int) -> None:
    """Watch a file for the events of `mask` (IN_*)."""
    _check(
        _libc.inotify_add_watch(descriptor, path.encode(), ctypes.c_uint32(mask)), f"inotify_add_watch {path}"
    )


def sethostname(name: str) -> None:
    """Name the calling process's UTS namespace; at most 64 bytes."""
    raw = name.encode()
    _check(_libc.sethostname(raw, len(raw)), f"sethostname {name}")


def set_process_name(name: str) -> None:
    """What `ps` shows for this thread; cut to 15 bytes."""
    _check(_libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0), "prctl PR_SET_NAME")
