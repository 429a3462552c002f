"""The guardian: puts a machine's shell back when it was killed. (Pods and servers are looked after by their agents.)

a shell's pidfd becomes readable ──> revive ──> event on the machine
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from agents.daemon import ended
from topo.underlay import Underlay

PAUSE = 0.2


class Guardian:
    """Watches the shells of an underlay; `tell(machine, reason, message)` records what was done."""

    def __init__(self, underlay: Underlay, tell: Callable[[str, str, str], None]) -> None:
        self._underlay = underlay
        self._tell = tell

    async def run(self) -> None:
        """Watch until cancelled; also reap orphans, for this is the sandbox's first process."""
        async with asyncio.TaskGroup() as group:
            for name in self._underlay.shells:
                group.create_task(self._watch(name))
            group.create_task(self._reap_orphans())

    async def _watch(self, name: str) -> None:
        while True:
            await ended(self._underlay.shells[name].pid)
            await asyncio.to_thread(self._underlay.shells[name].revive)
            self._tell(
                name, "MachineRevived", "the machine's shell was killed; another one is in its namespaces"
            )
            await asyncio.sleep(PAUSE)

    async def _reap_orphans(self) -> None:
        """Reap processes that were left to us; one that somebody here waits for is gone by the second look."""
        seen: set[int] = set()
        while True:
            await asyncio.sleep(2.0)
            zombies = await asyncio.to_thread(_zombies)
            await asyncio.to_thread(_reap, zombies & seen)
            seen = zombies


def _reap(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _zombies() -> set[int]:
    """Children of this process that have ended and that nobody has waited for."""
    found: set[int] = set()
    try:
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return found  # the usual case; looking through /proc would cost more with every pod
    except ChildProcessError:
        return found
    for entry in (path.name for path in Path("/proc").iterdir()):
        if not entry.isdigit():
            continue
        try:
            stat = Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state == "Z" and int(parent) == os.getpid():
            found.add(int(entry))
    return found
