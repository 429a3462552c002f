"""The process of proxy mode `userspace`: all ports of one node.

    service_userspace_ask.py ──serve, lines──> open, change and close ports (service_userspace_proxy.py, _udp.py)
                             ──show, ping───> what is served; who serves

One runs in each node's network namespace. A second process stands behind it and begins again when it is killed.

Invariants: connections outlive a change of their line; a port that is no longer wanted is closed only after the rules
that lead to it.

Source: unix(7) abstract sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

from netfns.service_userspace_proxy import Port, accept
from netfns.service_userspace_udp import Datagrams, listen

CLOSE_AFTER = 1.0  # seconds until a port that is no longer wanted is closed: the rules change first


class Proxy:
    """All ports of a node."""

    def __init__(self, plan: int | None = None) -> None:
        """`plan`: a descriptor of memory in which the lines are kept for a successor."""
        self.ports: dict[tuple[int, str], Port] = {}
        self._plan = plan
        self._open: dict[tuple[int, str], asyncio.Server | Datagrams] = {}

    async def serve(self, text: str) -> None:
        """Serve what the lines say, and nothing else for longer than a moment. Raises OSError, ValueError."""
        wanted = dict(Port.parse(line) for line in text.splitlines())
        for key, port in wanted.items():
            held = self.ports.get(key)
            if held is None:
                self.ports[key] = port
                if key not in self._open:
                    self._open[key] = await self._listen(key)
            elif held.line != port.line:
                held.line, held.endpoints = port.line, port.endpoints
                held.affinity, held.ranges = port.affinity, port.ranges
        if self._plan is not None:
            os.ftruncate(self._plan, 0)
            os.pwrite(self._plan, text.encode(), 0)
        for key in self.ports.keys() - wanted.keys():
            del self.ports[key]
            asyncio.get_running_loop().call_later(CLOSE_AFTER, self._close, key)

    async def _listen(self, key: tuple[int, str]) -> asyncio.Server | Datagrams:
        number, protocol = key
        port = self.ports[key]
        family = socket.AF_INET6 if ":" in port.endpoints[0][0] else socket.AF_INET
        if protocol == "TCP":

            async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                with contextlib.suppress(OSError):
                    await accept(self.ports.get(key, port), reader, writer)

            return await asyncio.start_server(
                accepted, "::" if family == socket.AF_INET6 else "0.0.0.0", number
            )
        return Datagrams(port, listen(family, number))

    def _close(self, key: tuple[int, str]) -> None:
        if key not in self.ports and key in self._open:
            self._open.pop(key).close()

    async def obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request: a word, then lines; answered by `ok` and lines, or by what went wrong."""
        word, _, text = (await reader.read()).decode().partition("\n")
        answer = "ok\n"
        try:
            if word == "serve":
                await self.serve(text)
            elif word == "ping":
                answer += f"{os.getpid()}\n"
            elif word == "show":
                answer += "".join(f"{port.line}\n" for port in self.ports.values())
        except (OSError, ValueError) as error:
            answer = f"{error}\n"
        writer.write(answer.encode())
        writer.close()
        if word == "stop":
            await writer.wait_closed()
            os._exit(0)


async def work(listening: socket.socket, plan: int) -> None:
    """Serve what was last told, and obey whoever comes, until told to stop."""
    proxy = Proxy(plan)
    await proxy.serve(os.pread(plan, os.fstat(plan).st_size, 0).decode())
    server = await asyncio.start_unix_server(proxy.obey, sock=listening)
    await server.serve_forever()


def guard(listening: socket.socket) -> None:
    """Keep a worker going until one ends as it was told to. What it serves outlives it, in memory that both hold."""
    plan = os.memfd_create("plan")
    while True:
        worker = os.fork()
        if not worker:
            asyncio.run(work(listening, plan))
            os._exit(1)
        if os.waitpid(worker, 0)[1] == 0:
            return


def main(descriptor: int) -> None:
    """Guard a worker that listens at a socket which is open already."""
    given = socket.socket(fileno=descriptor)
    given.setblocking(False)
    guard(given)
