"""What the stand-ins that only serve have in common: the life of such a process, one HTTP port, a UDP port
that answers.

    listen -> log that it serves -> loop until a signal ends it
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping

from agents.images.eventloop import READ, Loop
from agents.images.http_message import Request, Response
from agents.images.http_server import Handler, HTTPServer
from agents.images.process import SIGINT, SIGTERM, call_on, end_on, log, reap_children
from agents.images.sockets import address_of, join, listen_tcp, reason

ENDS_WITH_ZERO: Mapping[int, int] = {SIGTERM: 0, SIGINT: 0}
# A Go program that does not handle SIGTERM, as the first process of its pid namespace.
ENDS_AS_GO: Mapping[int, int] = {SIGTERM: 2}
_MAX_DATAGRAM = 65535


def run_until(loop: Loop, statuses: Mapping[int, int]) -> int:
    """Serve until one of the signals comes; the process then ends with its status. Does not return."""
    reap_children()
    end_on(statuses)
    loop.run()
    return 0


def on_signal(loop: Loop, number: int, callback: Callable[[], None]) -> None:
    """Call `callback` from the loop when the signal comes: never in the middle of another callback."""
    wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def called(_events: int) -> None:
        os.eventfd_read(wake)
        callback()

    loop.add(wake, READ, called)
    call_on(number, lambda: os.eventfd_write(wake, 1))


def run_http(
    port: int,
    handler: Handler,
    statuses: Mapping[int, int],
    *,
    address: str = "",
    server: str = "",
    on_answer: Callable[[Request, Response], None] | None = None,
) -> int:
    """Serve HTTP on one port until a signal comes. Exit status 1, told in Go's words, when it cannot be
    bound.
    """
    loop = Loop()
    try:
        listener = listen_tcp(port, address)
    except OSError as error:
        log(f"listen tcp {join(address, port)}: bind: {reason(error)}")
        return 1
    HTTPServer(loop, listener, handler, server=server, on_answer=on_answer)
    log(f"serving on port {listener.getsockname()[1]}")
    return run_until(loop, statuses)


def answer_datagrams(loop: Loop, sock: socket.socket, reply: Callable[[bytes, str], bytes | None]) -> None:
    """Answer each datagram with `reply(data, "address:port")`; None answers nothing."""

    def answer(_events: int) -> None:
        try:
            data, name = sock.recvfrom(_MAX_DATAGRAM)
            response = reply(data, join(*address_of(name)))
            if response is not None:
                sock.sendto(response, name)
        except OSError:  # nothing there after all, or the client's port is closed
            return

    loop.add(sock.fileno(), READ, answer)
