"""The supervisor's end of what makes pods and containers: starts the processes, asks them, reaps what ends.

    supervisor ══ topo.pod_runtime ──clone──> pods ───────────────┐ children of the supervisor,
        ^    ╚═══ topo.container_runtime ──clone──> containers ───┤ each with a pidfd, readable at its end
        │                       ╚══ topo.forker ──clone──> ───────┤
        └─────────────────────────────────────────────────────────┘

When one of the three is killed, all are started anew and given the outputs of all containers that run; whoever was
waiting for an answer asks again. Nothing that runs notices.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from topo import wire
from topo.process import Process

Message = dict[str, Any]


class RuntimeUnavailable(Exception):
    """The runtime ended while it was asked; ask again."""


class ContainerStartError(Exception):
    """A container could not be started; the message is the one of a container runtime."""


@dataclass(frozen=True)
class Wiring:
    """How a pod is plugged in: `ip -batch` texts for the network of `machine`, for its own, the machine's again.

    `node` calls the pod's network by Runtime.pid. Once there is a pod, it is wired.
    """

    machine: str
    node: str
    pod: str
    port: str


@dataclass(frozen=True)
class Container:
    """A container that has been forked. input: what writes to its input; None without one."""

    process: Process
    input: int | None


@dataclass
class _Log:
    """The outputs of a running container, held in case that the runtime dies: descriptor -> stream."""

    outputs: dict[int, str]
    drained: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class _Request:
    """What somebody waits for: the process, and for a container that its program runs."""

    forked: asyncio.Future[tuple[Message, list[int]]]
    started: asyncio.Future[None]


class _Channel:
    """The way to one of the processes: what does not fit into the socket now is sent when there is room."""

    def __init__(self, refused: Callable[[Message, Exception], None]) -> None:
        """`refused` is told of a message that cannot be sent: it is too long, or a descriptor is none."""
        self._ours, self.theirs = wire.pair()
        self._ours.setblocking(False)
        self._refused = refused
        self._outbox: deque[tuple[Message, list[int]]] = deque()
        self._loop: asyncio.AbstractEventLoop

    def attach(self, loop: asyncio.AbstractEventLoop, receive: Callable[[Message, list[int]], None]) -> None:
        """Begin to listen; `receive` gets each answer with its descriptors."""
        self._loop = loop
        loop.add_reader(self._ours, self._receive, receive)

    def send(self, message: Message, descriptors: Sequence[int]) -> None:
        """Send a message, now or later; the descriptors may be closed at once."""
        if self._outbox or not self._take(message, descriptors):
            self._outbox.append((message, [os.dup(one) for one in descriptors]))
            self._loop.add_writer(self._ours, self._flush)

    def _take(self, message: Message, descriptors: Sequence[int]) -> bool:
        """Send a message unless the socket is full; False when it is."""
        try:
            wire.send(self._ours, message, descriptors)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            pass  # it is ending; its pidfd will tell, and what was asked is asked again
        except (OSError, ValueError) as error:
            self._refused(message, error)
        return True

    def _flush(self) -> None:
        """Send what waits, as far as it is taken; a hundred pods at once are more than a socket holds."""
        while self._outbox:
            message, descriptors = self._outbox[0]
            if not self._take(message, descriptors):
                return
            self._outbox.popleft()
            _close_all(descriptors)
        self._loop.remove_writer(self._ours)

    def _receive(self, receive: Callable[[Message, list[int]], None]) -> None:
        """Take all that has come: what has been begun goes on before anything new is."""
        with contextlib.suppress(BlockingIOError):
            while (received := wire.receive(self._ours)) is not None:
                receive(*received)
            self._loop.remove_reader(self._ours)  # it is ending; its pidfd will tell

    def close(self, receive: Callable[[Message, list[int]], None]) -> None:
        """The process has ended; `receive` gets what it has answered until then."""
        # Twice: that a request was left unread is told as an error (ECONNRESET), before what there is to be read.
        for _ in range(2):
            with contextlib.suppress(BlockingIOError):  # a pod's first process has the other end as well
                while (received := wire.receive(self._ours)) is not None:
                    receive(*received)
        self._loop.remove_reader(self._ours)
        self._loop.remove_writer(self._ours)
        self._ours.close()
        for _, descriptors in self._outbox:
            _close_all(descriptors)


class Runtime:
    """See the head of this file."""

    def __init__(self, preload: str = "", on_restart: Callable[[str], None] = lambda _: None) -> None:
        """`preload`: a "module:function" that loads what stand-ins need. `on_restart` is told why after each one."""
        self._preload = preload
        self._on_restart = on_restart
        self._requests: dict[int, _Request] = {}
        self._numbers = count()
        self._logs: dict[str, _Log] = {}
        self._start()

    def _start(self) -> None:
        self._pods, self._containers = _Channel(self._refuse), _Channel(self._refuse)
        asking, answering = wire.pair()
        with self._pods.theirs, self._containers.theirs, asking, answering:
            self._processes = [
                _python("topo.pod_runtime", self._pods.theirs),
                _python("topo.container_runtime", self._containers.theirs, asking),
                _python("topo.forker", answering, self._preload),
            ]

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen for answers in `loop`."""
        self._loop = loop
        for channel in (self._pods, self._containers):
            channel.attach(loop, self._receive)
        self._watched = [os.pidfd_open(process.pid) for process in self._processes]
        for pidfd in self._watched:
            loop.add_reader(pidfd, self._restart)

    @property
    def pid(self) -> int:
        """The process that wires pods, from within their network."""
        return self._processes[0].pid

    async def create_pod(
        self, hostname: str, network: int, wiring: Wiring | None, *, shares_pids: bool = False
    ) -> Process:
        """Start a pod's first process, which holds its namespaces.

        `network`: descriptor of the network namespace of the pod's machine. `wiring`: how a network of its own is
        plugged in there; None: it shares the machine's. `shares_pids`: it holds a pid namespace too, for containers
        that are started in it. Raises RuntimeUnavailable when the runtime dies meanwhile, OSError when the kernel
        refuses.
        """
        message: Message = {"hostname": hostname, "shares_pids": shares_pids}
        if wiring is not None:
            message |= {
                "machine": wiring.machine,
                "node": wiring.node,
                "pod": wiring.pod,
                "port": wiring.port,
            }
        request = self._ask(self._pods, message, [network])
        request.started.set_result(None)
        answer, descriptors = await request.forked
        return Process(answer["pid"], descriptors[0])

    async def start_container(
        self, pod: int, container: Message, forked: Callable[[Container], None], pids: int | None = None
    ) -> None:
        """Start a container in the pod whose pidfd is `pod`, and return when its program runs.

        `pids`: pidfd of a process whose pid namespace it joins; None: it gets one of its own.

        `container`: name, argv, env, working_dir, standin ("module:function", topo.native_container.WAIT, or "" to
        execute argv), confined (whether it has no more than topo.capabilities.CONTAINER), log (a path), stdin, tty,
        root (the fields of topo.container_root.ContainerRoot). `forked` is called once its process is there: it may end
        at any time from then on. Raises ContainerStartError, RuntimeUnavailable.
        """
        handed = [pod] if pids is None else [pod, pids]
        request = self._ask(self._containers, {"container": container}, handed)
        try:
            message, descriptors = await request.forked
        except OSError as error:
            raise ContainerStartError(error.strerror or str(error)) from None
        pidfd, *rest = descriptors
        streams = message["streams"]
        self._logs[container["log"]] = _Log(dict(zip(rest, streams, strict=False)))
        given = rest[len(streams) :]
        forked(Container(Process(message["pid"], pidfd), given[0] if given else None))
        await request.started

    async def drained(self, log: str) -> None:
        """Return when all that a container wrote, which has ended, is in its log."""
        if log in self._logs:
            await self._logs[log].drained.wait()

    def _ask(self, channel: _Channel, message: Message, descriptors: list[int]) -> _Request:
        request = _Request(self._loop.create_future(), self._loop.create_future())
        number = next(self._numbers)
        self._requests[number] = request
        channel.send({"id": number, **message}, descriptors)
        return request

    def _refuse(self, message: Message, error: Exception) -> None:
        if "adopt" in message:
            self._forget_log(message["adopt"])
            return
        request = self._requests.pop(message["id"])
        _settle(request.forked, ContainerStartError(str(error)))

    def _receive(self, message: Message, descriptors: list[int]) -> None:
        if "drained" in message:
            self._forget_log(message["drained"])
            return
        request = self._requests[message["id"]]
        if "pid" in message:
            if not _settle(request.forked, (message, descriptors)):
                _discard(descriptors)  # whoever asked has been cancelled
            if "started" in message:
                _settle(request.started, None)
        elif "error" in message and not request.forked.done():
            _settle(request.forked, OSError(message["errno"], message["error"]))
            _settle(request.started, None)
        else:
            _settle(request.started, ContainerStartError(message["error"]) if "error" in message else None)
        if request.forked.done() and request.started.done():
            del self._requests[message["id"]]

    def _forget_log(self, path: str) -> None:
        log = self._logs.pop(path, None)
        if log is not None:
            _close_all(log.outputs)
            log.drained.set()

    def _restart(self) -> None:
        for pidfd in self._watched:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
        for process in self._processes:
            process.kill()  # one has ended already, and the others are of no use
        statuses = [process.wait() for process in self._processes]
        for channel in (self._pods, self._containers):
            channel.close(self._receive)
        requests, self._requests = self._requests, {}
        self._start()
        self.attach(self._loop)
        for path, log in tuple(self._logs.items()):  # one that cannot be sent is forgotten
            self._containers.send({"adopt": path, "streams": list(log.outputs.values())}, list(log.outputs))
        for request in requests.values():
            for answer in (request.forked, request.started):
                _settle(answer, RuntimeUnavailable("pod runtime: it ended; a new one is there"))
        self._on_restart(
            f"the pod runtime, with container runtime and forker, ended with status {statuses}: started again"
        )


def _python(module: str, *arguments: socket.socket | str) -> "subprocess.Popen[bytes]":
    """Start a module of Minipod; it is given sockets by their descriptors."""
    words = [
        str(argument.fileno() if isinstance(argument, socket.socket) else argument) for argument in arguments
    ]
    descriptors = [argument.fileno() for argument in arguments if isinstance(argument, socket.socket)]
    argv = [sys.executable, "-m", module, *words]
    return subprocess.Popen(argv, pass_fds=descriptors, stdin=subprocess.DEVNULL)


def _settle(future: "asyncio.Future[Any]", result: Any) -> bool:
    """Give a future its result, or its exception; False when it has one, or nobody waits any more."""
    if future.done():
        return False
    if isinstance(result, BaseException):
        future.set_exception(result)
        future.exception()  # seen: nobody may be waiting for this half of a request
    else:
        future.set_result(result)
    return True


def _discard(descriptors: list[int]) -> None:
    """End a process that nobody waits for any more; the first descriptor is its pidfd."""
    process = Process(0, descriptors[0])
    process.signal(signal.SIGKILL)
    process.when_ended(lambda *_: None)
    _close_all(descriptors[1:])


def _close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
