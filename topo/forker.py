"""The pod runtime's forker: one small warm process that forks every pod of the lab into fresh namespaces.

    supervisor ── {"hostname": …} + channel ──> forker ──clone──> pod_init (topo.pod_init), which keeps the channel

It loads every stand-in once, then forks: a pod costs a fork and the kernel's namespaces, not the start of an
interpreter. Memory is shared until written: so the garbage collector, which would write everywhere, is off, and nothing
is imported here that makes a fork write (threading, subprocess, asyncio, logging).

Sources: clone(2), pid_namespaces(7); the "zygote" process of Android is the same idea.
"""

import gc
import importlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

from topo import pod_init, syscalls, wire

POD_NAMESPACES = syscalls.CLONE_NEWNET | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC


def serve(channel: socket.socket) -> NoReturn:
    """Answer every request, in order, until the supervisor is gone."""
    signal.signal(
        signal.SIGCHLD, signal.SIG_IGN
    )  # pods are reaped by the kernel; their channels tell their end
    while (received := wire.receive(channel)) is not None:
        message, descriptors = received
        answer: dict[str, int | str | None]
        try:
            answer = {"pid": _fork_pod(channel, message["hostname"], descriptors)}
        except OSError as error:
            answer = {"errno": error.errno, "error": str(error.strerror)}
        for descriptor in descriptors:
            os.close(descriptor)
        wire.send(channel, answer)
    os._exit(0)


def _fork_pod(channel: socket.socket, hostname: str, descriptors: list[int]) -> int:
    joins = len(descriptors) > 1
    pid = syscalls.clone(POD_NAMESPACES & ~(syscalls.CLONE_NEWNET if joins else 0))
    if pid:
        return pid
    try:
        channel.close()
        if joins:
            syscalls.setns(descriptors[1], syscalls.CLONE_NEWNET)
        syscalls.sethostname(hostname)
        syscalls.set_process_name("pause")
        pod_init.PodInit(socket.socket(fileno=descriptors[0])).run()
    finally:
        os._exit(1)


def main(argv: Sequence[str]) -> None:
    """`python -m topo.forker CHANNEL [MODULE:FUNCTION]`: call the function, then fork at request."""
    module, _, function = argv[1].partition(":")
    if module:
        getattr(importlib.import_module(module), function)()
    # What every stand-in needs is done once here: nothing of this environment is theirs, a line is written at once.
    os.environ.clear()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    gc.collect()
    gc.freeze()
    gc.disable()
    syscalls.set_process_name("pod-forker")
    serve(socket.socket(fileno=int(argv[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
