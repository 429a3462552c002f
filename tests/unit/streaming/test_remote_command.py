import json

import pytest

from agents.streaming.channels import CLOSE, ERROR, RESIZE, STDERR, STDIN, STDOUT, Message, parse
from agents.streaming.remote_command import Wanted, exit_status, parse_size


@pytest.mark.parametrize(
    ("data", "version_5", "version_4"),
    [
        (b"", None, None),
        (bytes([STDIN]), None, None),
        (bytes([STDIN]) + b"abc", Message(STDIN, b"abc"), Message(STDIN, b"abc")),
        (bytes([RESIZE]) + b"{}", Message(RESIZE, b"{}"), Message(RESIZE, b"{}")),
        (bytes([CLOSE, STDIN]), Message(STDIN, None), None),
        (bytes([CLOSE]), None, None),
        (bytes([STDOUT]) + b"a client has no business here", None, None),
        (bytes([77]) + b"unknown", None, None),
    ],
)
def test_a_websocket_message(data: bytes, version_5: Message | None, version_4: Message | None) -> None:
    assert (parse(data, ends=True), parse(data, ends=False)) == (version_5, version_4)


def test_the_status_of_an_exit_status() -> None:
    assert exit_status(0)["status"] == "Success"
    assert exit_status(3)["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert exit_status(-9)["details"]["causes"][0]["message"] == "137"
    assert exit_status(3)["reason"] == "NonZeroExitCode"


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (json.dumps({"Width": 80, "Height": 24}).encode(), (80, 24)),
        (b'{"Width": 0, "Height": 24}', None),
        (b'{"Width": 80}', None),
        (b'{"Width": "wide", "Height": 1}', None),
        (b"[" * 100_000, None),
        (b"\xff", None),
        (b"7", None),
    ],
)
def test_a_terminal_size(data: bytes, size: tuple[int, int] | None) -> None:
    assert parse_size(data) == size


def test_the_channels_of_a_command() -> None:
    wanted = Wanted(("sh",), stdin=True, stdout=True, stderr=False, tty=True)
    assert sorted(wanted.channels()) == [STDIN, STDOUT, ERROR, RESIZE]
    wanted = Wanted(("ls",), stdin=False, stdout=True, stderr=True, tty=False)
    assert sorted(wanted.channels()) == [STDOUT, STDERR, ERROR]
