"""The stand-in for an image that nobody has described: listens on the declared ports and says who it is.

    generic [--image=NAME] TCP:80 TCP:443 UDP:53 …
    TCP port -> HTTP; any path gets the pod's identity, the client's address and the request's headers as text;
                gRPC clients hear that it is SERVING
    UDP port -> each datagram comes back

So a manifest of an unknown application applies unchanged, its probes pass and its packets can be followed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from agents.images.eventloop import Loop
from agents.images.http_message import Request, Response, text_response
from agents.images.http_server import HTTPServer
from agents.images.identity import who_am_i, who_asks
from agents.images.process import log
from agents.images.serve import ENDS_WITH_ZERO, answer_datagrams, run_until
from agents.images.sockets import listen_tcp, listen_udp, reason

_PORT = re.compile(r"(TCP|UDP|SCTP):(\d{1,5})")


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM. Words that are no port (an application's own arguments) are ignored. 1: a port is
    taken.
    """
    image = next((word.partition("=")[2] for word in argv if word.startswith("--image=")), argv[0])
    wanted = dict.fromkeys((m[1], int(m[2])) for word in argv[1:] if (m := _PORT.fullmatch(word)))
    loop = Loop()
    for protocol, port in wanted:
        try:
            listen(loop, protocol, port, image)
        except OSError as error:
            log(f"{image}: listen {protocol} {port}: {reason(error)}")
            return 1
        log(f"{image} (stand-in): serving on {protocol} port {port}")
    if not wanted:
        log(f"{image} (stand-in): no ports to serve, waiting to be ended")
    return run_until(loop, ENDS_WITH_ZERO)


def listen(loop: Loop, protocol: str, port: int, image: str) -> None:
    """Serve one port. Raises OSError when it cannot be bound."""
    if protocol == "UDP":
        answer_datagrams(loop, listen_udp(port), lambda data, _client: data)
    elif protocol == "TCP":
        HTTPServer(loop, listen_tcp(port), lambda request: answer(request, image), grpc=True)
    else:
        log(f"{image} (stand-in): {protocol} port {port} is not served: this stand-in speaks TCP and UDP")


def answer(request: Request, image: str) -> Response:
    """Who answers, who asks, what was asked."""
    pairs = [("image", f"{image} (stand-in)"), *who_am_i(request), *who_asks(request)]
    return text_response("".join(f"{word}: {value}\n" for word, value in pairs))
