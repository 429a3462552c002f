from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_watch_that_wants_one_value_of_a_field_sees_an_object_come_and_go() -> None:
    store = Store()
    watches = {
        node: store.watch("Thing", "", store.revision, predicate("", f"node={node}", frozenset({"node"})))
        for node in ("one", "two")
    }
    elsewhere = store.watch("Thing", "", store.revision, predicate("", "node!=one", frozenset({"node"})))
    for node in ("", "one", "one", "two"):
        store.put("Thing", {**thing("x"), "node": node})
    assert told(watches["one"]) == [("ADDED", "x"), ("MODIFIED", "x"), ("DELETED", "x")]
    watches["one"].close()
    store.remove("Thing", "a", "x")
    assert told(watches["one"]) == []
    assert told(watches["two"]) == [("ADDED", "x"), ("DELETED", "x")]
    assert told(elsewhere) == [("ADDED", "x"), ("DELETED", "x"), ("ADDED", "x"), ("DELETED", "x")]


@given(st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from(["", "one", "two"]), st.booleans())))
def test_what_is_found_by_a_field_is_what_the_selector_says(writes: list[tuple[str, str, bool]]) -> None:
    store = Store()
    found = store.watch("Thing", "", store.revision, predicate("", "node=one", frozenset({"node"})))
    inside: dict[str, bool] = {}
    expected = []
    for name, node, remove in writes:
        before, after = inside.get(name, False), node == "one" and not remove
        if remove and name in inside:
            store.remove("Thing", "a", name)
            del inside[name]
        elif not remove:
            store.put("Thing", {**thing(name), "node": node})
            inside[name] = after
        if after or before:
            kind = ("MODIFIED" if before else "ADDED") if after else "DELETED"
            expected.append((kind, name))
    assert told(found) == expected


def test_a_watch_has_not_come_further_than_to_what_it_has_not_told() -> None:
    store = Store()
    watch = store.watch("Thing", "", store.revision, None)
    store.put("Thing", thing("x"))
    before = store.revision - 1
    store.put("Thing", thing("y"))
    store.put("Other", thing("z"))
    assert watch.revision == before
    watch.ready()
    assert watch.revision == store.revision


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
