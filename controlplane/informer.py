"""A read-only local picture of one kind, kept by list and watch: what every controller and agent looks at.

    list --> objects --+--> handlers (old, new)        410 Gone: list again, tell the difference
    watch --> event ---'

Invariant: `objects` is what the API held at some revision, and only moves forward. `catch_up()` takes in what
has already happened without waiting, so a reconcile step that calls it first never acts on a picture older
than its own writes (this is why controllers here need no "expectations").

Source: client-go tools/cache (Reflector, SharedInformer, Indexer).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping

from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.meta import Key, Obj, key_of
from controlplane.reconciler import Reconciler
from controlplane.store import Event, Watch

__all__ = ["Index", "Informer", "Reconciler"]

Handler = Callable[[Obj | None, Obj | None], None]
_EMPTY: Mapping[Key, Obj] = {}


class Index:
    """Objects found by something else than their name, e.g. pods by the uid of their owner."""

    def __init__(self, keys_of: Callable[[Obj], Iterable[Hashable]]) -> None:
        self._keys_of = keys_of
        self._buckets: dict[Hashable, dict[Key, Obj]] = {}

    def __getitem__(self, key: Hashable) -> Mapping[Key, Obj]:
        """The objects under `key`; empty if there are none."""
        return self._buckets.get(key, _EMPTY)

    def update(self, old: Obj | None, new: Obj | None) -> None:
        """The informer's handler."""
        before = tuple(self._keys_of(old)) if old is not None else ()
        after = tuple(self._keys_of(new)) if new is not None else ()
        if old is not None and before != after:
            self._remove(old, before)
        if new is not None:
            for key in after:
                self._buckets.setdefault(key, {})[key_of(new)] = new

    def _remove(self, old: Obj, keys: Iterable[Hashable]) -> None:
        for key in keys:
            bucket = self._buckets.get(key)
            if bucket is not None:
                bucket.pop(key_of(old), None)
                if not bucket:
                    del self._buckets[key]


class Informer:
    """See the head of this file. Handlers are called with (old, new), None meaning absent; they must not
    block.
    """

    def __init__(
        self, api: API, kind: str, *, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> None:
        self.kind = kind
        self.objects: dict[tuple[str, str], Obj] = {}
        self.synced = asyncio.Event()
        self._api = api
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._handlers: list[Handler] = []
        self._indexes: dict[Callable[[Obj], Iterable[Hashable]], Index] = {}
        self._watch: Watch | None = None
        self._due: asyncio.Handle | None = None  # when it will look at what has happened
        self._failed: asyncio.Future[None] | None = None  # while it runs
        self._loop: asyncio.AbstractEventLoop

    def on_change(self, handler: Handler) -> None:
        """`handler` is called for what is there already, and for every change from now on."""
        self._handlers.append(handler)
        for obj in tuple(self.objects.values()):
            handler(None, obj)

    def index(self, keys_of: Callable[[Obj], Iterable[Hashable]]) -> Index:
        """An index, kept from now on; the same for all who ask by the same function."""
        index = self._indexes.get(keys_of)
        if index is None:
            index = self._indexes[keys_of] = Index(keys_of)
            self.on_change(index.update)
        return index

    def get(self, namespace: str, name: str) -> Obj | None:
        """The object, or None."""
        return self.objects.get((namespace, name))

    async def run(self) -> None:
        """Keeps the picture until cancelled. Raises what a handler raises."""
        self._loop = asyncio.get_running_loop()
        self._failed = self._loop.create_future()
        try:
            self.start().listen(self._look_soon)
            await self._failed
        finally:
            self._failed = None
            if self._due is not None:
                self._due.cancel()
                self._due = None
            if self._watch is not None:
                self._watch.close()
                self._watch = None

    def _look_soon(self) -> None:
        """Called at every change, within the write that brings it about."""
        if self._due is None:
            self._due = self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._due = None
        try:
            self.catch_up()
        except Exception as error:
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(error)

    def start(self) -> Watch:
        """Lists and begins to watch, if that has not happened yet."""
        if self._watch is None:
            self._watch = self._relist()
            self.synced.set()
            if self._failed is not None:
                self._watch.listen(self._look_soon)
        return self._watch

    def catch_up(self) -> None:
        """Takes in every change that has already happened, without waiting."""
        for event in self.start().ready():
            if event.type == "ERROR":
                self._watch = None
                self.start()
                return
            self._take(event)

    def _relist(self) -> Watch:
        while True:
            selectors = {"label_selector": self._label_selector, "field_selector": self._field_selector}
            items, revision = self._api.list(self.kind, self._namespace, **selectors)
            try:
                watch = self._api.watch(self.kind, self._namespace, since=revision, **selectors)
            except StatusError as error:
                if error.code != 410:
                    raise
                continue
            self._replace_all({key_of(obj): obj for obj in items})
            return watch

    def _replace_all(self, objects: dict[Key, Obj]) -> None:
        for key in [key for key in self.objects if key not in objects]:
            self._tell(self.objects.pop(key), None)
        for key, obj in objects.items():
            old = self.objects.get(key)
            if old is not obj:
                self.objects[key] = obj
                self._tell(old, obj)

    def _take(self, event: Event) -> None:
        key = key_of(event.object)
        if event.type == "DELETED":
            old = self.objects.pop(key, None)
            if old is not None:
                self._tell(old, None)
            return
        old = self.objects.get(key)
        self.objects[key] = event.object
        self._tell(old, event.object)

    def _tell(self, old: Obj | None, new: Obj | None) -> None:
        for handler in self._handlers:
            handler(old, new)
