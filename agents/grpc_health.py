"""One call of gRPC's health checking protocol: `grpc.health.v1.Health/Check` over HTTP/2 without TLS.

    client                                                       server
      | preface, SETTINGS, HEADERS (POST …/Check), DATA ────────>  |
      | <──────────────────── SETTINGS, HEADERS, DATA, HEADERS     |

One request on a connection of its own needs little of HTTP/2: frames, and header fields written literally. What the
server says in its header fields is not read, for the verdict is in DATA: a HealthCheckResponse. A server that sends
none has refused the call.

Sources: RFC 9113 (frames), RFC 7541 section 6.2.2 (literal fields), "gRPC over HTTP2" and "GRPC Health Checking
Protocol" in grpc/grpc doc/.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator

SERVING = "SERVING"
_STATUS = ("UNKNOWN", SERVING, "NOT_SERVING", "SERVICE_UNKNOWN")
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
_STREAM = 1
_LARGEST = 1 << 14


async def check(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str
) -> str:
    """The service's status, by name. Raises ValueError when the server refuses, OSError and EOFError of the
    connection.
    """
    writer.write(_PREFACE + frame(SETTINGS, 0, 0, b"") + _request(authority, service))
    message = b""
    while True:
        kind, flags, stream, payload = await _read_frame(reader)
        if kind == SETTINGS and not flags & ACK:
            writer.write(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            writer.write(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY or (kind == RST_STREAM and stream == _STREAM):
            raise ValueError("the server refused the call")
        elif kind == DATA and stream == _STREAM:
            message += payload[1 : len(payload) - payload[0]] if flags & PADDED else payload
        if stream == _STREAM and kind in (DATA, HEADERS) and flags & END_STREAM:
            return status_of(message)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame: nine bytes of header, and the payload."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def field(name: str, value: str) -> bytes:
    """A header field, literal, without indexing and without Huffman coding; both at most 126 bytes long."""
    parts = [text.encode() for text in (name, value)]
    if any(len(part) > 126 for part in parts):
        raise ValueError(f"{name}: longer than 126 bytes")
    return b"\0" + b"".join(bytes([len(part)]) + part for part in parts)


def _request(authority: str, service: str) -> bytes:
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
        "user-agent": "kube-probe/1.37",
    }
    name = service.encode()
    if len(name) > 127:
        raise ValueError("service: longer than 127 bytes")
    message = (
        b"\x0a" + bytes([len(name)]) + name if name else b""
    )  # HealthCheckRequest: service = field 1, a string
    block = b"".join(field(key, value) for key, value in headers.items())
    call = frame(HEADERS, END_HEADERS, _STREAM, block)
    return call + frame(DATA, END_STREAM, _STREAM, struct.pack(">BI", 0, len(message)) + message)


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, int, int, bytes]:
    head = await reader.readexactly(9)
    length = int.from_bytes(head[:3], "big")
    if length > _LARGEST:
        raise ValueError("not an HTTP/2 server")
    kind, flags, stream = struct.unpack(">BBI", head[3:])
    return kind, flags, stream & 0x7FFFFFFF, await reader.readexactly(length)


def status_of(data: bytes) -> str:
    """The status in a HealthCheckResponse (field 1, an enum), as it stands in DATA. Raises ValueError without one."""
    if len(data) < 5:
        raise ValueError("this server does not implement the grpc health protocol (grpc.health.v1.Health)")
    fields = dict(_varint_fields(data[5:]))
    number = fields.get(1, 0)
    return _STATUS[number] if number < len(_STATUS) else str(number)


def _varint_fields(message: bytes) -> Iterator[tuple[int, int]]:
    """The fields of a message that has only small numbers in it: a tag and a value, one byte each."""
    for index in range(0, len(message) - 1, 2):
        yield message[index] >> 3, message[index + 1]
