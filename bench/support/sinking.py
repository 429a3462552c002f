"""Throughput in short turns: a server that swallows buffers and says when it has them all, and its client.

What else a machine does makes a single long turn worthless. Many short ones, with what is compared in each pair,
leave a median that can be trusted.
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress

from bench.support.common import seconds_of

BUFFER, BUFFERS = bytes(1 << 20), 48  # what a turn sends


def forked(listening: socket.socket, work: Callable[[socket.socket], None]) -> int:
    """A process of its own that works on one connection after the other until it is killed; its id."""
    child = os.fork()
    if child:
        listening.close()
        return child
    while True:
        connection, _ = listening.accept()
        with connection, suppress(ConnectionError):  # callers end by a reset
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            work(connection)


def swallow(connection: socket.socket) -> None:
    """The work of a server for `bytes_a_second`."""
    room = bytearray(len(BUFFER))
    left = len(BUFFER) * BUFFERS
    while left and (got := connection.recv_into(room)):
        left -= got
    connection.send(b"!")


def bytes_a_second(caller: socket.socket) -> float:
    """Send all buffers to a server that swallows them."""

    def everything() -> None:
        for _ in range(BUFFERS):
            caller.sendall(BUFFER)
        caller.recv(1)

    return len(BUFFER) * BUFFERS / seconds_of(everything)
