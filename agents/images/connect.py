"""`agnhost connect`: one connection attempt, told in one word that a test can compare. Exit status 0 or 1.

    TIMEOUT   nobody answered           REFUSED   a RST came (ICMP port unreachable for UDP)
    DNS       the name has no address   OTHER     no route and the like       UNKNOWN   bad arguments

Source: test/images/agnhost/README.md (connect).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from agents.images.flags import Flags, duration
from agents.images.process import STDERR, write
from agents.images.sockets import join, reason

FLAGS = {"timeout": "0s", "protocol": "tcp", "udp-data": "hostname", "sctp-data": "hostname"}
IPPROTO_SCTP = 132


def main(argv: Sequence[str]) -> int:
    """Try to connect to `host:port`. Prints nothing and returns 0 when it worked, one line on stderr and 1
    when not.
    """
    flags = Flags(argv[1:], FLAGS)
    if len(flags.arguments) != 1:
        return _fail(f"Error: accepts 1 arg(s), received {len(flags.arguments)}")
    destination = flags.arguments[0]
    timeout = duration(flags.text("timeout")) or None
    try:
        host, port = split_host_port(destination)
    except ValueError as error:
        return _fail(f"UNKNOWN: {error}")
    try:
        address = socket.getaddrinfo(host or "localhost", port)[0]
    except (OSError, UnicodeError):  # UnicodeError: a label is empty or too long
        return _fail(f"DNS: lookup {host}: no such host")
    protocol = flags.text("protocol") or "tcp"
    if protocol == "udp":
        return connect_udp(address[0], str(address[4][0]), port, timeout, flags.text("udp-data"))
    if protocol in ("tcp", "sctp"):
        return connect_stream(address[0], str(address[4][0]), port, timeout, protocol)
    return _fail("Unsupported protocol")


def split_host_port(text: str) -> tuple[str, int]:
    """(host, port) of `host:port` or `[IPv6]:port`.

    Raises:
        ValueError: in Go's words.
    """
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        raise ValueError(f"address {text}: missing port in address")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"address {text}: too many colons in address")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError(f"address {text}: invalid port")
    return host, int(port)


def connect_stream(
    family: socket.AddressFamily, host: str, port: int, timeout: float | None, protocol: str
) -> int:
    """A TCP or SCTP handshake, nothing sent."""
    try:
        with socket.socket(family, socket.SOCK_STREAM, IPPROTO_SCTP if protocol == "sctp" else 0) as sock:
            sock.settimeout(timeout)
            sock.connect((host, port))
    except TimeoutError:
        return _fail("TIMEOUT")
    except ConnectionRefusedError:
        return _fail("REFUSED")
    except OSError as error:
        return _fail(f"OTHER: dial {protocol} {join(host, port)}: connect: {reason(error)}")
    return 0


def connect_udp(family: socket.AddressFamily, host: str, port: int, timeout: float | None, data: str) -> int:
    """One datagram out, one back."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(timeout)
            sock.connect((host, port))
            sock.send(f"{data}\n".encode())
            if sock.recv(1024):
                return 0
    except TimeoutError:
        return _fail(f"TIMEOUT: read udp {join(host, port)}: i/o timeout")
    except ConnectionRefusedError:
        return _fail(f"REFUSED: read udp {join(host, port)}: read: connection refused")
    except OSError as error:
        word = "OTHER" if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH) else "UNKNOWN"
        return _fail(f"{word}: dial udp {join(host, port)}: {reason(error)}")
    return _fail("OTHER: No data received from the server. Cannot guarantee the server received the request.")


def _fail(line: str) -> int:
    write(f"{line}\n", STDERR)
    return 1
