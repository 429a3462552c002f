"""A relayed connection: what arrives at one end is written to the other, both ways, until both have ended.

    client ══ Side ──data──> Side ══ server        a side that cannot write as fast as the other reads makes it
             pause  <──full──                      pause, so a slow reader costs no memory here
             close  <──lost──                      an end is passed on as an end, a reset as a reset

Invariant: both sides go together. Half-closed connections (the client has sent all and waits for the answer)
work: an end of data is passed on, and the connection ends with the second one.

Sources: asyncio, "Transports and Protocols", flow control; RFC 9293 3.6 (half-closed connections).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

ABRUPT = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds: close with a reset


class Side(asyncio.Protocol):
    """One end of a relayed connection; `other` is the other end, None until `join` has both."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.other: Side | None = None
        self.early: list[bytes] = []  # what came before there was another end
        self.received = 0  # bytes
        self.has_ended = False  # it will send no more
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Pass data on."""
        self.received += len(data)
        if self.other is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass the end of the data on; True: this side can still be written to."""
        self.has_ended = True
        if self.other is None:
            return True
        if self.other.has_ended:
            self.transport.close()
            self.other.transport.close()
        elif not self.other.transport.is_closing():
            with suppress(OSError):  # broken, but not noticed yet
                self.other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        """Too much waits to be written here: the other side shall not read more."""
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side as well: at once when this one broke, else after what it has to write."""
        if not self.lost.done():
            self.lost.set_result(None)
        if self.other is None:
            return
        if exc is None:
            self.other.transport.close()
        else:
            reset(self.other.transport)


def reset(transport: asyncio.WriteTransport) -> None:
    """End a connection so that its peer sees a reset."""
    if not transport.is_closing():
        be_abrupt(transport.get_extra_info("socket"))
    transport.abort()


def be_abrupt(connection: socket.socket) -> None:
    """Make the close of a connection a reset: the peer sees at once that nobody serves it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPT)


async def join(client: socket.socket, server: socket.socket) -> tuple[Side, Side]:
    """Relay between two connected, non-blocking sockets, which are given away. Returns both sides."""
    loop = asyncio.get_running_loop()
    sides = Side(), Side()
    for side, connection in zip(sides, (client, server), strict=True):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a peer that vanished is noticed
        await loop.connect_accepted_socket(lambda side=side: side, connection)  # type: ignore[misc]
    for side, other in (sides, sides[::-1]):
        side.other = other
    for side, other in (sides, sides[::-1]):
        _catch_up(side, other)
    return sides


def _catch_up(side: Side, other: Side) -> None:
    """Do what `side` would have done had it known its other end from the start."""
    other.transport.writelines(side.early)
    side.early.clear()
    if side.lost.done():
        other.transport.close()
    elif side.has_ended and not other.transport.is_closing():
        side.eof_received()
