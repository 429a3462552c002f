"""The overlay's agent: every Node object is a tunnel end; a node that joins or leaves changes the others'
tables.

    Node objects --desired.overlay--> Overlay --render--> lines --apply--> vxlan0, routes, neighbours, fdb
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from agents import desired
from agents.agent import Agent
from controlplane.api import API
from netfns import overlay
from netfns.kernel import Kernel


class OverlayFunctions(Protocol):
    """What the agent needs of netfns/overlay.py, or of a student's file in its place (seats.py)."""

    def prepare(self, kernel: Kernel, desired: overlay.Overlay) -> None:
        """See netfns.overlay."""

    def render(self, desired: overlay.Overlay) -> overlay.Batches:
        """See netfns.overlay."""

    def apply(self, kernel: Kernel, wanted: overlay.Batches) -> None:
        """See netfns.overlay."""


class OverlayAgent(Agent):
    """Keeps one node's tunnel; `machine` is the node's hand. See the head of this file."""

    component = "overlay"

    def __init__(self, api: API, node: str, machine: Kernel) -> None:
        super().__init__(api, node, ["Node"])
        self.functions: OverlayFunctions = overlay
        self._machine = machine
        self._applied: overlay.Overlay | None = None
        self.informers["Node"].on_change(self.changed)

    def resync(self) -> None:
        """Compare the kernel again with what it should hold."""
        self._applied = None
        super().resync()

    async def reconcile(self) -> None:
        """Bring tunnel, routes and entries in line with the nodes; a heartbeat's write changes nothing."""
        wanted = desired.overlay(self.node, self.objects("Node"))
        if wanted is None or wanted == self._applied:
            return
        first, self._applied = self._applied is None, wanted
        try:
            await asyncio.to_thread(self._apply, wanted, first)
        except Exception:
            self._applied = None
            raise

    def _apply(self, wanted: overlay.Overlay, first: bool) -> None:
        if first:
            self.functions.prepare(self._machine, wanted)
        self.functions.apply(self._machine, self.functions.render(wanted))
