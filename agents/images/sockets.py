"""Listening sockets for both address families, and addresses the way Go prints them.

One IPv6 socket that takes IPv4 too (IPV6_V6ONLY off) is what Go's `:80` makes; IPv4 clients show as
::ffff:a.b.c.d and are shown as a.b.c.d. A pod without IPv6 gets an IPv4 socket. Source: ipv6(7), socket(7).
"""

from __future__ import annotations

import errno
import socket

BACKLOG = 1024
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def listen_tcp(port: int, address: str = "") -> socket.socket:
    """A listening TCP socket, non-blocking, on every address or on `address`. Port 0 takes a free one.

    Raises:
        OSError: among others EADDRINUSE when the pod's port is taken.
    """
    listener = _bound(socket.SOCK_STREAM, port, address)
    try:
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def listen_udp(port: int, address: str = "") -> socket.socket:
    """A bound UDP socket, non-blocking, on every address or on `address`. Raises OSError as `listen_tcp`."""
    return _bound(socket.SOCK_DGRAM, port, address)


def _bound(kind: socket.SocketKind, port: int, address: str) -> socket.socket:
    if not address:
        try:
            return _bind(socket.AF_INET6, kind, "::", port)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
            return _bind(socket.AF_INET, kind, "0.0.0.0", port)
    return _bind(socket.AF_INET6 if ":" in address else socket.AF_INET, kind, address, port)


def _bind(family: socket.AddressFamily, kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    bound = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address == "::" else 1)
        if kind == socket.SOCK_STREAM:  # for UDP it would let two servers share a port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound


def address_of(name: tuple[str, int] | tuple[str, int, int, int]) -> tuple[str, int]:
    """(address, port) of a socket name, an IPv4 address in its own form."""
    return name[0].removeprefix("::ffff:"), name[1]


def join(address: str, port: int | str) -> str:
    """`address:port`, `[address]:port` for IPv6."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def reason(error: OSError) -> str:
    """The kernel's words for an error, in lower case as Go prints them."""
    if error.errno == errno.EHOSTUNREACH:
        return "no route to host"
    return (error.strerror or str(error)).lower()
