from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from controlplane.api import API
from controlplane.errors import expired
from controlplane.informer import Informer
from controlplane.meta import labels_of

Obj = dict[str, Any]
Make = Callable[..., Obj]


def test_picture_and_handlers_follow(api: API, pod: Make) -> None:
    api.create(pod("a"))
    informer = Informer(api, "Pod")
    told: list[tuple[str, str]] = []
    informer.on_change(
        lambda old, new: told.append(("" if old is None else "old", "" if new is None else "new"))
    )
    informer.catch_up()
    api.patch("Pod", "a", "default", {"metadata": {"labels": {"x": "y"}}})
    api.create(pod("b"))
    informer.catch_up()
    api.delete("Pod", "a", "default")
    informer.catch_up()
    assert told == [("", "new"), ("old", "new"), ("", "new"), ("old", "")]
    assert list(informer.objects) == [("default", "b")]
    late: list[Obj | None] = []
    informer.on_change(lambda old, new: late.append(new))
    assert late == [informer.get("default", "b")]


def test_selected_part_only(api: API, pod: Make) -> None:
    informer = Informer(api, "Pod", field_selector="spec.nodeName=n1")
    api.create(pod("a"))
    api.create(pod("b"))
    informer.catch_up()
    assert informer.objects == {}
    api.bind("a", "default", "n1")
    informer.catch_up()
    assert list(informer.objects) == [("default", "a")]


def test_lost_history_is_listed_again(api: API, pod: Make) -> None:
    api.create(pod("gone"))
    api.create(pod("kept"))
    informer = Informer(api, "Pod")
    watch = informer.start()
    told: list[str] = []
    informer.on_change(lambda old, new: told.append("gone" if new is None else "there" if old else "new"))
    told.clear()
    watch._fail(expired("gone"))
    api.delete("Pod", "gone", "default")
    api.create(pod("fresh"))
    informer.catch_up()
    assert sorted(name for _, name in informer.objects) == ["fresh", "kept"]
    assert sorted(told) == ["gone", "new"]
    api.create(pod("later"))
    informer.catch_up()
    assert ("default", "later") in informer.objects


def test_index_follows(api: API, pod: Make) -> None:
    informer = Informer(api, "Pod")
    index = informer.index(lambda obj: labels_of(obj).values())
    api.create(pod("a"))
    api.create(pod("b"))
    informer.catch_up()
    assert set(index["web"]) == {("default", "a"), ("default", "b")}
    api.patch("Pod", "a", "default", {"metadata": {"labels": {"app": "api"}}})
    api.delete("Pod", "b", "default")
    informer.catch_up()
    assert not index["web"]
    assert set(index["api"]) == {("default", "a")}


def test_run_until_cancelled(api: API, pod: Make) -> None:
    async def scenario() -> None:
        informer = Informer(api, "Pod")
        task = asyncio.create_task(informer.run())
        async with asyncio.timeout(20):
            await informer.synced.wait()
            api.create(pod("a"))
            seen = asyncio.Event()
            informer.on_change(lambda old, new: seen.set())
            await seen.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(api.store._watches["Pod"]) == 0

    asyncio.run(scenario())


def test_while_it_runs_a_lost_history_is_listed_again_and_followed(api: API, pod: Make) -> None:
    async def scenario() -> None:
        informer = Informer(api, "Pod")
        told: asyncio.Queue[str] = asyncio.Queue()
        informer.on_change(lambda old, new: told.put_nowait((new or old or {})["metadata"]["name"]))
        task = asyncio.create_task(informer.run())
        await informer.synced.wait()
        watch = informer.start()
        watch._fail(expired("gone"))
        watch._wake()
        async with asyncio.timeout(20):
            for name in ("a", "b"):
                api.create(pod(name))
                assert await told.get() == name
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_what_a_handler_raises_ends_it(api: API, pod: Make) -> None:
    def handler(old: Obj | None, new: Obj | None) -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        informer = Informer(api, "Pod")
        task = asyncio.create_task(informer.run())
        await informer.synced.wait()
        informer.on_change(handler)
        api.create(pod("a"))
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(task, 20)
        assert len(api.store._watches["Pod"]) == 0

    asyncio.run(scenario())
