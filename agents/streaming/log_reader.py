"""Reading a container's log, from its end or from a moment on, and on and on while it grows.

    0.log.1 (older part, if any) ──> 0.log ──> [pieces of output] ... inotify ──> what was added ... its end

Source: the kubelet's pkg/kubelet/kuberuntime/logs; inotify(7).
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from agents.descriptors import readable
from topo import syscalls
from topo.container_log import Record, parse, rotated

CHUNK = 1 << 16
LOOK_AGAIN = 0.2  # seconds: how late the end of a container may be noticed
_EVENTS = syscalls.IN_MODIFY | syscalls.IN_CLOSE_WRITE | syscalls.IN_ATTRIB | syscalls.IN_MOVE_SELF


class LogReader:
    """A log that is read once, forward. `path` is the newer part. Raises FileNotFoundError when there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._watch = syscalls.inotify_open()
        try:
            self._file = self._open()
        except OSError:
            os.close(self._watch)
            raise
        self._older: BinaryIO | None = None
        with contextlib.suppress(FileNotFoundError):
            self._older = Path(rotated(str(path))).open("rb")  # noqa: SIM115 (closed by `close`)
        self._torn = b""

    def _open(self) -> BinaryIO:
        file = self._path.open("rb")
        syscalls.inotify_watch(self._watch, str(self._path), _EVENTS)
        return file

    def close(self) -> None:
        """Close what is open."""
        os.close(self._watch)
        self._file.close()
        if self._older is not None:
            self._older.close()

    def skip_to_end(self) -> None:
        """Leave out all that is there."""
        self._leave_out_older()
        self._file.seek(0, os.SEEK_END)

    def skip_to_last(self, lines: int) -> None:
        """Leave out all but the last lines."""
        position, missing = _position_of_last(self._file, lines)
        self._file.seek(position)
        if not missing:
            self._leave_out_older()
        elif self._older is not None:
            self._older.seek(_position_of_last(self._older, missing)[0])

    def _leave_out_older(self) -> None:
        if self._older is not None:
            self._older.close()
            self._older = None

    def available(self) -> Iterator[list[Record]]:
        """What is there now, some of it at a time."""
        if self._older is not None:
            yield from self._read(self._older)
            self._leave_out_older()
        yield from self._read(self._file)

    def _read(self, file: BinaryIO) -> Iterator[list[Record]]:
        while data := file.read(CHUNK):
            *lines, self._torn = (self._torn + data).split(b"\n")
            records = [parse(line + b"\n") for line in lines]
            yield [record for record in records if record is not None]

    async def follow(self, running: Callable[[], bool]) -> AsyncIterator[list[Record]]:
        """What is there, and what is added, until the container runs no more."""
        last = False
        while True:
            for records in self.available():
                yield records
            if self._replaced():
                continue
            if last:
                return
            last = not running()
            if not last:
                await self._changed()

    def _replaced(self) -> bool:
        """Go on with the new file, if there is one now under the log's name."""
        try:
            if self._path.stat().st_ino == os.fstat(self._file.fileno()).st_ino:
                return False
            before, self._file = self._file, self._open()
        except FileNotFoundError:
            return False
        self._older = before  # what was written to it meanwhile comes first
        return True

    async def _changed(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN):
                await readable(self._watch)
        with contextlib.suppress(BlockingIOError):
            os.read(self._watch, CHUNK)


def _position_of_last(file: BinaryIO, lines: int) -> tuple[int, int]:
    """Where the last `lines` lines of output begin in a log, and how many of them are not in it."""
    size = os.fstat(file.fileno()).st_size
    if lines <= 0 or size == 0:
        return size, max(0, lines)
    with mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as text:
        end, found = size, 0
        while end > 0:
            start = text.rfind(b"\n", 0, end - 1) + 1
            record = parse(text[start:end])
            if record is not None and (record.text.endswith(b"\n") or end == size):
                if found == lines:
                    return end, 0
                found += 1
            end = start
    return 0, lines - found
