"""The supervisor's end of the pod runtime: starts the forker, asks it for pods, starts it again when it dies.

    supervisor ── {"hostname": …} + channel ──> topo.forker ──clone──> topo.pod_init, which keeps the channel
        ^────────────── {"pid": …} ────────────────┘

Killing the forker hurts no pod: pods answer to the kubelet by their own channels. Whoever was waiting asks again.
"""

import asyncio
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable

from topo import wire


class RuntimeUnavailable(Exception):
    """The runtime ended while it was asked; ask again."""


class Runtime:
    """See the head of this file."""

    def __init__(self, preload: str = "", on_restart: Callable[[str], None] = lambda _: None) -> None:
        """`preload`: a "module:function" that loads what stand-ins need. `on_restart` is told why after each one."""
        self._preload = preload
        self._on_restart = on_restart
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._start()

    @property
    def pid(self) -> int:
        """The forker's process id."""
        return self._process.pid

    def _start(self) -> None:
        self._channel, theirs = wire.pair()
        argv = [sys.executable, "-m", "topo.forker", str(theirs.fileno()), self._preload]
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
