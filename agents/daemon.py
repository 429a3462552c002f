"""A process that an agent keeps running on its machine: HAProxy on lb1, the DNS server on outside.

    spawn --> running --ends (killed, crashed)--> told (on_exit) --> after a while spawned again
                 `--the agent is cancelled--> killed

Invariant: at most one process runs; when the agent ends, so does its process.

Source: pidfd_open(2), which tells the end of a process without a thread that waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from netfns.kernel import Kernel

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between an end and the next start

NOT_STARTED = 127  # the status that a shell gives to a command that it cannot start


class Process(Protocol):
    """What is needed of a started process; subprocess.Popen has it."""

    pid: int

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, if it still runs."""

    def kill(self) -> None:
        """Send SIGKILL, if it still runs."""

    def wait(self) -> int:
        """The exit status, once it has ended."""


class Spawner(Kernel, Protocol):
    """A machine on which processes can be started."""

    def spawn(self, argv: Sequence[str], **options: Any) -> Any:
        """Start a command on the machine, a Process; options are subprocess.Popen's."""


class Daemon:
    """Keeps one command running; its output goes to the file `log`, and each end's status to `on_exit`."""

    def __init__(
        self, machine: Spawner, argv: Sequence[str], log: Path, on_exit: Callable[[int], None], **options: Any
    ) -> None:
        self._machine = machine
        self._argv = tuple(argv)
        self._log = log
        self._on_exit = on_exit
        self._options = options
        self._process: Process | None = None

    def signal(self, number: int) -> bool:
        """Send a signal to the running process; False when none runs now."""
        if self._process is None:
            return False
        self._process.send_signal(number)
        return True

    async def run(self) -> None:
        """Start the command, and again whenever it ends, until cancelled."""
        pause = FIRST_PAUSE
        while True:
            started = asyncio.get_running_loop().time()
            try:
                status = await self._once()
            except OSError as error:
                log.warning("%s: %s: not started", self._argv[0], error)
                status = NOT_STARTED
            self._on_exit(status)
            lived = asyncio.get_running_loop().time() - started
            pause = FIRST_PAUSE if lived > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _once(self) -> int:
        """Run the command to its end; its exit status."""
        with self._log.open("ab") as output:
            options = {"stdin": subprocess.DEVNULL, **self._options}
            process: Process = self._machine.spawn(
                self._argv, stdout=output, stderr=subprocess.STDOUT, **options
            )
        self._process = process
        try:
            await ended(process.pid)
        finally:
            self._process = None
            process.kill()
            status = process.wait()
        return status


async def ended(pid: int) -> None:
    """Return when the process has ended; it is left to its parent to wait for."""
    loop = asyncio.get_running_loop()
    descriptor = os.pidfd_open(pid)
    end = asyncio.Event()
    loop.add_reader(descriptor, end.set)
    try:
        await end.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
