"""Stand-ins as processes on loopback, driven by a client; every wait has a condition and a deadline."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DEADLINE = 10.0


class Standin:
    """A running stand-in and its log."""

    def __init__(self, argv: list[str], log: Path, env: dict[str, str]) -> None:
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | env,
                cwd=log.parent,
            )

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_text()

    def wait_log(self, pattern: str) -> re.Match[str]:
        """The first match of a pattern in the log."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if match := re.search(pattern, self.log):
                return match
            if self.process.poll() is not None:
                break
            time.sleep(0.005)
        pytest.fail(f"no {pattern!r} in the log; exit status {self.process.poll()}:\n{self.log}")

    def port(self, kind: str = "") -> int:
        """The port that the log names."""
        return int(self.wait_log(rf"{kind}.*on port (\d+)")[1])

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)


class Client:
    """One HTTP connection to a port on loopback."""

    def __init__(self, port: int) -> None:
        end = time.monotonic() + DEADLINE
        while True:
            self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
            try:
                self.connection.connect()
                break
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)

    def get(
        self, target: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, str]:
        """(status, body) of one request; the response's headers are left in `headers`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, target, body, named)
        response = self.connection.getresponse()
        self.headers = response.headers
        return response.status, response.read().decode()


Start = Callable[..., Standin]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a stand-in by its name and arguments; `code` is Python to run before it, `env` its variables."""
    running: list[Standin] = []

    def start_one(name: str, *args: str, code: str = "", env: dict[str, str] | None = None) -> Standin:
        argv = [sys.executable, "-E", str(ROOT / "agents" / "images"), name, *args]
        if code:
            script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"
            argv = [sys.executable, "-c", script, name, *args]
        standin = Standin(argv, tmp_path / f"{name}{len(running)}.log", env or {})
        running.append(standin)
        return standin

    yield start_one
    for standin in running:
        standin.process.kill()
        standin.process.wait()


@pytest.fixture
def connect() -> Iterator[Callable[[int], Client]]:
    """Open an HTTP connection to a port on loopback, as soon as somebody listens there."""
    clients: list[Client] = []

    def open_one(port: int) -> Client:
        clients.append(Client(port))
        return clients[-1]

    yield open_one
    for client in clients:
        client.connection.close()


@pytest.fixture
def free_port() -> int:
    """A TCP port that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
