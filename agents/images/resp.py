r"""RESP2, the protocol between redis and its clients: bytes <-> values.

    *2\r\n$3\r\nGET\r\n$1\r\na\r\n     a request: an array of bulk strings; also a plain line, GET a\r\n
    +OK  -ERR text  :7  $1\r\nx  $-1    replies: status, error, number, bulk string, nil; *N: an array of them

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/.
"""

from __future__ import annotations

import re

MAX_REQUEST = 1024 * 1024  # bytes
MAX_WORDS = 1024

Reply = str | int | bytes | list["Reply"] | None


class ProtocolError(ValueError):
    """What came is not RESP; the connection cannot go on."""


class Status(str):
    """A reply that is a simple string, such as OK or PONG."""

    __slots__ = ()


class Failure(str):
    """A reply that is an error, its first word being the kind."""

    __slots__ = ()


def encode_request(words: list[str]) -> bytes:
    """An array of bulk strings."""
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        data = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


def encode_reply(reply: Reply) -> bytes:
    """A reply's bytes: Status and Failure as they are, text and bytes as a bulk string, None as nil."""
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, Status):
        return b"+%s\r\n" % reply.encode()
    if isinstance(reply, Failure):
        return b"-%s\r\n" % reply.encode()
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, list):
        return b"*%d\r\n" % len(reply) + b"".join(encode_reply(item) for item in reply)
    data = reply.encode() if isinstance(reply, str) else reply
    return b"$%d\r\n%s\r\n" % (len(data), data)


def take_request(data: bytes) -> tuple[list[bytes], int] | None:
    """The first request in `data` and where it ends; None while it is not complete.

    Raises:
        ProtocolError: malformed, or larger than MAX_REQUEST.
    """
    if len(data) > MAX_REQUEST:
        raise ProtocolError("Protocol error: request too large")
    line, at = _line(data, 0)
    if line is None:
        return None
    if not line.startswith(b"*"):
        return line.split(), at
    count = _number(line[1:], MAX_WORDS)
    words = []
    for _ in range(count):
        line, at = _line(data, at)
        if line is None:
            return None
        if not line.startswith(b"$"):
            raise ProtocolError("Protocol error: expected '$'")
        size = _number(line[1:], MAX_REQUEST)
        if len(data) < at + size + 2:
            return None
        words.append(data[at : at + size])
        at += size + 2
    return words, at


def take_reply(data: bytes, at: int = 0) -> tuple[Reply, int] | None:
    """The reply that begins at `at` and where it ends; None while it is not complete. Raises
    ProtocolError.
    """
    line, at = _line(data, at)
    if line is None:
        return None
    kind, rest = line[:1], line[1:]
    if kind in b"+-" and kind:
        text = rest.decode("utf-8", "replace")
        return (Status(text) if kind == b"+" else Failure(text)), at
    if kind not in (b":", b"$", b"*"):
        raise ProtocolError("Protocol error: unknown reply")
    number = int(rest) if re.fullmatch(rb"-?\d{1,18}", rest) else None
    if number is None:
        raise ProtocolError("Protocol error: bad number")
    if kind == b":":
        return number, at
    if number < 0:
        return None, at
    if kind == b"$":
        return (data[at : at + number], at + number + 2) if len(data) >= at + number + 2 else None
    items: list[Reply] = []
    for _ in range(number):
        taken = take_reply(data, at)
        if taken is None:
            return None
        items.append(taken[0])
        at = taken[1]
    return items, at


def _line(data: bytes, at: int) -> tuple[bytes | None, int]:
    end = data.find(b"\n", at)
    return (None, at) if end < 0 else (data[at:end].rstrip(b"\r"), end + 1)


def _number(text: bytes, most: int) -> int:
    if not re.fullmatch(rb"\d{1,9}", text) or int(text) > most:
        raise ProtocolError("Protocol error: invalid length")
    return int(text)
