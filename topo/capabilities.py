"""How much of root's power a container has: a container runtime's usual fourteen capabilities.

    runtime, forker     permitted: all          inheritable: all     bounding: a container's
      ├── container     permitted, effective: a container's          inheritable: none           (`confine`)
      │     └── what it executes, as root: inheritable | bounding = a container's
      └── container that is to have more: as it was born; what it executes, as root, has all

The kernel gives a program that root executes what is inheritable or in the bounding set. The bounding set of a process
can only shrink, so the runtime has shrunk its own, and what is inheritable decides: one system call for a container.

Sources: capabilities(7), "Capabilities and execution of programs by root"; capset(2); prctl(2) PR_CAPBSET_DROP; the
set is the one that containerd, CRI-O and Docker give.
"""

import ctypes
import errno
import os
import struct
from functools import cache

CONTAINER = {
    "chown": 0, "dac_override": 1, "fowner": 3, "fsetid": 4, "kill": 5, "setgid": 6, "setuid": 7, "setpcap": 8,
    "net_bind_service": 10, "net_raw": 13, "sys_chroot": 18, "mknod": 27, "audit_write": 29, "setfcap": 31,
}  # fmt: skip
MASK = sum(1 << number for number in CONTAINER.values())
HEADER = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
_SETS = struct.Struct(
    "=6I"
)  # effective, permitted, inheritable: the lower 32 bits of each, then the upper ones
_PR_CAPBSET_DROP = 24

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _permitted() -> int:
    sets = ctypes.create_string_buffer(_SETS.size)
    _check(_libc.capget(HEADER, sets), "capget")
    _, lower, _, _, upper, _ = _SETS.unpack(sets.raw)
    return int(upper << 32 | lower)


def _packed(held: int, inheritable: int) -> bytes:
    lower, upper = ([word >> shift & 0xFFFFFFFF for word in (held, held, inheritable)] for shift in (0, 32))
    return _SETS.pack(*lower, *upper)


@cache
def confined() -> bytes:
    """What capset(2) is given for a container: of its capabilities those that we have, to be called in time."""
    return _packed(_permitted() & MASK, 0)


def confine() -> None:
    """From now on this process has what a container has. Raises OSError."""
    _check(_libc.capset(HEADER, confined()), "capset")


def bound(kept: int = MASK) -> None:
    """From now on, what this thread executes has of all capabilities those in the bit mask `kept`, but for what is
    inheritable. Raises OSError.
    """
    for number in range(64):
        if not kept >> number & 1 and _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0):
            if ctypes.get_errno() == errno.EINVAL:  # one after the last that the kernel knows
                return
            _check(-1, f"prctl PR_CAPBSET_DROP {number}")


def renounce() -> None:
    """From now on neither this thread nor what it executes has any capability. Raises OSError."""
    bound(0)
    _check(_libc.capset(HEADER, _packed(0, 0)), "capset")


def keep_for_children() -> None:
    """Be ready to start containers: see the head of this file. Raises OSError."""
    held = _permitted()
    _check(_libc.capset(HEADER, _packed(held, held)), "capset")
    bound()
    confined()
