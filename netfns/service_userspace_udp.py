"""Proxy mode `userspace` for UDP, which has no connections.

    client ── first datagram: choose ── a socket of this client's own ── endpoint
       `───── its answers, from the address that was asked <──────'

The socket is kept until nothing has come for a while, or its endpoint is gone.

Sources: ip(7) IP_PKTINFO, ipv6(7) IPV6_PKTINFO; Kubernetes, pkg/proxy/userspace (until 1.25).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from dataclasses import dataclass

from netfns.service_userspace_proxy import CHUNK, Address, Port, plain

UDP_IDLE = 30.0  # seconds for which a client keeps its endpoint, as conntrack has it
MOST_UDP_CLIENTS = 4096  # of one port
IP_PKTINFO = 8  # <linux/in.h>; Python names it from 3.14 on
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
        address = plain(str(peer[0]))
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


def listen(family: int, number: int) -> socket.socket:
    """A socket that tells of each datagram which address it was sent to. Raises OSError."""
    listener = socket.socket(family, socket.SOCK_DGRAM)
    listener.setblocking(False)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        listener.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    listener.bind(("", number))
    return listener
