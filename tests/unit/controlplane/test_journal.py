"""The journal: what was written is read again, whatever happens to the file or to the writer."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane import journal
from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.journal import Journal, JournalError
from controlplane.store import Store

Obj = dict[str, Any]


def thing(name: str, value: str = "") -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "a"},
        "data": {"k": value},
    }


def opened(path: Path, **options: Any) -> tuple[Store, Journal]:
    """The store that a journal describes, and the journal, continued."""
    contents = journal.read(path) if path.exists() else None
    writer = Journal(path, contents, **options)
    store = Store(writer, contents.snapshot if contents else None)
    writer.snapshot = store.snapshot
    return store, writer


def everything(store: Store) -> dict[tuple[str, str, str], Obj]:
    return {
        (kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]): obj
        for kind, obj in store.snapshot().objects
    }


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    store, _ = opened(tmp_path / "journal")
    store.put("ConfigMap", thing("x", "ä\n\u2028 \ud800"))
    store.put("ConfigMap", thing("y"))
    store.remove("ConfigMap", "a", "y")
    again, _ = opened(tmp_path / "journal")
    assert everything(again) == everything(store)
    assert again.revision == store.revision
    with pytest.raises(StatusError) as caught:
        again.watch("ConfigMap", "", 1, None)
    assert caught.value.code == 410, "history before the restart is gone"


@given(cut=st.integers(0, 10_000), flip=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_torn_end_is_dropped_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: bool
) -> None:
    path = tmp_path_factory.mktemp("torn") / "journal"
    store, _ = opened(path)
    states = [everything(store)]
    ends = [0]
    for number in range(8):
        store.put("ConfigMap", thing(f"n{number % 3}", "v" * number))
        states.append(everything(store))
        ends.append(path.stat().st_size)
    position = cut % ends[-1]
    data = path.read_bytes()
    whole = sum(end <= position for end in ends) - 1
    if flip:  # the last sector was written, but not with what it should hold
        data = data[:position] + bytes([data[position] ^ 0x55]) + b"\0" * (ends[whole + 1] - position - 1)
    else:
        data = data[:position]
    path.write_bytes(data)
    contents = journal.read(path)
    assert bool(contents.torn) == (flip or position != ends[whole])
    again, writer = opened(path)
    assert everything(again) == states[whole]
    again.put("ConfigMap", thing("later"))
    assert ("ConfigMap", "a", "later") in journal.read(path).objects
    asyncio.run(writer.close())


def test_a_hole_is_not_taken_for_a_torn_end(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    store, _ = opened(path)
    for name in "xyz":
        store.put("ConfigMap", thing(name))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalError, match=r"record 2 is damaged .* good ones follow"):
        journal.read(path)


def test_a_record_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(journal._line({"hello": 1}))
    with pytest.raises(JournalError, match="record 1: not one of a journal"):
        journal.read(path)


def test_rewriting_keeps_all_and_shortens(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    async def scenario() -> Store:
        store, writer = opened(path, compact_at=20_000)
        written = 0
        for number in range(600):
            store.put("ConfigMap", thing(f"n{number % 10}", "v" * 100))
            written += 300
            if number % 50 == 0:
                await writer.synced()
        store.remove("ConfigMap", "a", "n3")
        await writer.close()
        assert path.stat().st_size < written / 2
        return store

    store = asyncio.run(scenario())
    again, _ = opened(path)
    assert everything(again) == everything(store)
    assert again.revision == store.revision
    assert [entry.name for entry in tmp_path.iterdir()] == ["journal"]


def test_many_wait_for_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = os.fdatasync

    def counted(file: int) -> None:
        calls.append(file)
        real(file)

    monkeypatch.setattr(os, "fdatasync", counted)

    async def scenario() -> None:
        store, writer = opened(tmp_path / "journal")

        async def one(number: int) -> None:
            store.put("ConfigMap", thing(f"n{number}"))
            await writer.synced()

        await asyncio.gather(*(one(number) for number in range(500)))

    asyncio.run(scenario())
    assert 1 <= len(calls) <= 5


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_refuses_the_write_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    store, writer = opened(path)
    api = API(store)
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})
    watch = api.watch("ConfigMap", since=store.revision)
    before, length, revision = everything(store), path.stat().st_size, store.revision
    with file_limit(length + 200), pytest.raises(StatusError) as caught:
        api.create(thing("big", "v" * 10_000))
    assert caught.value.code == 500
    assert "nothing was changed: make room in" in caught.value.message
    assert (everything(store), path.stat().st_size, store.revision) == (before, length, revision)
    assert watch.ready() == []
    api.create(thing("small"))
    assert [event.object["metadata"]["name"] for event in watch.ready()] == ["small"]
    again, _ = opened(path)
    assert everything(again) == everything(store)
    api.event(thing("small"), "Because", "said", component="test")
    with file_limit(path.stat().st_size):
        api.event(thing("small"), "Because", "an event never raises", component="test")
    asyncio.run(writer.close())


def test_a_disk_that_fails_is_never_trusted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: int) -> None:
        raise OSError(5, "Input/output error")

    async def scenario() -> None:
        store, writer = opened(tmp_path / "journal")
        monkeypatch.setattr(os, "fdatasync", broken)
        store.put("ConfigMap", thing("x"))
        with pytest.raises(StatusError, match="Input/output error"):
            await writer.synced()
        with pytest.raises(StatusError, match="Input/output error"):
            store.put("ConfigMap", thing("y"))
        assert ("ConfigMap", "a", "y") not in everything(store)

    asyncio.run(scenario())


WRITER = """
import asyncio, sys
from pathlib import Path
from controlplane.journal import Journal
from controlplane.store import Store

async def main():
    writer = Journal(Path(sys.argv[1]), compact_at=30_000)
    store = Store(writer)
    writer.snapshot = store.snapshot
    number = 0
    while True:
        for _ in range(20):
            number += 1
            metadata = {"name": f"n{number % 40}", "namespace": "a"}
            store.put("ConfigMap", {"metadata": metadata, "number": number, "data": "v" * 300})
        await writer.synced()
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("attempt", range(5))
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path, attempt: int) -> None:
    path = tmp_path / "journal"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = random.Random(attempt).randint(1, 60)
    acknowledged = [int(process.stdout.readline()) for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    process.wait()
    contents = journal.read(path)
    numbers = {obj["number"] for obj in contents.objects.values()}
    last = max(numbers)
    assert last >= acknowledged[-1]
    assert numbers == set(range(max(1, last - 39), last + 1)), "each object is in its last state"
    assert contents.revision >= last
