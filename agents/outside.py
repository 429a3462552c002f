"""The outside world: a machine of somebody else's, with a name server and a page.

    pod ──www.outside.example──> 203.0.113.10:80    agents.images' netexec, as in a container
    kube-dns ──────────────────> 203.0.113.10:53    agents.outside_dns

The page answers with the address that it was asked from, so it shows what the cluster's masquerade did.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.daemon import Daemon, Spawner
from agents.outside_dns import CODE, OutsideDns

WEB_ARGV = (
    sys.executable,
    "-E",
    str(CODE / "agents" / "images"),
    "agnhost",
    "netexec",
    "--http-port=80",
    "--udp-port=-1",
)


class OutsideWorld:
    """Keeps both servers running on `machine`; `on_exit` is told of an end, with its status."""

    def __init__(
        self, machine: Spawner, addresses: Sequence[str], folder: Path, on_exit: Callable[[int], None]
    ) -> None:
        self._dns = OutsideDns(machine, addresses, folder, on_exit)
        self._web = Daemon(machine, WEB_ARGV, folder / "web.log", on_exit, cwd="/")

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._dns.run())
            group.create_task(self._web.run())
