"""A command in a container, from start to end, for a probe or a hook: its status, and what it said.

It is started by a thread, which has to go into the container's namespaces; then no thread waits for it. Whoever waits
may be cancelled at any moment, also while the thread is still at it: the command is killed all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from agents.descriptors import ended
from topo.enter import Namespaces

OUTPUT_LIMIT = 10 << 10  # bytes of the output that are looked at


@dataclass(frozen=True)
class _Started:
    """A command, and the memory that its output goes to."""

    process: subprocess.Popen[bytes]
    output: int

    def end(self) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.output)


async def run_command(
    namespaces: Callable[[], Namespaces],
    argv: Sequence[str],
    env: Mapping[str, str],
    working_dir: str,
    threads: Executor | None = None,
) -> tuple[int, str]:
    """Exit status (minus the signal's number when one ended it) and output. `namespaces()`: where to go. `threads`: who
    goes, whose capabilities the command gets.

    Raises OSError when it cannot be started.
    """

    def start() -> _Started:
        output = os.memfd_create("output")
        try:
            process = namespaces().popen(
                argv, env=dict(env), cwd=working_dir, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        except BaseException:
            os.close(output)
            raise
        return _Started(process, output)

    starting = asyncio.get_running_loop().run_in_executor(threads, start)
    try:
        started = await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_end)
        raise
    try:
        status = await ended(started.process)
        return status, os.pread(started.output, OUTPUT_LIMIT, 0).decode(errors="replace")
    finally:
        started.end()


def _end(starting: asyncio.Future[_Started]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().end()
