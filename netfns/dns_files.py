"""The zones of a folder, as its files say now: read whole once, then only what is appended.

    cluster.zone   replaced (another file of that name) --> read whole again
                   longer                               --> the changes at its end are taken over
    *.zone         every such file of the folder

Whoever writes a file puts a new one whole into its place (rename), or appends a change, which an empty line ends.
Files are looked at before each answer, so an answer is never older than they are, and nothing runs
while nobody asks.

Invariants: a change is taken over whole; a text that does not parse leaves in force what was read before it.
A file that is being read is held open, so its inode cannot come back as another file's.

Sources: stat(2), rename(2); netfns/dns_zones.py has the form of the text.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from netfns.dns_zones import Zones, change

CLOCK_TICK = 20_000_000  # nanoseconds; the coarsest of a file system's clock is 10 ms


@dataclass
class _File:
    descriptor: int
    inode: int
    taken: int  # bytes that are taken over


@dataclass
class ZoneFiles:
    """The zones of the files `*.zone` in a folder."""

    folder: Path
    zones: Zones = field(default_factory=Zones)
    _files: dict[str, _File] = field(default_factory=dict)
    _listed: int = -1  # the folder's time when its files were last listed

    def refresh(self) -> set[str] | None:
        """Take over what is new; the names that are different now, None when everything may be."""
        try:
            if self._is_listed() and (changed := self._follow()) is not None:
                return changed
            self._read_all()
            return None
        except OSError:
            return set()  # no folder, or a file that goes just now: the next question looks again

    def _is_listed(self) -> bool:
        """Whether the folder has the same files as at the last reading."""
        changed = self.folder.stat().st_mtime_ns
        if changed == self._listed:
            return True
        # A change within the same tick of the file system's clock would look like this one: look again then.
        self._listed = changed if time.time_ns() - changed > CLOCK_TICK else -1
        return {str(path) for path in self.folder.glob("*.zone")} == self._files.keys()

    def _follow(self) -> set[str] | None:
        """Take over what was appended; None when a file is another one than before."""
        names: set[str] = set()
        for path, file in self._files.items():
            now = os.stat(path)  # noqa: PTH116 - on the way of every batch of questions
            if now.st_ino != file.inode:
                return None
            if now.st_size > file.taken:
                new = os.pread(file.descriptor, now.st_size - file.taken, file.taken)
                names |= self._take_over(path, file, new[: new.rfind(b"\n\n") + 2])
        return names

    def _take_over(self, path: str, file: _File, text: bytes) -> set[str]:
        if len(text) < 2:  # not whole yet
            return set()
        file.taken += len(text)
        try:
            return change(self.zones, text.decode())
        except ValueError as error:
            log(f"{path}: after byte {file.taken - len(text)}: {error}: what stands before it is in force")
            return set()

    def _read_all(self) -> None:
        """Read every file from its beginning."""
        for file in self._files.values():
            os.close(file.descriptor)
        self._files.clear()
        zones = Zones()
        try:
            for path in sorted(self.folder.glob("*.zone")):
                descriptor = os.open(path, os.O_RDONLY)
                self._files[str(path)] = file = _File(descriptor, os.fstat(descriptor).st_ino, 0)
                whole = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
                file.taken = whole.rfind(b"\n") + 1
                change(zones, whole[: file.taken].decode())
        except ValueError as error:
            log(f"{self.folder}: {error}: the zones loaded before stay in force")
            return
        self.zones = zones


def log(line: str) -> None:
    """Write a line to the server's log."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
