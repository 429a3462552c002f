"""The host ports of one node's pods: opened when a pod has its address, closed when that is given back.

pod with hostPort --desired.host_ports--> HostPorts --render--> table host_port --apply--> kernel

Most pods have none, and cost nothing here. Every change writes the table anew, for a node has few.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from agents.desired.host_ports import host_ports
from netfns import host_port
from netfns.host_port import HostPort, HostPorts
from netfns.kernel import Kernel

Obj = dict[str, Any]


class HostPortMapper:
    """Keeps the table of one node in line with the pods that are there. `families`: of the pods' addresses."""

    def __init__(self, kernel: Kernel, families: Sequence[str]) -> None:
        self._kernel = kernel
        self._families = tuple(families)
        self._by_pod: dict[str, tuple[HostPort, ...]] = {}
        self._lock = asyncio.Lock()
        self._prepared = False

    async def open(self, uid: str, pod: Obj, addresses: Sequence[str]) -> None:
        """Open a pod's host ports, if it has any. Raises CommandError."""
        ports = tuple(host_ports(pod, addresses))
        if ports:
            self._by_pod[uid] = ports
            await self.write(ports)

    def close(self, uid: str) -> tuple[HostPort, ...]:
        """They are not to be open any more; returns what `write` is to be called with, if there are any."""
        return self._by_pod.pop(uid, ())

    async def rules_changed(self) -> None:
        """Somebody else has changed the node's rules: load the table again if it is gone. Raises CommandError."""
        async with self._lock:
            if self._by_pod and not await asyncio.to_thread(host_port.observe, self._kernel):
                await asyncio.to_thread(self._load)

    async def write(self, changed: Sequence[HostPort]) -> None:
        """Bring the kernel in line, of which `changed` is other than before. Raises CommandError."""
        async with self._lock:
            await asyncio.to_thread(self._load)
            for protocol, port in {(port.protocol, port.port) for port in changed if port.protocol != "TCP"}:
                await asyncio.to_thread(host_port.forget, self._kernel, protocol, port)

    def _load(self) -> None:
        if not self._prepared:
            host_port.prepare(self._kernel, self._families)
            self._prepared = True
        ports = tuple(port for each in self._by_pod.values() for port in each)
        host_port.apply(self._kernel, host_port.render(HostPorts(self._families, ports)))
