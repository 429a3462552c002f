"""SPDY/3.1 frames, as far as kubectl speaks them: pure, bytes in and frames out.

    data frame      0 stream(31)        flags(8) length(24) data
    control frame   1 version(15) type(16)  flags(8) length(24) payload

    SYN_STREAM  stream(32) associated(32) priority(3+13) headers      a new stream
    SYN_REPLY   stream(32) headers                                    its other end agrees
    HEADERS     stream(32) headers         RST_STREAM  stream(32) status(32)
    PING        id(32)                     GOAWAY      last stream(32) status(32)

Header blocks are one zlib stream for a connection's life, primed with words that both ends know; so every block has to
be inflated, wanted or not. The protocol has been dead on the web since 2016: kubectl is its last speaker, and no
library for Python is kept well. Flow control (WINDOW_UPDATE) is left out, as kubectl's own library leaves it out.

Sources: "SPDY Protocol - Draft 3.1" (chromium.org/spdy), sections 2.2, 2.6; github.com/moby/spdystream.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

VERSION = 3
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
DATA = 0  # stands for a data frame, which has no type
FIN = 1
PROTOCOL_ERROR, REFUSED_STREAM, CANCEL = 1, 3, 5
FRAME_LIMIT = 1 << 20  # bytes; kubectl's frames have 32 KiB
HEADER_LIMIT = 1 << 16  # bytes of a header block, inflated

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
    "Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 "
    "Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec "
    "00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset="
    "iso-8859-1,utf-,*,enq=0."
)


class ProtocolError(ValueError):
    """The other end does not speak SPDY/3.1."""


def _sized(text: str) -> bytes:
    return struct.pack(">I", len(text.encode())) + text.encode()


DICTIONARY = b"".join(_sized(word.replace("_", " ")) for word in _WORDS.split()) + _TAIL.encode()


@dataclass(frozen=True)
class Frame:
    """One frame. `kind` is a control frame's type or DATA; `data` is a data frame's; `number` is a PING's id or a
    RST_STREAM's status.
    """

    kind: int
    stream: int
    fin: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    data: bytes = b""
    number: int = 0


class Encoder:
    """Frames to bytes, for one direction of one connection."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        """The frame's bytes. Header blocks must be sent in the order in which they were encoded."""
        flags = FIN if frame.fin else 0
        if frame.kind == DATA:
            return struct.pack(">II", frame.stream, flags << 24 | len(frame.data)) + frame.data
        payload = self._payload(frame)
        return struct.pack(">HHI", 0x8000 | VERSION, frame.kind, flags << 24 | len(payload)) + payload

    def _payload(self, frame: Frame) -> bytes:
        if frame.kind == SYN_STREAM:
            return struct.pack(">IIH", frame.stream, 0, 0) + self._headers(frame.headers)
        if frame.kind in (SYN_REPLY, HEADERS):
            return struct.pack(">I", frame.stream) + self._headers(frame.headers)
        if frame.kind == PING:
            return struct.pack(">I", frame.number)
        return struct.pack(">II", frame.stream, frame.number)  # RST_STREAM, GOAWAY

    def _headers(self, headers: Mapping[str, str]) -> bytes:
        block = struct.pack(">I", len(headers))
        block += b"".join(_sized(name.lower()) + _sized(value) for name, value in headers.items())
        return self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


class Decoder:
    """Bytes to frames, for one direction of one connection."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole with these bytes, but those that mean nothing here. Raises ProtocolError."""
        self._buffer += data
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            flags, length = second >> 24, second & 0xFFFFFF
            if length > FRAME_LIMIT:
                raise ProtocolError(f"a frame of {length} bytes: at most {FRAME_LIMIT}")
            if len(self._buffer) < 8 + length:
                return
            payload = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            if not first >> 31:
                yield Frame(DATA, first, bool(flags & FIN), data=payload)
                continue
            if first >> 16 != 0x8000 | VERSION:
                raise ProtocolError("not SPDY/3")
            frame = self._control(first & 0xFFFF, bool(flags & FIN), payload)
            if frame is not None:
                yield frame

    def _control(self, kind: int, fin: bool, payload: bytes) -> Frame | None:
        try:
            if kind == SYN_STREAM:
                return Frame(kind, _u31(payload), fin, self._headers(payload[10:]))
            if kind in (SYN_REPLY, HEADERS):
                return Frame(kind, _u31(payload), fin, self._headers(payload[4:]))
            if kind in (RST_STREAM, GOAWAY):
                return Frame(kind, _u31(payload), number=struct.unpack_from(">I", payload, 4)[0])
            if kind == PING:
                return Frame(kind, 0, number=struct.unpack(">I", payload)[0])
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise ProtocolError(f"control frame {kind}: {error}") from None
        return None

    def _headers(self, raw: bytes) -> dict[str, str]:
        block = self._inflate.decompress(raw, HEADER_LIMIT)
        if self._inflate.unconsumed_tail or self._inflate.eof:
            raise ProtocolError(f"a header block of more than {HEADER_LIMIT} bytes")
        (count,), position, headers = struct.unpack_from(">I", block), 4, {}
        for _ in range(count):
            name, position = _text(block, position)
            headers[name], position = _text(block, position)
        return headers


def _u31(payload: bytes) -> int:
    return int(struct.unpack_from(">I", payload)[0]) & 0x7FFFFFFF


def _text(block: bytes, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", block, position)
    end = position + 4 + length
    if end > len(block):
        raise ProtocolError("a header that ends behind its block")
    return block[position + 4 : end].decode(), end
