"""`minipod notebook`: JupyterLab for this machine alone, and for who has its token."""

import os
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labs.cli import main
from tests.e2e.conftest import me, ordinary_user, scratch
from tests.e2e.session import User
from tests.e2e.waiting import wait_until

__all__ = ["me", "ordinary_user", "scratch"]  # fixtures


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def jupyter(user: User, port: int) -> Iterator[str]:
    """JupyterLab on a port, as `minipod notebook` starts it; what it printed first."""
    process = user.start("notebook", "--port", str(port), start_new_session=True)
    try:
        assert process.stdout
        yield process.stdout.readline() + process.stdout.readline()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def status(url: str) -> int:
    """The status of an answer, 0 while there is none."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.slow
def test_only_who_has_the_token_gets_in(ordinary_user: User) -> None:
    port = free_port()
    with jupyter(ordinary_user, port) as printed:
        found = re.search(r"address +(http://127\.0\.0\.1:\d+)/lab\?token=(\w{48})$", printed, re.MULTILINE)
        assert found, printed
        place, token = found.groups()
        contents = f"{place}/api/contents/01-four-communications.ipynb"
        assert wait_until(lambda: status(f"{place}/api/contents"), 60, "an answer of JupyterLab") == 403
        assert status(contents) == 403
        assert status(f"{contents}?token={token}") == 200
        listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        elsewhere = [
            one for one in listening if one.endswith(f":{port:04X}") and one != f"0100007F:{port:04X}"
        ]
        assert elsewhere == []


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["notebook", "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"minipod: port {port} of 127.0.0.1: Address already in use: choose another with --port\n"
    )
    assert main(["notebook", "--port", "70000"]) == 2
    assert main(["notebook", "--port", str(free_port()), "--folder", "/no/such"]) == 2


def test_a_user_who_cannot_write_there_gets_copies_and_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labs.commands import pictures

    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(pictures, "OWN_COPIES", tmp_path / "own")
    own = pictures._folder(None)
    copy = own / "01-four-communications.ipynb"
    assert copy.read_text() == (pictures.NOTEBOOKS / copy.name).read_text()
    copy.write_text("a student's work")
    pictures._folder(None)
    assert copy.read_text() == "a student's work"
