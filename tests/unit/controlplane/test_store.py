from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controlplane import store as store_module
from controlplane.errors import StatusError
from controlplane.selectors import predicate
from controlplane.store import Change, Store


def thing(name: str, namespace: str = "a", **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "labels": fields}}


def told(watch: Any) -> list[tuple[str, str]]:
    return [(event.type, event.object["metadata"]["name"]) for event in watch.ready()]


class Notes:
    """A journal that is a list."""

    def __init__(self, changes: list[Change]) -> None:
        self.changes = changes

    def write(self, change: Change) -> None:
        self.changes.append(change)

    async def synced(self) -> None:
        """At once."""


def test_every_write_has_its_own_growing_revision() -> None:
    changes: list[Change] = []
    store = Store(Notes(changes))
    store.put("Thing", thing("x"))
    store.put("Other", thing("x"))
    store.put("Thing", thing("x"))
    last = store.remove("Thing", "a", "x")
    revisions = [change.revision for change in changes]
    assert revisions == sorted(set(revisions))
    assert last["metadata"]["resourceVersion"] == str(store.revision)
    assert changes[-1].old is changes[-2].new
    assert store.get("Thing", "a", "x") is None
    assert store.count("Thing") == 0


def test_watch_sees_each_later_change_once_in_order() -> None:
    store = Store()
    store.put("Thing", thing("before"))
    since = store.revision
    store.put("Thing", thing("x"))
    watch = store.watch("Thing", "", since, None)
    store.put("Thing", thing("x"))
    store.put("Other", thing("y"))
    store.remove("Thing", "a", "x")
    assert told(watch) == [("ADDED", "x"), ("MODIFIED", "x"), ("DELETED", "x")]
    watch.close()
    store.put("Thing", thing("z"))
    assert told(watch) == []


def test_watch_of_one_namespace() -> None:
    store = Store()
    watch = store.watch("Thing", "b", store.revision, None)
    store.put("Thing", thing("x", "a"))
    store.put("Thing", thing("y", "b"))
    assert told(watch) == [("ADDED", "y")]


def test_selector_makes_its_own_world() -> None:
    store = Store()
    watch = store.watch("Thing", "", store.revision, predicate("on=yes", "", frozenset()))
    for value in ("no", "yes", "yes", "no", "no"):
        store.put("Thing", thing("x", on=value))
    assert told(watch) == [("ADDED", "x"), ("MODIFIED", "x"), ("DELETED", "x")]


def test_compacted_history_is_410_and_the_future_is_504(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "HISTORY", 2)
    store = Store()
    since = store.revision
    for _ in range(3):
        store.put("Thing", thing("x"))
    with pytest.raises(StatusError) as caught:
        store.watch("Thing", "", since, None)
    assert (caught.value.code, caught.value.reason) == (410, "Expired")
    assert len(store.watch("Thing", "", store.revision - 2, None).ready()) == 2
    with pytest.raises(StatusError) as caught:
        store.watch("Thing", "", store.revision + 1, None)
    assert caught.value.code == 504


def test_slow_watch_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "BACKLOG", 3)
    store = Store()
    watch = store.watch("Thing", "", store.revision, None)
    for _ in range(9):
        store.put("Thing", thing("x"))
    events = watch.ready()
    assert [event.type for event in events] == ["ERROR"]
    assert events[0].object["code"] == 410


def test_iterating_and_closing() -> None:
    async def scenario() -> list[str]:
        store = Store()
        watch = store.watch("Thing", "", store.revision, None)
        loop = asyncio.get_running_loop()
        loop.call_soon(store.put, "Thing", thing("x"))
        loop.call_later(0.01, watch.close)
        return [event.type async for event in watch]

    assert asyncio.run(scenario()) == ["ADDED"]
