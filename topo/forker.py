"""The forker: one small warm process that does nothing but fork, so that it shares its memory with all that it forks.

    topo.container_runtime ── pod, root, report, input and outputs ──> forker ──clone──> topo.container
            ^──────────────────── pid, pidfd ────────────────────────────┘

It has loaded every stand-in, so a container costs a fork and what the kernel's namespaces cost, not the start of an
interpreter. Memory is shared until written: so the garbage collector, which would write everywhere, is off; nothing is
imported here that makes a fork write (threading, subprocess, asyncio, logging); and between two forks as little happens
as can be: no message is even decoded.

Sources: clone(2), setns(2); the "zygote" process of Android is the same idea.
"""

import gc
import importlib
import os
import socket
import struct
import sys
from collections.abc import Sequence
from typing import NoReturn

from topo import capabilities, container, syscalls
from topo.home import Home
from topo.stdio import Stdio

_PLAIN, _TERMINAL = b"c", b"t"
_JOINING = b"j"  # after the kind of a container: a pid namespace to join comes last among the descriptors
_NAME = "pod-forker"
_RIGHTS = socket.CMSG_SPACE(7 * 4)
_ANSWER = struct.Struct("=ii")  # pid or -1, errno


def ask_container(
    channel: socket.socket, pod: int, root: int, report: int, stdio: Stdio, pids: int | None = None
) -> tuple[int, int]:
    """Have a container forked: its pid and a pidfd. Called by the container runtime; raises OSError.

    `pod`: pidfd of the pod. `root`: the mount namespace to be in. `report`: the container's end of a socket, on which
    it is told what to become (topo.container). `pids`: pidfd of a process whose pid namespace it joins; None: its own.
    """
    kind = _TERMINAL if stdio.tty else _PLAIN
    if pids is None:
        return _ask(channel, kind, [pod, root, report, *stdio.theirs])
    return _ask(channel, kind + _JOINING, [pod, root, report, *stdio.theirs, pids])


def _ask(channel: socket.socket, request: bytes, descriptors: Sequence[int]) -> tuple[int, int]:
    socket.send_fds(channel, [request], descriptors)
    answer, given, _, _ = socket.recv_fds(channel, _ANSWER.size, 1, socket.MSG_CMSG_CLOEXEC)
    if not answer:
        os._exit(1)  # no forker, no runtime: the supervisor starts both anew
    pid, number = _ANSWER.unpack(answer)
    if pid < 0:
        raise OSError(number, os.strerror(number))
    return pid, given[0]


def serve(channel: socket.socket) -> NoReturn:
    """Answer every request, in order, until the container runtime is gone."""
    home = Home()
    while True:
        request, ancillary, _, _ = channel.recvmsg(2, _RIGHTS, socket.MSG_CMSG_CLOEXEC)
        if not request:
            os._exit(0)
        rights = ancillary[0][2] if ancillary else b""
        descriptors = struct.unpack(f"{len(rights) // 4}i", rights)
        pid, number = -1, 0
        try:
            if request[1:] == _JOINING:
                pid = _fork_beside(descriptors, request[:1] == _TERMINAL)
            else:
                pid = _fork(descriptors, request == _TERMINAL)
        except OSError as error:
            number = error.errno or 0
        home.return_to(syscalls.POD_NAMESPACES | syscalls.CLONE_NEWNS)
        for descriptor in set(descriptors):
            os.close(descriptor)
        _answer(channel, pid, number)


def _fork_beside(descriptors: Sequence[int], tty: bool) -> int:
    """A container in the pid namespace of another process: of its pod, of a container, of the node."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    try:
        syscalls.setns(descriptors[-1], syscalls.CLONE_NEWPID)  # of the children, not of this process
        return _fork(descriptors[:-1], tty, 0)
    finally:
        syscalls.setns(own, syscalls.CLONE_NEWPID)
        os.close(own)


def _fork(descriptors: Sequence[int], tty: bool, fresh: int = syscalls.CLONE_NEWPID) -> int:
    pod, root, report, *theirs = descriptors
    syscalls.setns(pod, syscalls.POD_NAMESPACES)
    syscalls.setns(root, syscalls.CLONE_NEWNS)
    pid = syscalls.clone(fresh | syscalls.CLONE_PARENT)
    if pid == 0:
        container.run(report, theirs, tty)
    return pid


def _answer(channel: socket.socket, pid: int, number: int) -> None:
    rights = []
    if pid > 0:
        pidfd = os.pidfd_open(pid)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", pidfd))]
    channel.sendmsg([_ANSWER.pack(pid, number)], rights)
    if pid > 0:
        os.close(pidfd)


def main(argv: Sequence[str]) -> None:
    """`python -m topo.forker CHANNEL [MODULE:FUNCTION]`: call the function, then fork at request."""
    module, _, function = argv[1].partition(":")
    if module:
        getattr(importlib.import_module(module), function)()
    # What every stand-in needs is done once here: nothing of this environment is theirs, a line is written at once.
    os.environ.clear()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    capabilities.keep_for_children()
    gc.collect()
    gc.freeze()
    gc.disable()
    syscalls.set_process_name(_NAME)
    serve(socket.socket(fileno=int(argv[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
