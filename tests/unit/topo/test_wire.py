"""Messages between a lab's processes arrive whole, with their descriptors, or not at all."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

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


def test_the_name_of_a_file_that_is_no_text_arrives(pair: Pair) -> None:
    name = os.fsdecode(b"caf\xe9")
    wire.send(pair[0], {"error": name})
    assert wire.receive(pair[1]) == ({"error": name}, [])


def test_a_message_of_a_thread_is_not_read_into_that_of_another(pair: Pair) -> None:
    wire.send(pair[0], "of the thread")
    wire.send(pair[0], "of the test")
    with ThreadPoolExecutor(1) as other:
        received = other.submit(wire.receive, pair[1]).result()
    assert (received, wire.receive(pair[1])) == (("of the thread", []), ("of the test", []))


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


def test_the_longest_message_fits_into_a_socket(pair: Pair) -> None:
    longest = "x" * (wire.LIMIT - 2)
    pair[0].setblocking(False)
    wire.send(pair[0], longest)
    assert wire.receive(pair[1]) == (longest, [])
