"""The answer of a stand-in to a gRPC health check, on the port on which it speaks HTTP too.

    client: preface, SETTINGS, HEADERS (a call), DATA          -> SETTINGS, and for each call that is complete:
                                                                  HEADERS, DATA (SERVING), HEADERS (grpc-status 0)

What is called is not read, for header fields are compressed (HPACK) and a stand-in has one answer only: whoever calls
another method than grpc.health.v1.Health/Check gets the same message.

Sources: RFC 9113 (frames), RFC 7541 section 6 (literal fields), "gRPC over HTTP2" and "GRPC Health Checking Protocol"
in grpc/grpc doc/.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING

from agents.images.eventloop import READ

if TYPE_CHECKING:
    from agents.images.http_server import HTTPServer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, GOAWAY = 0, 1, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4
IDLE_SECONDS = 75.0
_LARGEST = 1 << 14  # of a frame, unless SETTINGS say otherwise: ours do not
_SERVING = b"\0" + struct.pack(">I", 2) + b"\x08\x01"  # not compressed, two bytes: status (field 1) = 1


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame: nine bytes of header, and the payload."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


_HEAD = b"\x88" + _literal(b"content-type", b"application/grpc")  # 0x88 is `:status: 200` of the static table
_TRAILERS = _literal(b"grpc-status", b"0")


class GrpcConnection:
    """A connection that has begun with HTTP/2's preface; stands in the server's books like any other."""

    idle = True  # a server that drains need not wait for it

    def __init__(self, server: HTTPServer, sock: socket.socket, received: bytes) -> None:
        self._server = server
        self._sock = sock
        self._received = received
        self._begun = False
        self.deadline = time.monotonic() + IDLE_SECONDS
        server.loop.add(sock.fileno(), READ, self._ready)
        self._take()

    def close(self) -> None:
        """Close the connection."""
        descriptor = self._sock.fileno()
        if descriptor >= 0:
            self._server.loop.remove(descriptor)
            self._sock.close()
            self._server.forget(descriptor)

    def _ready(self, _events: int) -> None:
        try:
            data = self._sock.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.deadline = time.monotonic() + IDLE_SECONDS
        self._received += data
        self._take()

    def _take(self) -> None:
        """Answer every frame that is complete."""
        answers = b""
        if not self._begun:
            if len(self._received) < len(PREFACE):
                return
            if not self._received.startswith(PREFACE):
                self.close()
                return
            self._begun, self._received = True, self._received[len(PREFACE) :]
            answers = frame(SETTINGS, 0, 0)
        while len(self._received) >= 9:
            length = int.from_bytes(self._received[:3], "big")
            if length > _LARGEST:
                self.close()
                return
            if len(self._received) < 9 + length:
                break
            kind, flags, stream = struct.unpack(">BBI", self._received[3:9])
            payload, self._received = self._received[9 : 9 + length], self._received[9 + length :]
            answers += _answer(kind, flags, stream & 0x7FFFFFFF, payload)
            if kind == GOAWAY:
                self.close()
                return
        self._send(answers)

    def _send(self, data: bytes) -> None:
        """The answers are small: a client whose buffer has no room for them does not read, and is left."""
        try:
            if data and self._sock.send(data) < len(data):
                self.close()
        except OSError:
            self.close()


def _answer(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    if kind == SETTINGS and not flags & ACK:
        return frame(SETTINGS, ACK, 0)
    if kind == PING and not flags & ACK:
        return frame(PING, ACK, 0, payload)
    if kind in (HEADERS, DATA) and flags & END_STREAM:
        call = frame(HEADERS, END_HEADERS, stream, _HEAD) + frame(DATA, 0, stream, _SERVING)
        return call + frame(HEADERS, END_HEADERS | END_STREAM, stream, _TRAILERS)
    return b""
