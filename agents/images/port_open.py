"""The check commands of databases whose stand-in only listens: `pg_isready`, `mysqladmin ping`. Source: their
man pages.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from agents.images.process import write

_SECONDS = 3.0


def main(argv: Sequence[str]) -> int:
    """Exit status 0 when this container's pod listens on TCP port argv[1], 2 when not. Other words are
    ignored.
    """
    port = int(argv[1])
    try:
        socket.create_connection(("localhost", port), _SECONDS).close()
    except OSError:
        write(f"localhost:{port} - no response\n")
        return 2
    write(f"localhost:{port} - accepting connections\n")
    return 0
