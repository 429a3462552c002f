"""Messages between the lab's own processes: one JSON object a packet, with descriptors beside it.

The sockets are Unix sockets of type SOCK_SEQPACKET: a message arrives whole or not at all, and end of file is told
at once. Sources: unix(7), "SCM_RIGHTS".
"""

import json
import socket
from collections.abc import Sequence
from typing import Any

LIMIT = 1 << 18
_MAX_DESCRIPTORS = 16


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(channel: socket.socket, message: Any, descriptors: Sequence[int] = ()) -> None:
    """Send one message of at most LIMIT bytes. Raises OSError when the other end is gone."""
    raw = json.dumps(message, separators=(",", ":")).encode()
    if len(raw) > LIMIT:
        raise ValueError(f"message of {len(raw)} bytes: at most {LIMIT} fit")
    if descriptors:
        socket.send_fds(channel, [raw], descriptors)
    else:
        channel.send(raw)


def receive(channel: socket.socket) -> tuple[Any, list[int]] | None:
    """The next message and its descriptors; None at the other end's end. Blocks unless the socket does not."""
    try:
        raw, descriptors, _, _ = socket.recv_fds(channel, LIMIT, _MAX_DESCRIPTORS)
    except ConnectionResetError:
        return None
    if not raw:
        return None
    return json.loads(raw), descriptors
