"""Pipes, terminals and processes in an event loop: wait until a descriptor is ready, then do what goes.

Neither holds a thread, and what is cancelled leaves nothing behind in the loop. Descriptors are non-blocking.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import subprocess
import termios
from collections.abc import AsyncIterator

CHUNK = 1 << 15


async def readable(descriptor: int) -> None:
    """Return when there is something to read, or its end."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def writable(descriptor: int) -> None:
    """Return when something can be written."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process; its exit status, minus the signal's number when one ended it."""
    pidfd = os.pidfd_open(process.pid)
    try:
        await readable(pidfd)
    finally:
        os.close(pidfd)
    return process.wait()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def read_now(descriptor: int) -> bytes | None:
    """What can be read at once; b"" at the end, None when there is nothing now."""
    try:
        return os.read(descriptor, CHUNK)
    except BlockingIOError:
        return None
    except OSError:  # EIO: nobody has the terminal open any more
        return b""


async def chunks(descriptor: int, last: asyncio.Event) -> AsyncIterator[bytes]:
    """All that comes, to its end; once `last` is set, only what is there already."""
    while True:
        data = read_now(descriptor)
        if data:
            yield data
        elif data is not None or last.is_set():
            return
        else:
            await _readable_unless(descriptor, last)


async def _readable_unless(descriptor: int, last: asyncio.Event) -> None:
    waiting = {asyncio.ensure_future(readable(descriptor)), asyncio.ensure_future(last.wait())}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in waiting:
            future.cancel()


async def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, as fast as it is taken. Raises OSError when nobody reads any more."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            await writable(descriptor)


def resize(terminal: int, width: int, height: int) -> None:
    """Tell a terminal its size, in characters; see TIOCSWINSZ in ioctl_tty(2). Raises OSError."""
    size = struct.pack("HHHH", min(height, 0xFFFF), min(width, 0xFFFF), 0, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
