"""Where objects live: tables of immutable objects, one counter of revisions, and a history that watches read.

    write -> journal (when there is one: what it cannot record does not happen)
          -> table
          -> history of the kind (the last HISTORY changes; older ones are compacted away)
          -> every watch on the kind, synchronously

Invariants: a stored object never changes; a change replaces it. Every change has its own revision, larger
than all before, which is also the object's resourceVersion. A watch that starts at revision R sees every
later change of its kind once, in order, or is told at once (410 Expired) that history no longer reaches back
to R.

The model is etcd as Kubernetes uses it (Kubernetes API concepts, "Resource versions" and "Efficient detection
of changes").
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from controlplane.errors import StatusError, expired, too_large_version
from controlplane.meta import Obj, key_of
from controlplane.selectors import FieldValue, Selection, field_value

HISTORY = 8192  # changes of one kind that a late watch can still ask for
BACKLOG = 65536  # changes that a slow watch may leave unread before it is ended

Table = dict[str, dict[str, Obj]]  # namespace -> name -> object


class Change(NamedTuple):
    """One write: `old` is None for a creation, `new` is None for a deletion."""

    revision: int
    kind: str
    namespace: str
    old: Obj | None
    new: Obj | None


class Event(NamedTuple):
    """What a watch yields: type is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR (then object is a Status)."""

    type: str
    object: Obj


class Snapshot(NamedTuple):
    """All objects at one revision, as (kind, object)."""

    revision: int
    objects: tuple[tuple[str, Obj], ...]


class Recorder(Protocol):
    """What keeps a store's writes: journal.py."""

    def write(self, change: Change) -> None:
        """Record a change that is about to happen. Raises StatusError: then it does not."""

    async def synced(self) -> None:
        """Return when all that has been recorded is safe. Raises StatusError."""


class Watch:
    """An endless asynchronous iterator of Events. Ends after `close()`, or after an ERROR event."""

    def __init__(self, store: Store, kind: str, namespace: str, matches: Selection | None) -> None:
        self._store = store
        self._kind = kind
        self._namespace = namespace
        self._matches = matches
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._listener: Callable[[], None] | None = None
        self._closed = False

    @property
    def revision(self) -> int:
        """Everything up to this revision has been taken."""
        if self._events and self._events[0].type != "ERROR":
            return int(self._events[0].object["metadata"]["resourceVersion"]) - 1
        return self._store.revision

    @property
    def wanted(self) -> FieldValue | None:
        """The one value of a field without which an object does not matter here; None where there is none."""
        return self._matches.wanted if self._matches is not None else None

    def offer(self, change: Change) -> None:
        """Called by the store for every change of the kind that may matter."""
        if self._namespace and change.namespace != self._namespace:
            return
        event = self._translate(change)
        if event is not None:
            self._events.append(event)
            if len(self._events) > BACKLOG:
                self._fail(expired("too many unread events: the watch was too slow"))
            self._wake()

    def _translate(self, change: Change) -> Event | None:
        """A selector makes its own world: an object enters it (ADDED), changes in it, or leaves (DELETED)."""
        matches = self._matches
        before = change.old is not None and (matches is None or matches(change.old))
        after = change.new is not None and (matches is None or matches(change.new))
        if after:
            assert change.new is not None
            return Event("MODIFIED" if before else "ADDED", change.new)
        if before:
            assert change.old is not None
            return Event("DELETED", _at_revision(change.old, change.revision))
        return None

    def _fail(self, error: StatusError) -> None:
        self._events.clear()
        self._events.append(Event("ERROR", error.status()))
        self._store.forget(self._kind, self)

    def listen(self, listener: Callable[[], None]) -> None:
        """`listener` is called at every change, in place of a task that waits: it costs a tenth of waking that."""
        self._listener = listener
        if self._events:
            listener()

    def _wake(self) -> None:
        if self._listener is not None:
            self._listener()
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def ready(self) -> list[Event]:
        """Takes the events that have already arrived, without waiting."""
        events = list(self._events)
        self._events.clear()
        return events

    async def wait(self) -> bool:
        """Waits until there is something to take; False when the watch is closed."""
        while not self._events and not self._closed:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return not self._closed

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Event:
        if not await self.wait():
            raise StopAsyncIteration
        event = self._events.popleft()
        if event.type == "ERROR":
            self.close()
        return event

    def close(self) -> None:
        """Ends the watch; whoever waits for it is woken."""
        self._closed, self._listener = True, None
        self._store.forget(self._kind, self)
        self._wake()


