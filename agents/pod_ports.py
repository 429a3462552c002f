"""The ports of one node's pods (the node's ends of their veth pairs), and when each of them is gone.

    kubelet ──expect(port)──> ... the pod runs, and ends ... ──gone(port)──┐
                                                                           v
    kernel ──topo.departures: the port, and all that came in by it──> PodPorts ──> its address and rules are let go

A pod's processes end first, its network namespace some time after them, and what they sent last is on its way until
then: it must still meet the pod's policies, and nobody else may have its address yet.

Invariant: `gone` returns when the kernel holds nothing any more that came in by the port. A port that does not go by
itself, for somebody keeps the pod's namespace alive with a socket, is deleted.

Source: topo/departures.py says what the kernel tells, and when.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from netfns.kernel import CommandError, Kernel
from topo.departures import Departures, MessagesLost

LINGERS = 5.0  # seconds; those of hundreds of pods that end at once go in one
RETRY = 0.5


class PodPorts:
    """See the head of this file; used in the event loop's thread only."""

    def __init__(self, kernel: Kernel, departures: Departures) -> None:
        self._kernel = kernel
        self._departures = departures
        self._there: dict[str, asyncio.Event] = {}  # set when the port has gone
        self._leaving: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    def follow(self) -> None:
        """Begin to listen."""
        asyncio.get_running_loop().add_reader(self._departures, self._read)

    def expect(self, port: str) -> None:
        """A port of this name is about to be made."""
        self._read()  # what is told of one that had the name before is not about this one
        self._there.setdefault(port, asyncio.Event())

    async def gone(self, port: str) -> None:
        """Return once the port of a pod that ends is gone; at once when there is none."""
        left = self._there.get(port)
        if left is None:
            return
        self._leaving.add(port)
        with suppress(TimeoutError):
            await asyncio.wait_for(left.wait(), LINGERS)
        while not left.is_set():
            await self.delete(port)
            with suppress(TimeoutError):
                await asyncio.wait_for(left.wait(), RETRY)

    async def delete(self, port: str) -> None:
        """Take the port away now, if there is one."""
        await self._finished(port)
        if not self._departures.has(port):
            self._depart(port)

    async def _finished(self, port: str) -> None:
        """Try to delete a port: if it is gone after that, the kernel has finished with it, whoever had begun."""
        with suppress(CommandError):
            await asyncio.to_thread(self._kernel.ip, f"link del {port}\n")

    def _read(self) -> None:
        try:
            for port in self._departures.read():
                self._depart(port)
        except MessagesLost:
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        """See which of those that are about to go have gone untold."""
        missing = [port for port in self._leaving if not self._departures.has(port)]
        if missing:
            await self._finished(missing[0])
            for port in missing:
                self._depart(port)

    def _depart(self, port: str) -> None:
        self._leaving.discard(port)
        left = self._there.pop(port, None)
        if left is not None:
            left.set()
