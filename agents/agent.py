"""What every agent is: a few pictures of the API, one step that makes the machine match, and the patience
to try again.

    informers --on_change--> enqueue(key) --> reconcile(key): desired/ -> render -> apply (in a thread)
                                                   `-- fails --> event on the object, again after a while

Invariants: an agent acts only on what it sees in the API, and writes back only status and events; two
steps never run at once; what the kernel lost is put back by `resync`, which forgets what was applied before.

Sources: Kubernetes documentation, "Controllers"; controlplane/informer.py and reconciler.py, whose
patterns these are.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from controlplane.api import API
from controlplane.informer import Informer, Reconciler

Obj = dict[str, Any]
EVERYTHING = "everything"  # the key of agents that do all their work in one step


class Agent(ABC):
    """One agent on one machine; `component` is the name that its events are signed with."""

    component: str

    def __init__(
        self,
        api: API,
        node: str,
        kinds: Sequence[str],
        min_interval: float | Callable[[Hashable], float] = 0.0,
    ) -> None:
        self.api = api
        self.node = node
        self.informers = {kind: Informer(api, kind) for kind in kinds}
        self._reconciler = Reconciler(
            self.component, self._step, on_error=self._failed, min_interval=min_interval
        )
        self._settling: list[asyncio.Future[str]] = []

    @abstractmethod
    async def reconcile(self) -> None:
        """Make the machine match what the informers show now."""

    def resync(self) -> None:
        """Something was lost: do everything again, from nothing."""
        self.changed()

    async def rules_changed(self) -> None:
        """Somebody else has changed the node's rules: see that ours are there."""
        self.resync()

    def changed(self, *_: Obj | None) -> None:
        """Something is different: reconcile soon. Fits as an informer's handler."""
        self._reconciler.enqueue(EVERYTHING)

    async def run(self) -> None:
        """Work until cancelled."""
        for informer in self.informers.values():
            informer.start()
        self.changed()
        async with asyncio.TaskGroup() as group:
            for informer in self.informers.values():
                group.create_task(informer.run())
            group.create_task(self._reconciler.run())

    async def settle(self) -> str:
        """Take one more step, now; returns "" or, in one line, why it failed. For a running agent."""
        settled: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._settling.append(settled)
        self.changed()
        return await settled

    async def _step(self, _: Hashable) -> None:
        settling, self._settling = self._settling, []
        outcome = "it was stopped"
        try:
            for informer in self.informers.values():
                informer.catch_up()
            await self.reconcile()
            outcome = ""
        except Exception as error:
            outcome = str(error) or type(error).__name__
            raise
        finally:
            for settled in settling:
                if not settled.done():
                    settled.set_result(outcome)

    def objects(self, kind: str) -> list[Obj]:
        """All objects of a kind, in order of namespace and name."""
        return [obj for _, obj in sorted(self.informers[kind].objects.items(), key=lambda item: item[0])]

    def _failed(self, _: Hashable, exception: Exception) -> None:
        self.warn(self.involved(), str(exception))

    def involved(self) -> Obj:
        """The object that a failure is told on: the node's, or a stand-in for a machine that is no node."""
        node = self.api.find("Node", self.node)
        return node or {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.node}}

    def warn(self, involved: Obj, message: str) -> None:
        """Record a failure as an event on an object."""
        self.api.event(
            involved, "SyncFailed", message, type="Warning", component=self.component, host=self.node
        )
