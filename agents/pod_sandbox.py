"""A pod as the kubelet holds it: its first process, the channel to that, and the containers inside.

kubelet ── start, signal ──> channel ──> topo.pod_init
        <── exited, gone ──              (`gone`: the first process died, and the pod's namespaces with it)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

from topo import wire
from topo.enter import POD, Namespaces
from topo.runtime import Runtime

Message = dict[str, Any]
GONE: Message = {"event": "gone"}


class ContainerStartError(Exception):
    """A container could not be started; the message is the one of a container runtime."""


class PodSandbox:
    """Made by `create`; `on_event` gets every `exited` message, and at last `gone`.

    containers: the namespaces of each that runs. inputs: what writes to the input of those that have one.
    """

    def __init__(self, pid: int, channel: socket.socket, on_event: Callable[[Message], None]) -> None:
        self.pid = pid
        self.namespaces = Namespaces.of_process(os.pidfd_open(pid), POD)
        self.containers: dict[str, Namespaces] = {}
        self.inputs: dict[str, int] = {}
        self._channel = channel
        self._on_event = on_event
        self._starting: dict[str, asyncio.Future[None]] = {}
        channel.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(channel, self._receive)

    @classmethod
    async def create(
        cls, runtime: Runtime, hostname: str, network: int | None, on_event: Callable[[Message], None]
    ) -> PodSandbox:
        """Start a pod's first process; `network` as in Runtime.create_pod. Raises RuntimeUnavailable, OSError."""
        pid, channel = await runtime.create_pod(hostname, network)
        return cls(pid, channel, on_event)

    async def start(self, container: Message) -> None:
        """Start a container and wait until its program runs. Raises ContainerStartError."""
        answer: asyncio.Future[None] = self._loop.create_future()
        self._starting[container["name"]] = answer
        try:
            wire.send(self._channel, {"do": "start", "container": container})
        except (OSError, ValueError) as error:
            answer.cancel()
            raise ContainerStartError(str(error)) from None
        await answer

    def signal(self, name: str, number: int) -> None:
        """Signal a container's first process; one that has ended is left in peace."""
        with contextlib.suppress(OSError):
            wire.send(self._channel, {"do": "signal", "name": name, "signal": number})

    @property
    def closed(self) -> bool:
        """Whether the pod has ended, or was told to."""
        return self._channel.fileno() < 0

    def close(self) -> None:
        """End the pod: its first process sees the end of the channel, and the kernel ends the rest. Idempotent."""
        if not self.closed:
            self._loop.remove_reader(self._channel)
            self._channel.close()
            self.namespaces.close()
            for name in list(self.containers):
                self._forget(name)

    def _receive(self) -> None:
        received = wire.receive(self._channel)
        if received is None:
            self._fail_starting("the pod's sandbox ended")
            self.close()
            self._on_event(GONE)
            return
        message, descriptors = received
        name = message["name"]
        if message["event"] == "exited":
            self._forget(name)
            self._on_event(message)
            return
        answer = self._starting.pop(name)
        if message["event"] == "started":
            self.containers[name] = Namespaces.of_process(descriptors[0], POD)
            if len(descriptors) > 1:
                self.inputs[name] = descriptors[1]
            if not answer.done():
                answer.set_result(None)
        elif not answer.done():
            answer.set_exception(ContainerStartError(message["message"]))

    def close_input(self, name: str) -> None:
        """End the input of a container, if it has one. Idempotent."""
        descriptor = self.inputs.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def _forget(self, name: str) -> None:
        namespaces = self.containers.pop(name, None)
        if namespaces is not None:
            namespaces.close()
        self.close_input(name)

    def _fail_starting(self, reason: str) -> None:
        for answer in self._starting.values():
            if not answer.done():
                answer.set_exception(ContainerStartError(reason))
        self._starting.clear()
