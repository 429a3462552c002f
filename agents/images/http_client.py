"""One HTTP request over a fresh connection: what agnhost's /dial and nginx's proxy_pass send. It waits, so it
runs in a forked process.

http.client would be imported at the first call, in each container; this is what is needed of it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

from agents.images.http_message import HTTPError, take_chunked
from agents.images.sockets import join, reason

_RECEIVE = 64 * 1024
_MAX_RESPONSE = 4 * 1024 * 1024

# status, headers, body
Answer = tuple[int, list[tuple[str, str]], bytes]


class DialError(Exception):
    """The request got no response; the message is in the words of Go's net package."""


def get(host: str, port: int, target: str, timeout: float = 5.0) -> tuple[int, bytes]:
    """Send `GET target` to host:port. Returns (status, body). `timeout` covers the whole exchange, in
    seconds.

    Raises:
        DialError: no connection, no response in time, or none that is HTTP.
    """
    url = f"http://{join(host, port)}{target}"
    try:
        status, _, body = exchange(host, port, "GET", target, [("Host", join(host, port))], b"", timeout)
    except TimeoutError:
        raise DialError(f'Get "{url}": context deadline exceeded (Client.Timeout exceeded)') from None
    except socket.gaierror:
        raise DialError(f'Get "{url}": dial tcp: lookup {host}: no such host') from None
    except OSError as error:
        raise DialError(f'Get "{url}": dial tcp {join(host, port)}: connect: {reason(error)}') from None
    except HTTPError:
        raise DialError(f'Get "{url}": malformed HTTP response') from None
    return status, body


def exchange(
    host: str,
    port: int,
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    timeout: float,
) -> Answer:
    """Send a request, with `Connection: close` and the body's length added, and read its response.

    Raises:
        TimeoutError: not done within `timeout` seconds.
        OSError: no connection (socket.gaierror: no such name).
        HTTPError: 502, the response is not HTTP or too large.
    """
    deadline = time.monotonic() + timeout
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    lines.append("Connection: close")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    try:
        connection = socket.create_connection((host, port), timeout)
    except UnicodeError:  # a label of the name is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
    with connection as sock:
        sock.sendall("\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body)
        data = b""
        while True:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            chunk = sock.recv(_RECEIVE)
            data += chunk
            answer = _take_response(data, has_body=method != "HEAD", ended=not chunk)
            if answer:
                return answer
            if not chunk or len(data) > _MAX_RESPONSE:
                raise HTTPError(502, "the response is cut off or too large")


def _take_response(data: bytes, *, has_body: bool, ended: bool) -> Answer | None:
    """The response in what was received; None while it is not complete. Raises HTTPError 502."""
    head, blank, rest = data.partition(b"\r\n\r\n")
    if not blank:
        return None
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise HTTPError(502, "no HTTP response")
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
    named = {name.lower(): value for name, value in fields}
    status = int(words[1])
    if not has_body or status in (204, 304):
        return status, fields, b""
    if named.get("transfer-encoding", "").lower() == "chunked":
        chunked = take_chunked(rest, 0)
        return (status, fields, chunked[0]) if chunked else None
    length = named.get("content-length", "")
    if length.isdigit():
        return (status, fields, rest[: int(length)]) if len(rest) >= int(length) else None
    return (status, fields, rest) if ended else None
