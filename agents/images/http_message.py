"""HTTP/1.1 messages: bytes -> Request, Response -> bytes. No sockets here.

Strict where leniency has been a hole (whitespace before a colon, folded lines, two lengths, bare CR), as RFC
9112 asks of a server; limits keep a hostile client's cost small. Sources: RFC 9112 (messages), RFC 9110
(semantics).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

MAX_HEAD = 32 * 1024  # request line and header lines, bytes
MAX_HEADERS = 200
MAX_BODY = 1024 * 1024

REASONS = {
    100: "Continue",
    200: "OK",
    201: "Created",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    412: "Precondition Failed",
    413: "Request Entity Too Large",
    416: "Requested Range Not Satisfiable",
    417: "Expectation Failed",
    418: "I'm a teapot",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"[!-~\x80-\xff]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class HTTPError(Exception):
    """A request that is answered with this status, after which the connection is closed."""

    def __init__(self, status: int, fact: str) -> None:
        super().__init__(fact)
        self.status = status


@dataclass(slots=True)
class Request:
    """One request.

    `target` is what stood in the request line, `path` its decoded path. `headers` keep the client's spelling
    and order. `client` and `local` are (address, port) of the two ends of the connection.
    """

    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    client: tuple[str, int] = ("", 0)
    local: tuple[str, int] = ("", 0)

    @property
    def path(self) -> str:
        """The decoded path of the target, without the query."""
        target = self.target
        if "://" in target[:10]:  # absolute form, as sent to a proxy
            target = "/" + target.split("://", 1)[1].partition("/")[2]
        return unquote(target.partition("?")[0])

    @property
    def query(self) -> str:
        """The target's part after the question mark, as it was sent."""
        return self.target.partition("?")[2]

    def header(self, name: str, default: str = "") -> str:
        """The first value of a header, whatever its spelling."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), default)

    def form(self) -> dict[str, str]:
        """Query parameters and, for an url-encoded body, its fields (which win, as in Go's FormValue)."""
        fields = dict(reversed(parse_qsl(self.query, keep_blank_values=True)))
        if self.header("content-type").startswith("application/x-www-form-urlencoded"):
            fields.update(reversed(parse_qsl(self.body.decode("latin-1"), keep_blank_values=True)))
        return fields

    def keep_alive(self) -> bool:
        """Whether the client wants the connection kept."""
        words = [word.strip().lower() for word in self.header("connection").split(",")]
        return "close" not in words and (self.version == "HTTP/1.1" or "keep-alive" in words)


@dataclass(slots=True)
class Response:
    """One response. `headers` besides Date, Content-Length, Connection, which the server adds.

    `slow`, when given, makes the response in a process of its own (for handlers that wait: they may not stop
    the others). `none` closes the connection without a word.
    """

    body: bytes = b""
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    slow: Callable[[], Response] | None = None
    none: bool = False


def text_response(text: str, status: int = 200) -> Response:
    """A plain-text response as Go's http writes it."""
    return Response(text.encode(), status, [("Content-Type", "text/plain; charset=utf-8")])


def json_response(text: str, status: int = 200) -> Response:
    """A response with a body that is JSON already."""
    return Response(text.encode(), status, [("Content-Type", "application/json")])


def parse_head(head: bytes) -> Request:
    """A request from its head, without the empty line.

    Raises:
        HTTPError: 400, 431, 501 or 505.
    """
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]) or not _TARGET.fullmatch(words[1]):
        raise HTTPError(400, "malformed request line")
    if words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        known = re.fullmatch(r"HTTP/\d\.\d", words[2])
        raise HTTPError(505 if known else 400, "want HTTP/1.0 or HTTP/1.1")
    if len(lines) > MAX_HEADERS:
        raise HTTPError(431, "too many header lines")
    request = Request(words[0], words[1], words[2], [_header(line) for line in lines[1:]])
    hosts = sum(name.lower() == "host" for name, _ in request.headers)
    if hosts > 1 or (hosts == 0 and request.version == "HTTP/1.1"):
        raise HTTPError(400, "want one Host header")
    return request


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        raise HTTPError(400, "malformed header line")
    return name, value.strip(" \t")


def body_length(request: Request) -> int | None:
    """Bytes of the body that follows; None when it is chunked.

    Raises:
        HTTPError: 400 on contradictory or bad lengths, 413 over MAX_BODY, 501 on another transfer coding.
    """
    lengths = {value for name, value in request.headers if name.lower() == "content-length"}
    coding = request.header("transfer-encoding").lower()
    if coding:
        if lengths:
            raise HTTPError(400, "Content-Length beside Transfer-Encoding")
        if coding != "chunked":
            raise HTTPError(501, "unsupported transfer encoding")
        return None
    if not lengths:
        return 0
    length = lengths.pop()
    if lengths or not re.fullmatch(r"[0-9]{1,18}", length):
        raise HTTPError(400, "bad Content-Length")
    if int(length) > MAX_BODY:
        raise HTTPError(413, "body too large")
    return int(length)


def take_chunked(data: bytes, start: int) -> tuple[bytes, int] | None:
    """A chunked body that begins at `start` of `data`: (body, where it ends), None while it is not complete.

    Raises:
        HTTPError: 400 when malformed, 413 over MAX_BODY.
    """
    body, at = bytearray(), start
    while True:
        end = data.find(b"\r\n", at, at + 256)
        if end < 0:
            if len(data) - at >= 256:
                raise HTTPError(400, "malformed chunk size")
            return None
        size_text = data[at:end].partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", size_text):
            raise HTTPError(400, "malformed chunk size")
        size, at = int(size_text, 16), end + 2
        if len(body) + size > MAX_BODY:
            raise HTTPError(413, "body too large")
        if size == 0:
            break
        if len(data) < at + size + 2:
            return None
        if data[at + size : at + size + 2] != b"\r\n":
            raise HTTPError(400, "malformed chunk")
        body += data[at : at + size]
        at += size + 2
    return _after_trailers(data, at, bytes(body))


def _after_trailers(data: bytes, at: int, body: bytes) -> tuple[bytes, int] | None:
    """Skip the trailer lines that end a chunked body."""
    while (end := data.find(b"\r\n", at)) >= 0:
        if end == at:
            return body, at + 2
        at = end + 2
    if len(data) - at > MAX_HEAD:
        raise HTTPError(431, "trailers too large")
    return None


def encode(response: Response, *, head_only: bool, keep_alive: bool, server: str = "") -> bytes:
    """The bytes of a response; `head_only` for the answer to HEAD, `server` for the Server header."""
    lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Status')}"]
    if server:
        lines.append(f"Server: {server}")
    lines.append(f"Date: {http_date(time.time())}")
    given = {name.lower() for name, _ in response.headers}
    lines += [f"{name}: {value}" for name, value in response.headers]
    bodiless = response.status in (204, 304)
    if not bodiless and "content-length" not in given:
        lines.append(f"Content-Length: {len(response.body)}")
    if "connection" not in given:
        lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
    head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
    return head if head_only or bodiless else head + response.body


def http_date(seconds: float) -> str:
    """A time as HTTP writes it: `Sat, 31 Jan 2026 12:00:00 GMT`."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(seconds))
