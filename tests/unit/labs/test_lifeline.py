"""The supervisor's end of the lifeline: until the lab is to be kept, the other end's end is its own."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# What a supervisor does, without a lab: it tells its progress and would go on for ever.
SUPERVISOR = """
import sys, threading
from labs.supervisor import Lifeline
lifeline = Lifeline(int(sys.argv[1]))
lifeline.tell(progress="a line that nobody may ever read")
print("told", flush=True)
sys.stdin.read()
"""
DEADLINE = 5.0


def run(end: Callable[[socket.socket], None]) -> int:
    """The status of a supervisor whose starter ends in this way. `end` gets the starter's end of the lifeline."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        argv = [sys.executable, "-c", SUPERVISOR, str(theirs.fileno())]
        process = subprocess.Popen(
            argv, pass_fds=[theirs.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()
        )
        assert process.stdin is not None
        assert process.stdout is not None
        theirs.close()
        assert process.stdout.readline() == b"told\n"
        end(ours)
        try:
            return process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.stdin.close()  # a lab that is kept ends by other means
            assert process.wait(DEADLINE) == 0
            return 0
        finally:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                pipe.close()


def read_and_close(starter: socket.socket) -> None:
    starter.recv(4096)
    starter.close()


@pytest.mark.parametrize("end", [read_and_close, socket.socket.close], ids=["all read", "a line unread"])
def test_a_starter_that_ends_takes_the_lab_with_it(end: Callable[[socket.socket], None]) -> None:
    """What the dead have not read makes the end of their socket an error (ECONNRESET), not an end of file."""
    assert run(end) == 1
