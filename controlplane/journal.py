"""The journal: every write of the store, on disk before anybody is told that it has happened.

    store.put --write()--> one line appended ----------------> the kernel has it: survives kill -9 of this process
    HTTP answer --synced()--> fdatasync for all who wait ----> the disk has it: survives a power cut
    too long? --> all objects into FILE.new, then renamed over FILE; what is written meanwhile goes to both

A line is `CRC32 JSON`: {"revision": 7, "kind": "Pod", "object": {…}} for a new state, {"revision": 8, "kind": "Pod",
"gone": ["default", "web"]} for a removal. It can be read with less(1), and every prefix of it is a valid journal.

Invariants: a write that cannot be recorded (a full disk) is refused before anything has changed, and leaves no half
line. A last line that is torn was never acknowledged: it is dropped, and that is told. A damaged line with good ones
behind it is no torn end but a damaged file: nobody guesses then.

Sources: the model is etcd's write-ahead log; fdatasync(2), rename(2); PostgreSQL's manual on group commit.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from controlplane.errors import StatusError
from controlplane.json_text import to_json
from controlplane.meta import Obj, key_of
from controlplane.store import Change, Snapshot

COMPACT_AT = 16 << 20  # bytes: a shorter journal is never rewritten
GROWTH = 4  # a journal is rewritten when it is this many times as long as after the last time
CHUNK = 256  # objects written at once while the journal is rewritten

log = logging.getLogger(__name__)


class JournalError(Exception):
    """The journal cannot be read: one line that says where and why."""


@dataclass
class Contents:
    """What a journal says. `good` is its length in bytes up to a torn end, `torn` the message about that."""

    revision: int = 1
    objects: dict[tuple[str, str, str], Obj] = field(
        default_factory=dict
    )  # (kind, namespace, name) -> object
    good: int = 0
    torn: str = ""

    def take(self, record: dict[str, Any]) -> None:
        """Apply one record. Raises KeyError, TypeError for one that is none."""
        kind, revision = record["kind"], int(record["revision"])
        if "gone" in record:
            namespace, name = record["gone"]
            self.objects.pop((kind, namespace, name), None)
        elif kind:
            self.objects[(kind, *key_of(record["object"]))] = record["object"]
        self.revision = max(self.revision, revision)

    @property
    def snapshot(self) -> Snapshot:
        """What a store is restored from."""
        return Snapshot(self.revision, tuple((key[0], obj) for key, obj in self.objects.items()))


def read(path: Path) -> Contents:
    """What the journal at `path` holds. Raises JournalError, OSError."""
    contents = Contents()
    data = path.read_bytes()
    number = 0
    while contents.good < len(data):
        number += 1
        end = data.find(b"\n", contents.good)
        record = _decode(data[contents.good : end]) if end >= 0 else None
        if record is None:
            _refuse_hole(path, data, contents.good, number)
            rest = len(data) - contents.good
            contents.torn = f"{path}: record {number}, the last, is torn: its {rest} bytes are dropped"
            break
        try:
            contents.take(record)
        except (KeyError, TypeError, ValueError) as error:
            raise JournalError(f"{path}: record {number}: not one of a journal: {error!r}") from None
        contents.good = end + 1
    return contents


def _refuse_hole(path: Path, data: bytes, start: int, number: int) -> None:
    """A bad line is a torn end only when nothing good follows it."""
    later = data[start:].split(b"\n")[1:]
    if any(_decode(line) is not None for line in later):
        advice = "start without --resume, or put a good copy in its place"
        raise JournalError(
            f"{path}: record {number} is damaged at byte {start}, and good ones follow: {advice}"
        )


def _decode(line: bytes) -> dict[str, Any] | None:
    """The record of a line without its end; None for a damaged one."""
    checksum, _, text = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(text):
            return None
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _line(record: dict[str, Any]) -> bytes:
    text = to_json(record)
    return b"%08x %s\n" % (zlib.crc32(text), text)


class Journal:
    """A journal that is written to. All methods but those of threads belong to one event loop.

    `snapshot` gives all objects; it is called between two writes. Raises OSError, JournalError when made.
    """

    def __init__(self, path: Path, contents: Contents | None = None, *, compact_at: int = COMPACT_AT) -> None:
        """Continue the journal at `path` behind `contents`, which `read` returned; without, begin a new one."""
        self.path = path
        self.snapshot: Callable[[], Snapshot] | None = None
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._length = contents.good if contents is not None else 0
        os.ftruncate(self._file, self._length)
        os.lseek(self._file, self._length, os.SEEK_SET)
        os.fsync(self._file)
        _sync_folder(path.parent)
        self._compact_at = self._threshold = compact_at
        self._written = self._synced = 0  # records of this process
        self._flush: asyncio.Task[None] | None = None
        self._compaction: asyncio.Task[None] | None = None
        self._meanwhile: list[bytes] | None = None  # what is written while the journal is rewritten
        self._broken = ""

    def write(self, change: Change) -> None:
        """Record a change that is about to happen. Raises StatusError 500: then nothing is recorded."""
        if self._broken:
            raise self._refusal(self._broken)
        record: dict[str, Any] = {"revision": change.revision, "kind": change.kind}
        if change.new is not None:
            record["object"] = change.new
        elif change.old is not None:
            record["gone"] = key_of(change.old)
        line = _line(record)
        try:
            _write_all(self._file, line)
        except OSError as error:
            os.ftruncate(self._file, self._length)
            os.lseek(self._file, self._length, os.SEEK_SET)
            raise self._refusal(error.strerror or str(error)) from None
        self._length += len(line)
        self._written += 1
        if self._meanwhile is not None:
            self._meanwhile.append(line)
        elif self._length > self._threshold and (self._compaction is None or self._compaction.done()):
            self._threshold *= 2  # should it fail, it is not tried again at once
            self._compaction = asyncio.get_running_loop().create_task(self._compact())

    async def synced(self) -> None:
        """Return when all that has been written so far is on disk. Raises StatusError 500 when it never will be."""
        target = self._written
        while self._synced < target:
            if self._broken:
                raise self._refusal(self._broken)
            if self._flush is None or self._flush.done():
                self._flush = asyncio.get_running_loop().create_task(self._sync())
            await asyncio.shield(self._flush)

    async def _sync(self) -> None:
        """One fdatasync for everybody who waits: those who come during it wait for the next."""
        written, file = self._written, self._file
        try:
            await asyncio.to_thread(os.fdatasync, file)
        except OSError as error:
            self._broken = f"{error.strerror}: what was not on disk may be lost"
            return
        self._synced = max(self._synced, written)

    def _refusal(self, why: str) -> StatusError:
        advice = f"make room in {self.path.parent}, then try again"
        return StatusError(500, "InternalError", f"journal: {why}: nothing was changed: {advice}")

    async def _compact(self) -> None:
        """Rewrite the journal as what there is now. A failure leaves the old one, which is as good."""
        if self.snapshot is None:
            return
        snapshot, self._meanwhile = self.snapshot(), []
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            file = await asyncio.to_thread(_write_snapshot, beside, snapshot)
            self._take_over(beside, file, self._meanwhile)
        except OSError as error:
            log.warning("%s: not rewritten: %s", self.path, error)
            beside.unlink(missing_ok=True)
        finally:
            self._meanwhile = None

    def _take_over(self, beside: Path, file: int, meanwhile: Iterable[bytes]) -> None:
        """Without waiting, so that no write comes between. Raises OSError."""
        try:
            _write_all(file, b"".join(meanwhile))
            os.fdatasync(file)
            beside.replace(self.path)
        except OSError:
            os.close(file)
            raise
        if self._flush is None or self._flush.done():
            os.close(self._file)
        else:
            self._flush.add_done_callback(partial(_close, self._file))
        self._file, self._length = file, os.lseek(file, 0, os.SEEK_CUR)
        self._threshold = max(self._compact_at, GROWTH * self._length)
        self._synced = self._written
        _sync_folder(self.path.parent)

    async def close(self) -> None:
        """Everything is on disk, and the file is closed."""
        if self._compaction is not None:
            await asyncio.wait({self._compaction})
        await self.synced()
        os.close(self._file)


def _close(file: int, _: asyncio.Task[None]) -> None:
    """Called when the flush that still uses an old file has ended."""
    os.close(file)


def _write_snapshot(path: Path, snapshot: Snapshot) -> int:
    """A new journal that holds a snapshot, on disk. Returns its open descriptor. Raises OSError."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(file, _line({"revision": snapshot.revision, "kind": ""}))
        for start in range(0, len(snapshot.objects), CHUNK):
            part = snapshot.objects[start : start + CHUNK]
            lines = [
                _line({"revision": int(obj["metadata"]["resourceVersion"]), "kind": kind, "object": obj})
                for kind, obj in part
            ]
            _write_all(file, b"".join(lines))
        os.fdatasync(file)
    except BaseException:
        os.close(file)
        raise
    return file


def _write_all(file: int, data: bytes) -> None:
    """write(2) may take less than it is given, just before a disk is full."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(path: Path) -> None:
    """A new name is on disk only when its folder is."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
