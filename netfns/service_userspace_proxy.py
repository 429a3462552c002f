"""The program of proxy mode `userspace`: accepts for Services, chooses an endpoint, and copies bytes.

    client ══ accept ── choose: the next in turn, or the client's own (affinity) ── connect ══ endpoint
                                  | cannot be reached: the one after it
                        copy both ways until both have ended

    UDP has no connections: the first datagram of a client chooses, and a socket of its own is kept for its
    answers until nothing has come for a while.

One runs in each node's network namespace; service_userspace_ask.py starts it and speaks with it. A second process
stands behind it and begins again when it is killed.
A line is written by service_userspace.py, with `affinity SECONDS` and `from CIDR,…` at its end where they apply:

    # proxy PORT PROTOCOL OWNER -> ADDRESS:PORT ADDRESS:PORT …

Invariants: connections outlive a change of their line; a sender outside `from` gets no connection. Standard
library only, for it is started by its path.

Sources: Kubernetes, pkg/proxy/userspace (until 1.25); ip(7) IP_PKTINFO; unix(7) abstract sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
import socket
import struct
import sys
import time
from dataclasses import dataclass, field

CLOSE_AFTER = 1.0  # seconds until a port that is no longer wanted is closed: the rules change first
UDP_IDLE = 30.0  # seconds for which a UDP client keeps its endpoint, as conntrack has it
CONNECT_WITHIN = 3.0  # seconds for each endpoint
MOST_UDP_CLIENTS = 4096  # of one port
CHUNK = 65536
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


# ---------------------------------------------------------------- TCP


async def accept(port: Port, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, from its first byte to its last."""
    client = _plain(writer.get_extra_info("peername")[0])
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
    reset(writer)  # nobody is there for it


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one way until its end, and pass the end on."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except (OSError, RuntimeError):
        reset(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection so that its peer sees a reset, not an end."""
    with contextlib.suppress(OSError):
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# ---------------------------------------------------------------- UDP


Peer = tuple[object, ...]  # a socket's address, as recvmsg gives it


@dataclass
class UdpClient:
    """One client of a UDP port: the socket to its endpoint, and the address that it asked, as the kernel told it."""

    there: socket.socket
    endpoint: Address
    asked: bytes
    came: float


class Datagrams:
    """One UDP port. Answers go out from the address that was asked, or the client would not know them."""

    def __init__(self, port: Port, listener: socket.socket) -> None:
        self.port, self.listener = port, listener
        self.clients: dict[Peer, UdpClient] = {}
        asyncio.get_running_loop().add_reader(listener, self.receive)

    def receive(self) -> None:
        """Pass one datagram on, by the client's own socket."""
        try:
            data, ancillary, _, peer = self.listener.recvmsg(CHUNK, 256)
        except OSError:
            return
        now, known = time.monotonic(), self.clients.get(peer)
        if known is not None and (now - known.came > UDP_IDLE or known.endpoint not in self.port.endpoints):
            self._forget(peer)
            known = None
        client = known or self._new(peer, next((found for _, _, found in ancillary), b""))
        if client is not None:
            client.came = now
            with contextlib.suppress(OSError):
                client.there.send(data)

    def _new(self, peer: Peer, asked: bytes) -> UdpClient | None:
        """Choose for a client; None when it may not come, or nobody can be reached."""
        before = time.monotonic() - UDP_IDLE
        for idle in [each for each, client in self.clients.items() if client.came < before]:
            self._forget(idle)
        address = _plain(str(peer[0]))
        if not self.port.admits(address) or len(self.clients) >= MOST_UDP_CLIENTS:
            return None
        for endpoint in self.port.choose(address):
            there = socket.socket(
                socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET, socket.SOCK_DGRAM
            )
            there.setblocking(False)
            try:
                there.connect(endpoint)
            except OSError:
                there.close()
                continue
            self.port.took(address, endpoint)
            client = self.clients[peer] = UdpClient(there, endpoint, asked, time.monotonic())
            asyncio.get_running_loop().add_reader(there, self.answer, peer, client)
            return client
        return None

    def answer(self, peer: Peer, client: UdpClient) -> None:
        """Pass an endpoint's datagram back to the client."""
        try:
            data = client.there.recv(CHUNK)
        except OSError:  # nobody listens there: another endpoint for the next datagram
            self._forget(peer)
            return
        ancillary = []
        if len(client.asked) == 12:  # struct in_pktinfo: interface, our own address, the packet's destination
            source = struct.pack("=I4s4s", 0, client.asked[4:8], bytes(4))
            ancillary = [(socket.IPPROTO_IP, IP_PKTINFO, source)]
        elif len(client.asked) == 20:  # struct in6_pktinfo: address, interface
            ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, client.asked)]
        with contextlib.suppress(OSError):
            self.listener.sendmsg([data], ancillary, 0, peer)

    def _forget(self, peer: Peer) -> None:
        client = self.clients.pop(peer)
        asyncio.get_running_loop().remove_reader(client.there)
        client.there.close()

    def close(self) -> None:
        """Close everything."""
        for peer in tuple(self.clients):
            self._forget(peer)
        asyncio.get_running_loop().remove_reader(self.listener)
        self.listener.close()


IP_PKTINFO = 8  # <linux/in.h>; Python names it from 3.14 on


# ---------------------------------------------------------------- the daemon


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
        listener = socket.socket(family, socket.SOCK_DGRAM)
        listener.setblocking(False)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            listener.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        listener.bind(("", number))
        return Datagrams(port, listener)

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


def _plain(address: str) -> str:
    return address.partition("%")[0].removeprefix("::ffff:")


if __name__ == "__main__":
    given = socket.socket(fileno=int(sys.argv[1]))
    given.setblocking(False)
    guard(given)
