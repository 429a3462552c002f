"""HAProxy as an engine of the load balancer: it serves every Service that asks for no other, on the machine lb1.

    frontends --render--> haproxy.cfg --haproxy -c--> addresses on eth0 --SIGUSR2--> HAProxy's master
                          version 7     runtime socket: "description: version 7"  <-- new worker <-+

A master that still starts, or loads a configuration, may lose the signal: so each configuration has a version, and the
master is told again until a worker answers with it.

Invariants: HAProxy is told of a configuration only after it has tried it, and its addresses are there before; one
counts as applied once it serves.

Source: HAProxy management guide, sections 3 (master-worker), 4 (reload) and 9.3 (`show info`).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.daemon import Daemon, Spawner
from agents.dns import write_whole
from netfns import balancer
from netfns.balancer import Balancer, version_told
from netfns.balancer_types import Frontend

SERVED_WAIT = 10.0  # seconds for HAProxy to serve a configuration, its start included
TELL_AGAIN = 0.5  # seconds; a reload takes some 50 ms
ANSWER_WAIT = 1.0  # seconds for a worker's answer


class HAProxy:
    """Keeps HAProxy on one machine. `folder` is a place for its files, `tell` is told of each sudden end.

    `fixed` are frontends that are no Service's, such as the API's own address.
    """

    name = "HAProxy"

    def __init__(
        self, machine: Spawner, folder: Path, tell: Callable[[str], None], fixed: Sequence[Frontend] = ()
    ) -> None:
        self.machine = machine
        self._fixed = tuple(fixed)
        self._tell = tell
        self._configuration = folder / "haproxy.cfg"
        self._socket = folder / "haproxy.sock"
        self._log = folder / "haproxy.log"
        argv = ["haproxy", "-W", "-db", "-f", str(self._configuration)]
        self._haproxy = Daemon(machine, argv, self._log, self._ended)
        self._running: asyncio.Task[None] | None = None
        self._version = 0

    async def apply(self, frontends: Sequence[Frontend]) -> None:
        """Serve these frontends, and the fixed ones. Raises CommandError, TimeoutError."""
        self._version += 1
        wanted = Balancer(str(self._socket), (*self._fixed, *frontends), self._version)
        text = balancer.render(wanted)
        await asyncio.to_thread(balancer.check, self.machine, text)
        await asyncio.to_thread(balancer.add_addresses, self.machine, wanted)
        write_whole(self._configuration, text)
        if self._running is None:
            self._running = asyncio.create_task(self._haproxy.run())
        await self._serving(self._version)
        await asyncio.to_thread(balancer.remove_addresses, self.machine, wanted)

    async def stop(self) -> None:
        """End HAProxy."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _serving(self, version: int) -> None:
        """Tell HAProxy's master of its configuration until that of this version serves. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            async with asyncio.timeout(SERVED_WAIT):
                while version_told(answer := await self._ask("show info")) != version:
                    if answer and loop.time() >= due:  # one that does not answer yet would die of the signal
                        self._haproxy.signal(signal.SIGUSR2)
                        due = loop.time() + TELL_AGAIN
                    await asyncio.sleep(0.02)
        except TimeoutError:
            told = f"{self.name}: it does not serve its configuration within {SERVED_WAIT:.0f} s"
            raise TimeoutError(f"{told}: see {self._log}") from None

    async def _ask(self, command: str) -> str:
        """What HAProxy answers on its runtime socket; "" when it does not."""
        writer = None
        try:
            async with asyncio.timeout(ANSWER_WAIT):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                writer.write(f"{command}\n".encode())
                return (await reader.read()).decode()
        except OSError:
            return ""
        finally:
            if writer is not None:
                writer.close()

    def _ended(self, status: int) -> None:
        self._tell(f"haproxy ended with status {status}: it is started again")
