"""The name server of the outside world: the root zone of the lab, on the machine `outside`.

    a kube-dns pod --www.outside.example?--> 203.0.113.10:53 (this server) --> 203.0.113.10
                     www.example.com? -----> there is no such name in this world: NXDOMAIN

It is the same server as the cluster's, with a zone of its own and nobody to ask further.

Invariant: it runs as long as the agent does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.daemon import Daemon, Spawner
from agents.dns import write_whole
from netfns import dns

HOSTS = ("outside.example.", "www.outside.example.")
CODE = Path(__file__).parent.parent


class OutsideDns:
    """Runs the server on `machine`, whose `addresses` the world's names have; `folder` is a place for its
    files.
    """

    def __init__(
        self, machine: Spawner, addresses: Sequence[str], folder: Path, on_exit: Callable[[int], None]
    ) -> None:
        self._zone = folder / "outside.zone"
        self._text = dns.render_hosts(".", dict.fromkeys(HOSTS, addresses))
        command = [sys.executable, "-m", "netfns.dns_server", "-conf", str(folder / "Corefile")]
        argv = [*command, "--no-forward", "--report-ports"]
        self._server = Daemon(machine, argv, folder / "dns.log", on_exit, cwd=CODE)

    async def run(self) -> None:
        """Serve until cancelled."""
        write_whole(self._zone, self._text)
        await self._server.run()