class _Watches:
    """The watches of one kind. Those that want one value of a field are found by it: each kubelet follows the pods
    of its own node, and what happens to a pod is not offered to all of them.
    """

    def __init__(self) -> None:
        self._all: dict[Watch, None] = {}  # in the order in which they came
        self._by_field: dict[str, dict[str, dict[Watch, None]]] = {}  # path -> value -> watches

    def _among(self, watch: Watch) -> dict[Watch, None]:
        if watch.wanted is None:
            return self._all
        path, value = watch.wanted
        return self._by_field.setdefault(path, {}).setdefault(value, {})

    def __len__(self) -> int:
        return len(self._all) + sum(len(found) for by in self._by_field.values() for found in by.values())

    def add(self, watch: Watch) -> None:
        """From now on it is among those concerned."""
        self._among(watch)[watch] = None

    def discard(self, watch: Watch) -> None:
        """It is not any more, if it was."""
        self._among(watch).pop(watch, None)
        for path, by_value in tuple(self._by_field.items()):
            self._by_field[path] = {value: watches for value, watches in by_value.items() if watches}

    def concerned(self, change: Change) -> list[Watch]:
        """Those to which a change may matter."""
        found = list(self._all)
        for path, by_value in self._by_field.items():
            before = None if change.old is None else field_value(change.old, path)
            after = None if change.new is None else field_value(change.new, path)
            if before is not None:
                found += by_value.get(before, ())
            if after is not None and after != before:
                found += by_value.get(after, ())
        return found


def _at_revision(obj: Obj, revision: int) -> Obj:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(revision)}}


class Store:
    """All objects of a cluster. Not thread-safe: everything happens in one event loop, a write is one step of
    it.
    """

    def __init__(self, journal: Recorder | None = None, snapshot: Snapshot | None = None) -> None:
        """Empty, or as it was at `snapshot`; history begins there."""
        self.revision = self._beginning = snapshot.revision if snapshot is not None else 1
        self._journal = journal
        self._tables: dict[str, Table] = {}
        self._history: dict[str, deque[Change]] = {}
        self._compacted: dict[str, int] = {}
        self._watches: dict[str, _Watches] = {}
        for kind, obj in snapshot.objects if snapshot is not None else ():
            namespace, name = key_of(obj)
            self._tables.setdefault(kind, {}).setdefault(namespace, {})[name] = obj

    def snapshot(self) -> Snapshot:
        """All objects as they are now."""
        objects = tuple((kind, obj) for kind in self._tables for obj in self.objects(kind))
        return Snapshot(self.revision, objects)

    async def synced(self) -> None:
        """Return when every write up to now is safe. Raises StatusError 500."""
        if self._journal is not None:
            await self._journal.synced()

    def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        """The object, or None."""
        table = self._tables.get(kind)
        if table is None:
            return None
        return table.get(namespace, {}).get(name)

    def objects(self, kind: str, namespace: str = "") -> Iterator[Obj]:
        """All objects of a kind, in all namespaces or in one, in no particular order."""
        table = self._tables.get(kind, {})
        if namespace:
            yield from table.get(namespace, {}).values()
            return
        for names in table.values():
            yield from names.values()

    def count(self, kind: str, namespace: str = "") -> int:
        """How many objects there are."""
        table = self._tables.get(kind, {})
        return len(table.get(namespace, {})) if namespace else sum(map(len, table.values()))

    def put(self, kind: str, obj: Obj) -> Obj:
        """Stores a new state. `obj` and its metadata must be fresh dicts: the resourceVersion is written into
        them. Raises StatusError 500 when the journal cannot take it.
        """
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        metadata["resourceVersion"] = str(self.revision + 1)
        change = Change(self.revision + 1, kind, namespace, self.get(kind, namespace, name), obj)
        self._record(change)
        self._tables.setdefault(kind, {}).setdefault(namespace, {})[name] = obj
        self._publish(change)
        return obj

    def remove(self, kind: str, namespace: str, name: str) -> Obj:
        """Removes an object; returns its last state, with the revision of its removal. Raises KeyError."""
        names = self._tables[kind][namespace]
        change = Change(self.revision + 1, kind, namespace, names[name], None)
        self._record(change)
        old = names.pop(name)
        if not names:
            del self._tables[kind][namespace]
        self._publish(change)
        return _at_revision(old, self.revision)

    def _record(self, change: Change) -> None:
        """Before anything changes, for this may fail."""
        if self._journal is not None:
            self._journal.write(change)
        self.revision = change.revision

    def _publish(self, change: Change) -> None:
        history = self._history.get(change.kind)
        if history is None:
            history = self._history[change.kind] = deque()
        history.append(change)
        if len(history) > HISTORY:
            self._compacted[change.kind] = history.popleft().revision
        if change.kind in self._watches:
            for watch in self._watches[change.kind].concerned(change):
                watch.offer(change)

    def watch(self, kind: str, namespace: str, since: int, matches: Selection | None) -> Watch:
        """A watch of all changes after revision `since`. Raises StatusError 410 when history is gone, 400 for
        the future.
        """
        compacted = self._compacted.get(kind, self._beginning if self._beginning > 1 else 0)
        if since < compacted:
            raise expired(f"too old resource version: {since} ({compacted})")
        if since > self.revision:
            raise too_large_version(since, self.revision)
        watch = Watch(self, kind, namespace, matches)
        for change in self._later(kind, since):
            watch.offer(change)
        self._watches.setdefault(kind, _Watches()).add(watch)
        return watch

    def _later(self, kind: str, since: int) -> list[Change]:
        later: list[Change] = []
        for change in reversed(self._history.get(kind, ())):
            if change.revision <= since:
                break
            later.append(change)
        later.reverse()
        return later

    def forget(self, kind: str, watch: Watch) -> None:
        """Stops telling `watch` about changes."""
        if kind in self._watches:
            self._watches[kind].discard(watch)
