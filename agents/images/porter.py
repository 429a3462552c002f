"""`agnhost porter`: serves the value of each variable SERVE_PORT_80, SERVE_TCP_PORT_81, SERVE_UDP_PORT_82 on
that port.

Source: test/images/agnhost/README.md (porter). TLS and SCTP ports are named in the log and not served.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence

from agents.images.eventloop import Loop
from agents.images.flags import Flags, Value
from agents.images.http_message import Request, Response, json_response, text_response
from agents.images.http_server import HTTPServer
from agents.images.process import log
from agents.images.serve import ENDS_AS_GO, answer_datagrams, run_until
from agents.images.sockets import listen_tcp, listen_udp, reason

FLAGS: dict[str, Value] = {"json-response": False}


def main(argv: Sequence[str]) -> int:
    """Serve until ended. A port that cannot be bound is told in the log; the others are served."""
    as_json = Flags(argv[1:], FLAGS).switch("json-response")
    loop = Loop()
    for name, value in sorted(os.environ.items()):
        prefix, _, port = name.rpartition("_")
        if not port.isdigit():
            continue
        try:
            if prefix in ("SERVE_PORT", "SERVE_TCP_PORT"):
                serve_tcp(loop, listen_tcp(int(port)), value, as_json=as_json)
            elif prefix == "SERVE_UDP_PORT":
                serve_udp(loop, listen_udp(int(port)), value.encode())
                log(f"Started UDP server on port {port}")
            elif prefix in ("SERVE_TLS_PORT", "SERVE_SCTP_PORT"):
                log(f"porter: {name} is not in this stand-in: use SERVE_PORT_{port} or SERVE_UDP_PORT_{port}")
        except OSError as error:
            log(f'server on port "{port}" failed: listen: bind: {reason(error)}')
    return run_until(loop, ENDS_AS_GO)


def serve_tcp(loop: Loop, listener: socket.socket, value: str, *, as_json: bool) -> None:
    """Every request to this port gets the value, as JSON with the method on request."""

    def answer(request: Request) -> Response:
        if as_json:
            return json_response(json.dumps({"Method": request.method, "Body": value}))
        return text_response(value)

    HTTPServer(loop, listener, answer)


def serve_udp(loop: Loop, sock: socket.socket, value: bytes) -> None:
    """Every datagram to this port gets the value."""
    answer_datagrams(loop, sock, lambda _data, _client: value)
