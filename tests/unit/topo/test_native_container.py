"""What whoever starts a container that needs no interpreter sees of its first process."""

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from topo import syscalls
from topo.native import Call, Chain
from topo.native_container import Slots, settles

SETTLED = b"settled"


@pytest.fixture
def report() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def started(*calls: Call) -> tuple[Chain, int, int]:
    chain = Chain([*calls, ("_exit", 0)])
    return chain, *chain.start(syscalls.CLONE_FILES)


def test_a_process_that_says_so_has_settled_and_left_our_descriptors_alone(
    report: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = report
    last = max(ours.fileno(), theirs.fileno()) + 1
    chain, pid, pidfd = started(
        ("close_range", last, (1 << 32) - 1, 2),
        ("dup2", theirs.fileno(), 0),
        ("send", theirs.fileno(), SETTLED, len(SETTLED), 0),
    )
    assert settles(ours, pidfd)
    assert os.waitpid(pid, 0) == (pid, 0)
    assert chain.errno == 0
    assert not os.path.samestat(os.fstat(0), os.fstat(theirs.fileno()))
    os.close(pidfd)  # which it had closed, and we have not


def test_a_process_that_ends_before_is_not_waited_for(report: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = report  # the other end stays open
    _, pid, pidfd = started(("pause",))
    os.kill(pid, signal.SIGKILL)
    assert not settles(ours, pidfd)
    os.waitpid(pid, 0)
    os.close(pidfd)


def test_slots_hold_what_they_are_given_until_they_are_cleared() -> None:
    slots = Slots.reserve()
    nothing = os.open(os.devnull, os.O_RDONLY)
    read, write = os.pipe()
    slots.fill(write, (read, write, write), read)
    os.close(write)
    os.write(slots.stdio[2], b"x")
    assert os.read(slots.stdio[0], 1) == b"x"
    slots.clear(nothing)
    assert os.read(read, 1) == b"", "nobody has the other end any more"
    for descriptor in (slots.report, *slots.stdio, slots.pod, nothing, read):
        os.close(descriptor)
