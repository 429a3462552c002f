"""Messages between a lab's processes arrive whole, with their descriptors, or not at all."""

import os
import socket
from collections.abc import Iterator

import pytest

from topo import wire

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ends = wire.pair()
    yield ends
    for end in ends:
        end.close()


def test_messages_keep_their_bounds_and_order(pair: Pair) -> None:
    for message in ({"do": "start"}, [1, 2], "ü"):
        wire.send(pair[0], message)
    received = [wire.receive(pair[1]) for _ in range(3)]
    assert received == [({"do": "start"}, []), ([1, 2], []), ("ü", [])]


def test_descriptors_arrive_beside_their_message(pair: Pair) -> None:
    reading, writing = os.pipe()
    wire.send(pair[0], {"event": "started"}, [writing])
    os.close(writing)
    received = wire.receive(pair[1])
    assert received is not None
    message, (descriptor,) = received
    os.write(descriptor, b"through")
    os.close(descriptor)
    assert (message, os.read(reading, 100)) == ({"event": "started"}, b"through")
    os.close(reading)


def test_the_other_ends_end_is_told(pair: Pair) -> None:
    pair[0].close()
    assert wire.receive(pair[1]) is None
    with pytest.raises(OSError, match="pipe"):
        wire.send(pair[1], {})


def test_a_message_that_is_too_long_is_refused_before_it_is_sent(pair: Pair) -> None:
    with pytest.raises(ValueError, match=str(wire.LIMIT)):
        wire.send(pair[0], "x" * wire.LIMIT)
    wire.send(pair[0], "next")
    assert wire.receive(pair[1]) == ("next", [])
