"""`agnhost tcp-reset`: reads one byte of each connection and closes it.

Linux answers a close with unread data by a RST instead of a FIN (RFC 1122 section 4.2.2.13): a client that
sends more than one byte sees its connection reset. Source: test/images/agnhost/README.md (tcp-reset).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from agents.images.eventloop import READ, Loop
from agents.images.flags import Flags, Value
from agents.images.process import log
from agents.images.serve import ENDS_AS_GO, run_until
from agents.images.sockets import address_of, join, listen_tcp, reason

FLAGS: dict[str, Value] = {"port": 8080}


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM. Exit status 1 when the port is taken."""
    loop = Loop()
    try:
        listener = listen_tcp(Flags(argv[1:], FLAGS).number("port"))
    except OSError as error:
        log(f"Error from net.Listen(): {reason(error)}")
        return 1

    def accept(_events: int) -> None:
        try:
            client, name = listener.accept()
        except OSError:
            return
        log(f"TCP request from {join(*address_of(name))}")
        loop.add(client.fileno(), READ, lambda _events: close(client))

    def close(client: socket.socket) -> None:
        loop.remove(client.fileno())
        try:
            client.recv(1)
        except OSError:
            pass
        client.close()

    loop.add(listener.fileno(), READ, accept)
    log(f"serving on port {listener.getsockname()[1]}")
    return run_until(loop, ENDS_AS_GO)
