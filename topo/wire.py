"""Messages between the lab's own processes: one JSON object a packet, with descriptors beside it.

The sockets are Unix sockets of type SOCK_SEQPACKET: a message arrives whole or not at all, and end of file is told
at once. Sources: unix(7), "SCM_RIGHTS".
"""

import json
import socket
import struct
import threading
from collections.abc import Sequence
from typing import Any

import orjson

LIMIT = 1 << 18
_RIGHTS_SPACE = socket.CMSG_SPACE(16 * struct.calcsize("i"))  # at most 16 descriptors


class _Buffer(threading.local):
    """Where a thread receives its messages, for each of which the longest would else be mapped and unmapped."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(LIMIT))


_buffer = _Buffer()


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends, each of which takes at least one message of LIMIT bytes."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LIMIT)  # the kernel grants twice as much
    return ends


def send(channel: socket.socket, message: Any, descriptors: Sequence[int] = ()) -> None:
    """Send one message of at most LIMIT bytes, with at most 16 descriptors. Raises ValueError when it is longer,
    BlockingIOError when there is no room and the socket does not block, OSError when the other end is gone or a
    descriptor is none.
    """
    try:
        raw = orjson.dumps(message)
    except TypeError:  # what it refuses: half a surrogate pair, as the name of a file may have
        raw = json.dumps(message).encode()
    if len(raw) > LIMIT:
        raise ValueError(f"message of {len(raw)} bytes: at most {LIMIT} fit")
    if descriptors:
        rights = struct.pack(f"{len(descriptors)}i", *descriptors)
        channel.sendmsg([raw], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    else:
        channel.send(raw)


def receive(channel: socket.socket) -> tuple[Any, list[int]] | None:
    """The next message and its descriptors; None at the other end's end. Blocks unless the socket does not."""
    memory = _buffer.memory
    try:
        size, ancillary, _, _ = channel.recvmsg_into([memory], _RIGHTS_SPACE, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    if not size:
        return None
    descriptors: list[int] = []
    for level, kind, rights in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors += struct.unpack(f"{len(rights) // 4}i", rights)
    try:
        return orjson.loads(memory[:size]), descriptors
    except orjson.JSONDecodeError:
        return json.loads(bytes(memory[:size])), descriptors
