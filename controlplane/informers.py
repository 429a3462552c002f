"""One informer a kind, shared by all controllers of a process: the picture is kept once, however many look at
it.
"""

from __future__ import annotations

import asyncio

from controlplane.api import API
from controlplane.informer import Informer


class Informers:
    """`informers["Pod"]` is the shared informer of pods. One that is asked for while they run joins in."""

    def __init__(self, api: API) -> None:
        self._api = api
        self._informers: dict[str, Informer] = {}
        self._running: asyncio.TaskGroup | None = None

    def __getitem__(self, kind: str) -> Informer:
        """The informer of `kind`. Raises StatusError 404 for a kind that is not served."""
        if kind not in self._informers:
            self._api.kinds.get(kind)
            informer = self._informers[kind] = Informer(self._api, kind)
            if self._running is not None:
                informer.start()
                self._running.create_task(informer.run())
        return self._informers[kind]

    def start(self) -> None:
        """Fills all pictures now."""
        for informer in tuple(self._informers.values()):
            informer.start()

    async def run(self) -> None:
        """Keeps all pictures until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._running = group
            for informer in tuple(self._informers.values()):
                group.create_task(informer.run())
