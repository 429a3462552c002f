"""Archives that somebody else has made: unpacked into a folder, or refused with one line.

    .zip .tar .tar.gz .tgz .tar.bz2 .tar.xz ──> plain files below `into`, and nothing else

Refused: an absolute path or one with `..`, a link, a device, a name twice, what is not an archive, what needs a
password, and what is larger than a submission can be: too many entries, or too many bytes, counted while they are
unpacked and not as the archive says.

Invariant: nothing is written outside `into`, and never more than MOST_BYTES.

Sources: PKWARE's APPNOTE.TXT 4.4 (zip); POSIX pax, "ustar Interchange Format"; zipfile and tarfile in Python's
documentation, which both warn of what is refused here.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

MOST_ARCHIVE = 16 << 20  # bytes of the archive itself
MOST_BYTES = 8 << 20  # of all that is unpacked
MOST_STREAM = 12 << 20  # of a tar file, with its headers
MOST_ENTRIES = 500
CHUNK = 1 << 16
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# What systems add that nobody has written.
_CLUTTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "__pycache__")


class ArchiveError(Exception):
    """The archive is refused: one line that says why."""


def is_archive(path: Path) -> bool:
    """Whether the name is an archive's."""
    return path.name.lower().endswith(SUFFIXES)


def stem(path: Path) -> str:
    """The name without an archive's ending."""
    name = path.name
    return next(
        (name[: -len(s)] for s in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(s)), name
    )


def unpack(path: Path, into: Path) -> None:
    """Unpack an archive into an empty folder. Raises ArchiveError; the folder may hold a part then."""
    try:
        if path.stat().st_size > MOST_ARCHIVE:
            raise ArchiveError(f"{path.name}: {path.stat().st_size} bytes: want at most {MOST_ARCHIVE}")
        entries = _zip_entries(path) if path.name.lower().endswith(".zip") else _tar_entries(path)
        _write(path.name, entries, into)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise ArchiveError(f"{path.name}: not an archive that can be read: {_one_line(error)}") from None
    except (
        RuntimeError,
        NotImplementedError,
        ValueError,
        OverflowError,
    ) as error:  # passwords, odd methods and fields
        raise ArchiveError(f"{path.name}: {_one_line(error)}") from None


def _write(label: str, entries: Iterator[tuple[str, IO[bytes]]], into: Path) -> None:
    """Write each entry, if its name is a plain one and there is room."""
    seen: set[PurePosixPath] = set()
    room = MOST_BYTES
    for name, content in entries:
        target = _plain(label, name)
        if any(part in _CLUTTER or part.startswith("._") for part in target.parts):
            continue
        if target in seen:
            raise ArchiveError(f"{label}: {_shown(name)}: there twice")
        seen.add(target)
        place = into / target
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            while data := content.read(CHUNK):
                room -= len(data)
                if room < 0:
                    raise ArchiveError(f"{label}: more than {MOST_BYTES} bytes when unpacked")
                file.write(data)


def _plain(label: str, name: str) -> PurePosixPath:
    """A name that stays below the folder. Raises ArchiveError."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name:
        raise ArchiveError(f"{label}: {_shown(name)}: leads out of the folder")
    if len(name) > 200 or len(path.parts) > 10:
        raise ArchiveError(f"{label}: {_shown(name)}: too long a name")
    return path


def _zip_entries(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _count(path, len(entries))
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ArchiveError(
                    f"{path.name}: {_shown(entry.filename)}: a link or a device: want plain files"
                )
            if entry.is_dir():
                _plain(path.name, entry.filename)
                continue
            with archive.open(entry) as content:
                yield entry.filename, content


def _tar_entries(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """A tar file's entries, read as a stream that ends when it is too long: headers may be bombs as well."""
    with _opened(path) as stream, tarfile.open(fileobj=_Limited(path.name, stream), mode="r|") as archive:
        for number, entry in enumerate(archive, 1):
            _count(path, number)
            if entry.isdir():
                _plain(path.name, entry.name + "/")
                continue
            content = archive.extractfile(entry) if entry.isreg() else None
            if content is None:
                raise ArchiveError(f"{path.name}: {_shown(entry.name)}: a link or a device: want plain files")
            yield entry.name, content


def _opened(path: Path) -> BinaryIO:
    """The bytes of a tar file, whatever it is compressed by; told by its first bytes."""
    with path.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(path)  # type: ignore[return-value]
    if magic.startswith(b"BZh"):
        return bz2.open(path)  # type: ignore[return-value]
    if magic.startswith(b"\xfd7zXZ"):
        return lzma.open(path)  # type: ignore[return-value]
    return path.open("rb")


class _Limited(io.RawIOBase):
    """A stream of at most MOST_STREAM bytes, read in small pieces whatever is asked for."""

    def __init__(self, label: str, stream: BinaryIO) -> None:
        super().__init__()
        self._label, self._stream, self._room = label, stream, MOST_STREAM

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(min(size, CHUNK) if size >= 0 else CHUNK)
        self._room -= len(data)
        if self._room < 0:
            raise ArchiveError(f"{self._label}: more than {MOST_STREAM} bytes when unpacked")
        return data


def _count(path: Path, number: int) -> None:
    if number > MOST_ENTRIES:
        raise ArchiveError(f"{path.name}: more than {MOST_ENTRIES} entries")


def _shown(name: str) -> str:
    return repr(name)[1:-1][:60]


def _one_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]
