"""The idea of proxy mode `userspace`: accept for a Service, choose an endpoint, and copy bytes.

    client ══ accept ── choose: the next in turn, or the client's own (affinity) ── connect ══ endpoint
                                  | cannot be reached: the one after it
                        copy both ways until both have ended

What a port is for is a line, which service_userspace.py writes, with `affinity SECONDS` and `from CIDR,…` at its end
where they apply:

    # proxy PORT PROTOCOL OWNER -> ADDRESS:PORT ADDRESS:PORT …

Around it: service_userspace_udp.py does the same for datagrams, service_userspace_worker.py keeps all ports of a node,
and service_userspace_ask.py tells it which.

Invariant: a sender outside `from` gets no connection.

Sources: Kubernetes, pkg/proxy/userspace (until 1.25).
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from dataclasses import dataclass, field

from netfns.relay import reset

CONNECT_WITHIN = 3.0  # seconds for each endpoint
CHUNK = 65536  # bytes
LINE = re.compile(r"# proxy (\d+) (TCP|UDP) (\S+) -> ((?:\S+:\d+ ?)+?)(?: affinity (\d+))?(?: from (\S+))?")
Address = tuple[str, int]


@dataclass
class Port:
    """One port that is served."""

    line: str
    endpoints: list[Address]
    affinity: int
    ranges: list[ipaddress.IPv4Network | ipaddress.IPv6Network]
    turn: int = 0
    kept: dict[str, tuple[Address, float]] = field(
        default_factory=dict
    )  # client -> endpoint, when it came last

    @classmethod
    def parse(cls, line: str) -> tuple[tuple[int, str], Port]:
        """Its number and protocol, and the rest. Raises ValueError."""
        found = LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"{line!r}: want `# proxy PORT PROTOCOL OWNER -> ADDRESS:PORT …`")
        number, protocol, _, ends, affinity, ranges = found.groups()
        endpoints = [
            (host.strip("[]"), int(port)) for host, _, port in (e.rpartition(":") for e in ends.split())
        ]
        networks = [ipaddress.ip_network(r, strict=False) for r in (ranges or "").split(",") if r]
        return (int(number), protocol), cls(line, endpoints, int(affinity or 0), networks)

    def admits(self, client: str) -> bool:
        """Whether a client may come."""
        address = ipaddress.ip_address(client)
        return not self.ranges or any(address in network for network in self.ranges)

    def choose(self, client: str) -> list[Address]:
        """The endpoints in the order in which they are to be tried: the client's own, or the next in turn, first."""
        self.turn += 1
        first = self.turn % len(self.endpoints)
        own, since = self.kept.get(client, (("", 0), 0.0))
        if self.affinity and own in self.endpoints and time.monotonic() - since < self.affinity:
            first = self.endpoints.index(own)
        return self.endpoints[first:] + self.endpoints[:first]

    def took(self, client: str, endpoint: Address) -> None:
        """Remember whom a client got, where it is to get the same again."""
        if self.affinity:
            self.kept[client] = (endpoint, time.monotonic())


async def accept(port: Port, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, from its first byte to its last."""
    client = plain(writer.get_extra_info("peername")[0])
    if port.admits(client):
        for endpoint in port.choose(client):
            try:
                async with asyncio.timeout(CONNECT_WITHIN):
                    there = await asyncio.open_connection(*endpoint)
            except (OSError, TimeoutError):
                continue
            port.took(client, endpoint)
            await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
            return
    reset(writer.transport)  # nobody is there for it


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one way until its end, and pass the end on."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except (OSError, RuntimeError):
        reset(writer.transport)


def plain(address: str) -> str:
    """An address without its interface, and IPv4 as such."""
    return address.partition("%")[0].removeprefix("::ffff:")
