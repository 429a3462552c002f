"""A container's log: what it wrote, with the time and the stream of every piece.

    container ──pipe──> topo.container_runtime ──LogWriter──> 0.log
                           2026-01-02T03:04:05.000000006Z stdout F a whole line
                           2026-01-02T03:04:05.000000007Z stderr P no newline yet
    `kubectl logs`, attach <──parse──'

A record ends with a newline of its own; F (full) says that the container wrote one there, P (partial) that it did not.
So the records of a stream, put together, are exactly what the container wrote, and each piece can be shown at once.

Invariant: a container that never stops writing costs at most two files of LIMIT bytes; the older is PATH.1.

Source: Kubernetes' CRI log format, "kubelet/kuberuntime/logs" and the design proposal "CRI: Log management".
"""

import os
import time
from dataclasses import dataclass

LIMIT = 10 << 20  # containerLogMaxSize of a kubelet's configuration
_SECOND = 10**9
_OVERHEAD = 64  # bytes of a record, at most, that hold one byte of output


@dataclass(frozen=True)
class Record:
    """One piece of output. time: as written, RFC 3339 with nanoseconds. stream: stdout or stderr."""

    time: str
    stream: str
    text: bytes  # with the newline, where the container wrote one


def parse(line: bytes) -> Record | None:
    """The record in a line of a log file, given with its newline; None for a line that is torn."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or not line.endswith(b"\n"):
        return None
    return Record(parts[0].decode(), parts[1].decode(), parts[3] if parts[2] == b"F" else parts[3][:-1])


def rotated(path: str) -> str:
    """Where the older part of a log goes."""
    return f"{path}.1"


def last_output(path: str, size: int) -> bytes:
    """The last `size` bytes, or somewhat fewer, that a container wrote. Raises OSError."""
    with open(path, "rb") as file:
        torn = file.seek(max(0, file.seek(0, os.SEEK_END) - size * _OVERHEAD))
        records = [parse(line) for line in file.readlines()[1 if torn else 0 :]]
    return b"".join(record.text for record in records if record is not None)[-size:]


class LogWriter:
    """Writes records. Raises OSError when the file cannot be opened; a full disk loses output, never the container.

    The file is there from the beginning, and open from the first output on: most containers of a large lab say nothing,
    and each descriptor that is open costs at every start of another container.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None
        os.close(self._create())

    def _create(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def _open(self) -> int:
        self._file = self._create()
        self._size = os.fstat(self._file).st_size
        return self._file

    def write(self, stream: str, data: bytes) -> None:
        """Add what the container wrote to `stream` just now."""
        head = f"{_now()} {stream} ".encode()
        *lines, rest = data.split(b"\n")
        records = [b"%sF %s\n" % (head, line) for line in lines]
        if rest:
            records.append(b"%sP %s\n" % (head, rest))
        try:
            file = self._open() if self._file is None else self._file
            self._size += os.write(file, b"".join(records))
            if self._size > LIMIT:
                os.rename(self._path, rotated(self._path))
                self.close()
                self._open()
        except OSError:
            return

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), _SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"
