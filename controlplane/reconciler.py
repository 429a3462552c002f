"""The loop of every controller and agent: something about `key` changed; bring the world in line with what is
wanted.

    on_change --enqueue(key)--> waiting keys --> reconcile(key) --fails--> again after a while, doubling
                                (each once)                    `--fine--> forgotten until next time

Invariants: one key is never worked on twice at the same time; a key that is enqueued while it is worked on is
worked on once more; nothing that was enqueued is lost. Reconcile reads the present state itself: keys carry
no data, so a hundred changes may become one step.

Source: client-go util/workqueue; the "Controller pattern" page of the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

FIRST_RETRY = 0.005  # seconds
LAST_RETRY = 30.0

log = logging.getLogger(__name__)
K = TypeVar("K", bound=Hashable)


class Reconciler(Generic[K]):
    """Runs `reconcile(key)` for enqueued keys, `workers` at a time.

    `min_interval` (seconds, or what tells them for a key) is the least time between two starts for the same key: the
    first is at once, a storm is coalesced. `on_error(key, exception)` is told of each failure, e.g. to record an event;
    the retry happens anyway.
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[K], Awaitable[None]],
        *,
        on_error: Callable[[K, Exception], None] | None = None,
        min_interval: float | Callable[[K], float] = 0.0,
        workers: int = 1,
    ) -> None:
        self.name = name
        self._reconcile = reconcile
        self._on_error = on_error
        self._min_interval = min_interval if callable(min_interval) else lambda _: min_interval
        self._paced = min_interval != 0.0
        self._workers = workers
        self._waiting: dict[K, None] = {}  # in order of arrival
        self._running: set[K] = set()
        self._again: set[K] = set()
        self._earliest: dict[K, float] = {}  # when a key may be started again
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._work = asyncio.Event()

    def enqueue(self, key: K) -> None:
        """`key` will be reconciled soon."""
        if key in self._running:
            self._again.add(key)
        else:
            self._waiting[key] = None
            self._work.set()

    def enqueue_all(self, keys: Iterable[K]) -> None:
        """A resync: every key is looked at again."""
        for key in tuple(keys):
            self.enqueue(key)

    def enqueue_after(self, key: K, delay: float) -> None:
        """`key` will be reconciled in `delay` seconds at the latest."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(delay, 0.0)
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._due, key)

    async def run(self) -> None:
        """Works until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._worker())
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _worker(self) -> None:
        while True:
            while not self._waiting:
                self._work.clear()
                await self._work.wait()
            key = next(iter(self._waiting))
            del self._waiting[key]
            if not self._too_early(key):
                await self._step(key)

    def _too_early(self, key: K) -> bool:
        if not self._paced:
            return False
        moment = time.monotonic()
        remaining = self._earliest.get(key, moment) - moment
        if remaining > 0:
            self.enqueue_after(key, remaining)
            return True
        self._earliest[key] = moment + self._min_interval(key)
        if len(self._earliest) > 1024:
            self._earliest = {k: then for k, then in self._earliest.items() if then > moment}
        return False

    async def _step(self, key: K) -> None:
        self._running.add(key)
        try:
            await self._reconcile(key)
        except Exception as exception:
            self._failed(key, exception)
        else:
            self._failures.pop(key, None)
        finally:
            self._running.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.enqueue(key)

    def _failed(self, key: K, exception: Exception) -> None:
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        log.debug("%s: %s: %s", self.name, key, exception, exc_info=exception)
        if self._on_error is not None:
            self._on_error(key, exception)
        self.enqueue_after(key, min(FIRST_RETRY * 2 ** min(count, 30), LAST_RETRY))

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.enqueue(key)
