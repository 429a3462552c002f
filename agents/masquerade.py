"""The masquerade's agent: what is inside the cluster follows from the nodes.

Node objects --desired.masquerade--> Masquerade --render--> table masquerading --apply--> kernel
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agents import desired
from agents.agent import Agent
from controlplane.api import API
from netfns import masquerade
from netfns.kernel import Kernel


class MasqueradeAgent(Agent):
    """Keeps one node's way out; `pod_cidrs` are the cluster's ranges, one of each family in use."""

    component = "ip-masq-agent"

    def __init__(self, api: API, node: str, machine: Kernel, pod_cidrs: Sequence[str]) -> None:
        super().__init__(api, node, ["Node"])
        self._machine = machine
        self._pod_cidrs = tuple(pod_cidrs)
        self._applied: masquerade.Masquerade | None = None
        self.informers["Node"].on_change(self.changed)

    def resync(self) -> None:
        """Load the table again."""
        self._applied = None
        super().resync()

    async def rules_changed(self) -> None:
        """Somebody else has changed the node's rules: load the table again if it is gone."""
        held = self._applied
        if held is not None and not await asyncio.to_thread(masquerade.intact, self._machine, held):
            self.resync()

    async def reconcile(self) -> None:
        """Bring the set of what is inside in line with the nodes."""
        wanted = desired.masquerade(self._pod_cidrs, self.objects("Node"))
        if wanted == self._applied:
            return
        self._applied = wanted
        try:
            await asyncio.to_thread(masquerade.apply, self._machine, masquerade.render(wanted))
        except Exception:
            self._applied = None
            raise
