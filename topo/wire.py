"""Messages between the lab's own processes: one JSON object a packet, with descriptors beside it.

The sockets are Unix sockets of type SOCK_SEQPACKET: a message arrives whole or not at all, and end of file is told
at once. Sources: unix(7), "SCM_RIGHTS".
"""

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

LIMIT = 1 << 18
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_SIZE_ONLY = socket.MSG_PEEK | socket.MSG_TRUNC
_RIGHTS_SPACE = socket.CMSG_SPACE(16 * struct.calcsize("i"))  # at most 16 descriptors


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(channel: socket.socket, message: Any, descriptors: Sequence[int] = ()) -> None:
    """Send one message of at most LIMIT bytes. Raises OSError when the other end is gone."""
    raw = _encode(message).encode()
    if len(raw) > LIMIT:
        raise ValueError(f"message of {len(raw)} bytes: at most {LIMIT} fit")
    if descriptors:
        rights = struct.pack(f"{len(descriptors)}i", *descriptors)
        channel.sendmsg([raw], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    else:
        channel.send(raw)


def receive(channel: socket.socket) -> tuple[Any, list[int]] | None:
    """The next message and its descriptors; None at the other end's end. Blocks unless the socket does not."""
    try:
        # Its size first: a buffer for the longest would be mapped and unmapped for each message.
        size = channel.recv_into(bytearray(1), 1, _SIZE_ONLY)
        raw, ancillary, _, _ = channel.recvmsg(max(size, 1), _RIGHTS_SPACE, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    if not raw:
        return None
    descriptors: list[int] = []
    for level, kind, rights in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors += struct.unpack(f"{len(rights) // 4}i", rights)
    return json.loads(raw), descriptors
