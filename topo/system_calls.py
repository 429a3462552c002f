"""A filter on system calls: what a process that runs a student's code may still ask of the kernel.

    system call ──> its number in the list? ──yes──> done
                             └──no──> EPERM, which Python shows as PermissionError

The list is what an interpreter needs to compute, to import from the standard library, and to read and write what is
open already. Nothing on it makes a process or a thread, runs a program, changes a namespace, a mount or a right, or,
unless asked for, makes a socket.

Invariant: a filter can never be taken off, and a number of another architecture ends the process.

Sources: seccomp(2), syscalls(2), the kernel's Documentation/userspace-api/seccomp_filter.rst; the numbers are those
of asm/unistd_64.h and asm-generic/unistd.h.
"""

import ctypes
import os
import struct

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF: load a word, jump if equal, return
_ALLOW, _EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # struct seccomp_data
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# name: (number on x86-64, number on arm64); -1 where there is no such call.
COMPUTE = {
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67), "close": (3, 57),
    "fstat": (5, 80), "newfstatat": (262, 79), "statx": (332, 291), "stat": (4, -1), "lstat": (6, -1),
    "lseek": (8, 62), "openat": (257, 56), "open": (2, -1), "access": (21, -1), "faccessat": (269, 48),
    "faccessat2": (439, 439), "readlink": (89, -1), "readlinkat": (267, 78), "getdents64": (217, 61),
    "getcwd": (79, 17), "fcntl": (72, 25), "ioctl": (16, 29), "dup": (32, 23),
    "mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216), "mprotect": (10, 226), "madvise": (28, 233),
    "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132), "restart_syscall": (219, 128), "futex": (202, 98), "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123), "nanosleep": (35, 101), "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, -1),
    "getrandom": (318, 278), "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174),
    "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177), "getrusage": (98, 165),
    "prlimit64": (302, 261), "getrlimit": (97, 163), "sysinfo": (99, 179), "uname": (63, 160), "times": (100, 153),
    "set_robust_list": (273, 99), "rseq": (334, 293), "membarrier": (324, 283), "poll": (7, -1), "ppoll": (271, 73),
    "select": (23, -1), "pselect6": (270, 72), "exit": (60, 93), "exit_group": (231, 94), "tgkill": (234, 131),
}  # fmt: skip
SOCKETS = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "accept": (43, 202), "accept4": (288, 242),
    "bind": (49, 200), "listen": (50, 201), "getsockname": (51, 204), "getpeername": (52, 205),
    "setsockopt": (54, 208), "getsockopt": (55, 209), "sendto": (44, 206), "recvfrom": (45, 207),
    "sendmsg": (46, 211), "recvmsg": (47, 212), "shutdown": (48, 210), "splice": (275, 76), "sendfile": (40, 71),
    "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, -1), "epoll_pwait": (281, 22),
    "epoll_pwait2": (441, 441), "eventfd2": (290, 19), "pipe2": (293, 59), "timerfd_create": (283, 85),
    "timerfd_settime": (286, 86), "setitimer": (38, 103), "getitimer": (36, 102), "kill": (62, 129),
}  # fmt: skip


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def only(calls: dict[str, tuple[int, int]], machine: str = "") -> bytes:
    """The filter program that lets only `calls` through, for this machine or the one named. Raises KeyError."""
    machine = machine or os.uname().machine
    column = list(_ARCHITECTURES).index(machine) if machine in _ARCHITECTURES else -1
    if column < 0:
        raise KeyError(f"no list of system calls for {machine}")
    numbers = [pair[column] for pair in calls.values() if pair[column] >= 0]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        *((_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def restrict(calls: dict[str, tuple[int, int]]) -> None:
    """Let the calling thread, and what it becomes, make only these calls. It must have no_new_privs. Raises OSError."""
    instructions = only(calls)
    program = _Program(len(instructions) // 8, instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "prctl PR_SET_SECCOMP")
