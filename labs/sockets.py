"""Unix sockets at paths of any length.

sockaddr_un holds 107 bytes (unix(7)), and a lab's folder may lie deep. So a socket is reached through the descriptor of
its folder: /proc/self/fd/N/NAME.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_path(path: Path) -> Iterator[Path]:
    """Another path to the same file, short, valid within the block. Raises OSError when the folder is not there."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def connect(path: Path, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A connection to the Unix socket at `path`. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, kind)
    try:
        with short_path(path) as short:
            connection.connect(str(short))
    except BaseException:
        connection.close()
        raise
    return connection
