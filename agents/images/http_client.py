"""One HTTP GET over a fresh connection: what agnhost's /dial and guestbook send. It waits, so it runs in a
forked process.

http.client would be imported at the first call, in each container; this is what is needed of it.
"""

from __future__ import annotations

import socket
import time

from agents.images.http_message import HTTPError, take_chunked
from agents.images.sockets import join, reason

_RECEIVE = 64 * 1024
_MAX_RESPONSE = 4 * 1024 * 1024


class DialError(Exception):
    """The request got no response; the message is in the words of Go's net package."""


def get(host: str, port: int, target: str, timeout: float = 5.0) -> tuple[int, bytes]:
    """Send `GET target` to host:port. Returns (status, body). `timeout` covers the whole exchange, in
    seconds.

    Raises:
        DialError: no connection, no response in time, or none that is HTTP.
    """
    url = f"http://{join(host, port)}{target}"
    deadline = time.monotonic() + timeout
    try:
        with socket.create_connection((host, port), timeout) as sock:
            request = f"GET {target} HTTP/1.1\r\nHost: {join(host, port)}\r\nConnection: close\r\n\r\n"
            sock.sendall(request.encode("latin-1", "replace"))
            return _parse(_read_all(sock, deadline))
    except TimeoutError:
        raise DialError(f'Get "{url}": context deadline exceeded (Client.Timeout exceeded)') from None
    except socket.gaierror:
        raise DialError(f'Get "{url}": dial tcp: lookup {host}: no such host') from None
    except OSError as error:
        raise DialError(f'Get "{url}": dial tcp {join(host, port)}: connect: {reason(error)}') from None
    except (HTTPError, ValueError):
        raise DialError(f'Get "{url}": malformed HTTP response') from None


def _read_all(sock: socket.socket, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < _MAX_RESPONSE:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        sock.settimeout(remaining)
        chunk = sock.recv(_RECEIVE)
        if not chunk:
            break
        data += chunk
    return bytes(data)


def _parse(data: bytes) -> tuple[int, bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].split(b" ", 2)
    if not words[0].startswith(b"HTTP/1."):
        raise ValueError("no HTTP response")
    if b"transfer-encoding: chunked" in head.lower():
        chunked = take_chunked(body, 0)
        body = chunked[0] if chunked else b""
    return int(words[1]), body
