"""A real packet sent, and what happened to it: the measuring end of every check.

    make_socket() ──connect──> connected | refused | reset | timeout | unreachable
                  ──payload──> reply

A probe is given sockets that were made in some machine's or pod's network namespace (a socket stays where it was made),
so it can run anywhere: in the lab, in a test, in a notebook.

Sources: connect(2) "ERRORS", ip(7), RFC 9112 (a request line and a Host header are all that HTTP/1.1 needs).
"""

import errno
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

MakeSocket = Callable[[int, int], socket.socket]  # (family, type) -> a socket in somebody's network
LIMIT = 65536
_VERDICTS = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ETIMEDOUT: "timeout",
}


@dataclass(frozen=True)
class Outcome:
    """What came of a probe.

    verdict: "connected" (TCP), "answered" (UDP), "refused", "reset", "timeout", "unreachable". local, remote: the two
    ends as (address, port), as the sender sees them. reply: at most LIMIT bytes. seconds: until the verdict.
    """

    verdict: str
    local: tuple[str, int]
    remote: tuple[str, int]
    reply: bytes
    seconds: float

    @property
    def answered(self) -> bool:
        """Whether anything came back from an application."""
        return bool(self.reply)


def http_get(path: str, host: str) -> bytes:
    """The bytes of a GET after which the server closes the connection."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: minipod\r\nConnection: close\r\n\r\n".encode()


def tcp(
    make_socket: MakeSocket, address: str, port: int, payload: bytes = b"", timeout: float = 3.0
) -> Outcome:
    """Connect, send `payload` if there is any, and read until the other side closes or `timeout` (seconds) is over."""
    return _probe(make_socket, socket.SOCK_STREAM, address, port, payload, timeout)


def udp(make_socket: MakeSocket, address: str, port: int, payload: bytes, timeout: float = 3.0) -> Outcome:
    """Send one datagram and wait for one."""
    return _probe(make_socket, socket.SOCK_DGRAM, address, port, payload, timeout)


def _probe(
    make_socket: MakeSocket, kind: int, address: str, port: int, payload: bytes, timeout: float
) -> Outcome:
    started = time.monotonic()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    verdict, reply, local = "timeout", b"", ("", 0)
    with make_socket(family, kind) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect((address, port))
            local = sock.getsockname()[:2]
            verdict = "connected" if kind == socket.SOCK_STREAM else "timeout"
            if payload:
                sock.sendall(payload)
                reply = _read_all(sock, started + timeout) if kind == socket.SOCK_STREAM else sock.recv(LIMIT)
                verdict = verdict if kind == socket.SOCK_STREAM else "answered"
        except TimeoutError:
            pass
        except OSError as error:
            verdict = _VERDICTS.get(error.errno or 0, errno.errorcode.get(error.errno or 0, "error"))
    return Outcome(
        verdict, (str(local[0]), int(local[1])), (address, port), reply, time.monotonic() - started
    )


def _read_all(sock: socket.socket, deadline: float) -> bytes:
    """What comes until the other side closes; what came is kept when time runs out or the connection is reset."""
    reply = b""
    while len(reply) < LIMIT:
        sock.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            data = sock.recv(LIMIT - len(reply))
        except (TimeoutError, ConnectionResetError):
            break
        if not data:
            break
        reply += data
    return reply
