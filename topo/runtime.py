"""The pod runtime: one small warm process that forks every pod of the lab into fresh namespaces.

    supervisor ── {"hostname": …} + channel ──> runtime ──clone──> pod_init (topo.pod_init), which keeps the channel
        ^────────────── {"pid": …} ────────────────┘

It loads every stand-in once, then forks: a pod costs a fork and the kernel's namespaces, not the start of an
interpreter. Memory is shared until written; the garbage collector, which would write everywhere, is off.

Killing the runtime hurts no pod: pods answer to the kubelet by their own channels, and the supervisor starts another
runtime. Sources: clone(2), pid_namespaces(7); the "zygote" process of Android is the same idea.
"""

import asyncio
import contextlib
import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn

from topo import pod_init, syscalls, wire

POD_NAMESPACES = syscalls.CLONE_NEWNET | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC


class RuntimeUnavailable(Exception):
    """The runtime ended while it was asked; ask again."""


class Runtime:
    """The supervisor's end: starts the runtime process, starts it again when it dies, asks it for pods."""

    def __init__(self, preload: Sequence[str], on_restart: Callable[[str], None] = lambda _: None) -> None:
        """`preload`: modules that stand-ins live in. `on_restart` is told why, after each restart."""
        self._preload = tuple(preload)
        self._on_restart = on_restart
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._start()

    @property
    def pid(self) -> int:
        """The runtime process's id."""
        return self._process.pid

    def _start(self) -> None:
        self._channel, theirs = wire.pair()
        argv = [sys.executable, "-m", "topo.runtime", str(theirs.fileno()), *self._preload]
        self._process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._channel.setblocking(False)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen for answers in `loop`."""
        self._loop = loop
        loop.add_reader(self._channel, self._receive)

    async def create_pod(self, hostname: str, network: int | None = None) -> tuple[int, socket.socket]:
        """Start a pod's first process. Returns its pid and the channel to it.

        `network`: descriptor of the network namespace to join (for a pod on its node's network); None: a fresh one.
        Raises RuntimeUnavailable when the runtime dies meanwhile, OSError when the kernel refuses.
        """
        ours, theirs = wire.pair()
        answer: asyncio.Future[int] = self._loop.create_future()
        try:
            descriptors = [theirs.fileno()] if network is None else [theirs.fileno(), network]
            wire.send(self._channel, {"hostname": hostname}, descriptors)
            self._waiting.append(answer)
        except OSError as error:
            ours.close()
            raise RuntimeUnavailable(f"pod runtime: {error.strerror}") from None
        finally:
            theirs.close()
        try:
            return await answer, ours
        except BaseException:
            ours.close()
            raise

    def _receive(self) -> None:
        received = wire.receive(self._channel)
        if received is None:
            self._restart()
            return
        message, _ = received
        answer = self._waiting.popleft()
        if answer.done():  # whoever asked has been cancelled
            return
        if "pid" in message:
            answer.set_result(message["pid"])
        else:
            answer.set_exception(OSError(message["errno"], message["error"]))

    def _restart(self) -> None:
        self._loop.remove_reader(self._channel)
        self._channel.close()
        status = self._process.wait()
        waiting, self._waiting = self._waiting, deque()
        self._start()
        self.attach(self._loop)
        for answer in waiting:
            if not answer.done():
                answer.set_exception(RuntimeUnavailable("pod runtime: it ended; a new one is there"))
        self._on_restart(f"pod runtime ended with status {status}; started again as process {self.pid}")


def serve(channel: socket.socket) -> NoReturn:
    """The runtime process: answer every request, in order, until the supervisor is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # pods are reaped by the kernel; their channels tell their end
    while (received := wire.receive(channel)) is not None:
        message, descriptors = received
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
    """`python -m topo.runtime CHANNEL MODULE…`"""
    for module in argv[1:]:
        # A stand-in that does not load fails when it is started, with its own message.
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()
    gc.disable()
    syscalls.set_process_name("pod-runtime")
    serve(socket.socket(fileno=int(argv[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
