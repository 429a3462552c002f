"""Packets as they pass a device, taken with a packet socket and read with scapy.

    packet socket in the machine's namespace ──> frames wait in its buffer ──> packets(): scapy, oldest first

The socket is made in the machine's network namespace and may be read from anywhere. Frames that leave the device are
seen as well as those that arrive. Sources: packet(7), scapy's documentation of `Ether`.
"""

import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Any

ETH_P_ALL = 3
BUFFER = 8 << 20
_SOL_PACKET, _PACKET_STATISTICS = 263, 6


def open_socket(device: str) -> socket.socket:
    """A packet socket on a device of the calling thread's network namespace. Raises OSError."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.bind((device, ETH_P_ALL))
    except BaseException:
        sock.close()
        raise
    return sock


class Capture:
    """A capture that has begun; a context manager."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._frames: list[bytes] = []

    def __enter__(self) -> "Capture":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def packets(self, wanted: Callable[[Any], bool] = lambda _: True) -> list[Any]:
        """All packets so far, as scapy's Ether, of which `wanted` is true."""
        from scapy.layers.l2 import Ether

        self._drain()
        return [packet for packet in map(Ether, self._frames) if wanted(packet)]

    def dropped(self) -> int:
        """How many frames found no room since the last call."""
        _, drops = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        return int(drops)

    def _drain(self) -> None:
        while True:
            try:
                self._frames.append(self._socket.recv(65536, socket.MSG_DONTWAIT))
            except BlockingIOError:
                return
