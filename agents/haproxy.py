"""HAProxy as an engine of the load balancer: it serves every Service that asks for no other, on the machine lb1.

    frontends --render--> haproxy.cfg --haproxy -c--> addresses on eth0 --SIGUSR2--> HAProxy's master

Invariant: HAProxy is told of a configuration only after it has tried it, and its addresses are there before.

Source: HAProxy management guide, sections 3 (master-worker) and 4 (reload).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.daemon import Daemon, Spawner
from netfns import balancer
from netfns.balancer import Balancer
from netfns.balancer_types import Frontend

START_WAIT = 10.0  # seconds for HAProxy to answer after its start


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
        argv = ["haproxy", "-W", "-db", "-f", str(self._configuration)]
        self._haproxy = Daemon(machine, argv, folder / "haproxy.log", self._ended)
        self._running: asyncio.Task[None] | None = None

    async def apply(self, frontends: Sequence[Frontend]) -> None:
        """Serve these frontends, and the fixed ones. Raises CommandError, TimeoutError."""
        wanted = Balancer(str(self._socket), (*self._fixed, *frontends))
        text = balancer.render(wanted)
        await asyncio.to_thread(balancer.check, self.machine, text)
        await asyncio.to_thread(balancer.add_addresses, self.machine, wanted)
        self._configuration.write_text(text)
        if self._running is None:
            self._running = asyncio.create_task(self._haproxy.run())
        else:
            await self._answering()  # a master that still starts would die of the signal
            self._haproxy.signal(signal.SIGUSR2)
        await self._answering()
        await asyncio.to_thread(balancer.remove_addresses, self.machine, wanted)

    async def stop(self) -> None:
        """End HAProxy."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _answering(self) -> None:
        """Wait until HAProxy's runtime socket takes a connection. Raises TimeoutError."""
        async with asyncio.timeout(START_WAIT):
            while True:
                try:
                    _, writer = await asyncio.open_unix_connection(self._socket)
                except (FileNotFoundError, ConnectionRefusedError):
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                return

    def _ended(self, status: int) -> None:
        self._tell(f"haproxy ended with status {status}: it is started again")
