"""A pod as the kubelet holds it: the process that holds its namespaces, and the containers inside.

kubelet ── start, signal ──> PodSandbox ──> topo.runtime ──> pause, containers
        <── exited, gone ──      (`gone`: the pause process died, so the containers are ended as well)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine
from functools import cache, partial
from pathlib import Path
from typing import Any

from topo.enter import POD, Namespaces
from topo.process import Process
from topo.runtime import Container, ContainerStartError, Runtime, RuntimeUnavailable, Wiring

__all__ = ["GONE", "ContainerStartError", "PodSandbox"]

Message = dict[str, Any]
GONE: Message = {"event": "gone"}
# Whose processes a container is among: "" its own, those of the pod, of the node, or of the container so named.
OWN_PIDS, POD_PIDS, NODE_PIDS = "", "/pod", "/node"
RETRY = 0.05  # seconds
DECIDES_WITHIN = 2.0  # seconds after its start; a program that handles TERM says so by then
LAST_WORDS = 2.0  # seconds for the end of a container's output to reach its log


class PodSandbox:
    """Made by `create`; `on_event` gets every `exited` message, and at last `gone`.

    containers: the namespaces of each that runs. inputs: what writes to the input of those that have one.
    """

    def __init__(self, runtime: Runtime, pause: Process, on_event: Callable[[Message], None]) -> None:
        self.pid = pause.pid
        self.namespaces = Namespaces.of_process(os.dup(pause.pidfd), POD)
        self.containers: dict[str, Namespaces] = {}
        self.inputs: dict[str, int] = {}
        self.closed = False  # whether the pod has ended, or was told to
        self._runtime = runtime
        self._pause = pause
        self._on_event = on_event
        self._processes: dict[str, Process] = {}
        self._doomed: set[str] = set()  # to be killed as soon as they are there
        self._tasks: set[asyncio.Task[None]] = set()
        pause.when_ended(lambda *_: self._lost())

    @classmethod
    async def create(
        cls,
        runtime: Runtime,
        hostname: str,
        network: int,
        wiring: Wiring | None,
        on_event: Callable[[Message], None],
        *,
        shares_pids: bool = False,
    ) -> PodSandbox:
        """Start a pod's first process; arguments as in Runtime.create_pod. Raises RuntimeUnavailable, OSError."""
        pause = await runtime.create_pod(hostname, network, wiring, shares_pids=shares_pids)
        return cls(runtime, pause, on_event)

    async def start(self, container: Message) -> None:
        """Start a container and wait until its program runs. Raises ContainerStartError.

        A caller that is cancelled meanwhile is told of its end like of any other's, for it starts all the same.
        """
        name = container["name"]
        task = self._spawn(self._start(container))
        try:
            await asyncio.shield(task)
        except ContainerStartError:
            if name in self._processes:  # it has not become the program that it was to be
                self._processes.pop(name).signal(signal.SIGKILL)
            raise
        except asyncio.CancelledError:
            task.add_done_callback(lambda task: self._unattended(name, task))
            raise

    def _unattended(self, name: str, task: asyncio.Task[None]) -> None:
        """A container whose starter was cancelled could not be started: that is its end."""
        if not task.cancelled() and task.exception() is not None and name not in self._processes:
            self._say({"event": "exited", "name": name, "status": 128, "signal": 0})

    def _forked(self, name: str, log: str, made: Container) -> None:
        self._processes[name] = made.process
        self.containers[name] = Namespaces.of_process(os.dup(made.process.pidfd), POD)
        if made.input is not None:
            self.inputs[name] = made.input
        made.process.when_ended(lambda code, number: self._ended(name, log, code, number))
        if self.closed or name in self._doomed:
            made.process.signal(signal.SIGKILL)

    async def _start(self, container: Message) -> None:
        """Start a container; when the runtime dies before it has forked it, by the next one."""
        name = container["name"]
        forked = partial(self._forked, name, container["log"])
        self._doomed.discard(name)
        while True:
            if self.closed:
                raise ContainerStartError("the pod's sandbox ended")
            try:
                pids = self._pid_namespace(container["pids"])
                await self._runtime.start_container(self._pause.pidfd, container, forked, pids)
                return
            except RuntimeUnavailable as error:
                if self.closed or name in self._processes or name in self._doomed:
                    raise ContainerStartError(str(error)) from None
                await asyncio.sleep(RETRY)

    def _pid_namespace(self, pids: str) -> int | None:
        """The pidfd of one of the processes that a container is among. Raises ContainerStartError."""
        if pids == OWN_PIDS:
            return None
        if pids == POD_PIDS:
            return self._pause.pidfd
        if pids == NODE_PIDS:
            return _this_process()
        if pids not in self._processes:
            raise ContainerStartError(f'target container "{pids}" is not running')
        return self._processes[pids].pidfd

    def signal(self, name: str, number: int) -> None:
        """Signal a container's first process; one that has ended is left in peace.

        As pid 1 of its namespace it is spared the default action (pid_namespaces(7)), so a TERM about which it has
        decided nothing would only let the grace period run out. See `_end_undecided`.
        """
        process = self._processes.get(name)
        if process is None:
            self._doomed.add(name)  # in case that it is just being started
        elif number == signal.SIGTERM and _is_deaf(process.pid, number):
            self._spawn(self._end_undecided(process))
        else:
            process.signal(number)

    @staticmethod
    async def _end_undecided(process: Process) -> None:
        """Send TERM as soon as a program that has just been started decides about it; one that never will is killed."""
        while not process.ended and time.monotonic() < process.born + DECIDES_WITHIN:
            if not _is_deaf(process.pid, signal.SIGTERM):
                process.signal(signal.SIGTERM)
                return
            await asyncio.sleep(RETRY)
        process.signal(signal.SIGKILL)

    def close(self) -> None:
        """End the pod and all of its containers. Idempotent."""
        if not self.closed:
            self.closed = True
            for process in (self._pause, *self._processes.values()):
                process.signal(signal.SIGKILL)
            self.namespaces.close()
            for name in list(self.containers):
                self._forget(name)

    def close_input(self, name: str) -> None:
        """End the input of a container, if it has one. Idempotent."""
        descriptor = self.inputs.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def _lost(self) -> None:
        if not self.closed:
            self.close()
            self._on_event(GONE)

    def _ended(self, name: str, log: str, code: int, number: int) -> None:
        self._forget(name)
        if self._processes.pop(name, None) is not None and not self.closed:
            message = {"event": "exited", "name": name, "status": code, "signal": number}
            self._spawn(self._tell(message, log))

    async def _tell(self, message: Message, log: str) -> None:
        """Tell the end of a container when its last words are in its log."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._runtime.drained(log), LAST_WORDS)
        self._say(message)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the caller, who may be cancelled; the loop itself does not keep it alive."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _say(self, message: Message) -> None:
        if not self.closed:
            self._on_event(message)

    def _forget(self, name: str) -> None:
        namespaces = self.containers.pop(name, None)
        if namespaces is not None:
            namespaces.close()
        self.close_input(name)


@cache
def _this_process() -> int:
    """A pidfd of this process: a node's processes are the lab's."""
    return os.pidfd_open(os.getpid())


def _is_deaf(pid: int, number: int) -> bool:
    """Whether a process would not notice a signal: the first of a pid namespace that neither handles nor ignores it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    status = {name: values.split() for name, _, values in (line.partition(":") for line in lines)}
    masks = [int(status[name][0], 16) for name in ("SigCgt", "SigIgn")]
    return status["NSpid"][-1] == "1" and not any(mask >> (number - 1) & 1 for mask in masks)
