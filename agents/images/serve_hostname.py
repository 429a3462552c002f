"""`agnhost serve-hostname`: the pod's name over HTTP (the default), raw TCP or UDP. Source: agnhost's
README.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from agents.images.eventloop import READ, Loop
from agents.images.flags import Flags, Value
from agents.images.http_message import Request, Response, text_response
from agents.images.http_server import HTTPServer
from agents.images.process import SIGTERM, hostname, log, reap_children
from agents.images.serve import answer_datagrams, on_signal
from agents.images.sockets import address_of, join, listen_tcp, listen_udp, reason

FLAGS: dict[str, Value] = {"tcp": False, "udp": False, "http": True, "close": False, "port": 9376}
_AFTER_SIGTERM = 60.0  # it goes on serving: endpoints are withdrawn while clients still arrive


def main(argv: Sequence[str]) -> int:
    """Serve until 60 seconds after SIGTERM, as the real one does. Exit status 1 when it cannot start."""
    flags = Flags(argv[1:], FLAGS)
    if flags.switch("http") and (flags.switch("tcp") or flags.switch("udp")):
        log("Can't serve TCP/UDP mode and HTTP mode at the same time")
        return 1
    loop, port = Loop(), flags.number("port")
    try:
        if flags.switch("tcp"):
            serve_tcp(loop, listen_tcp(port))
        if flags.switch("udp"):
            serve_udp(loop, listen_udp(port))
        if flags.switch("http"):
            serve_http(loop, listen_tcp(port), close=flags.switch("close"))
    except OSError as error:
        log(f"Error from net.Listen(): listen :{port}: bind: {reason(error)}")
        return 1
    log(f"Serving on port {port}.")
    reap_children()
    on_signal(loop, SIGTERM, lambda: end_later(loop))
    loop.run()
    return 0


def end_later(loop: Loop) -> None:
    """Say so, go on, and end with status 0 when the time is over."""
    log("Shutting down after receiving signal: terminated.")
    log("Awaiting pod deletion.")
    loop.call_later(_AFTER_SIGTERM, lambda: os._exit(0))


def serve_http(loop: Loop, listener: socket.socket, *, close: bool) -> None:
    """Every request gets the name; `close` ends the connection after each."""

    def answer(request: Request) -> Response:
        log(f"HTTP request from {join(*request.client)}")
        response = text_response(hostname())
        if close:
            response.headers.append(("Connection", "close"))
        return response

    HTTPServer(loop, listener, answer)


def serve_tcp(loop: Loop, listener: socket.socket) -> None:
    """Every connection gets the name and is closed."""

    def accept(_events: int) -> None:
        try:
            client, name = listener.accept()
        except OSError:
            return
        with client:
            log(f"TCP request from {join(*address_of(name))}")
            client.send(hostname().encode())

    loop.add(listener.fileno(), READ, accept)


def serve_udp(loop: Loop, sock: socket.socket) -> None:
    """Every datagram is answered with the name."""

    def reply(_data: bytes, client: str) -> bytes:
        log(f"UDP request from {client}")
        return hostname().encode()

    answer_datagrams(loop, sock, reply)
