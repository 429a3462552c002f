"""wget against a server on loopback: what it fetches, what it says, how it ends."""

from __future__ import annotations

import contextlib
import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.images import wget

ROOT = Path(__file__).resolve().parents[3]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path
        if path == "/moved":
            self._reply(302, b"", Location="/hello")
        elif path == "/loop":
            self._reply(302, b"", Location="/loop")
        elif path == "/headers":
            self._reply(200, f"{self.headers['Host']} {self.headers['X-Team']}".encode())
        elif path == "/cut":
            self._reply(200, b"half", Content_Length="8")
        elif path == "/silent":
            self.server.over.wait(10)  # type: ignore[attr-defined]
        elif path == "/large":
            self._reply(200, b"line\n" * 200_000)
        elif path.startswith("/hello"):
            self._reply(200, b"hi\n")
        else:
            self._reply(404, b"nothing")

    def do_POST(self) -> None:
        self._reply(200, self.rfile.read(int(self.headers["Content-Length"])))

    def _reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        named = {"Content_Length": str(len(body))} | headers
        for name, value in named.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.over = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.over.set()  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("flags", "path", "out"),
    [
        (["-qO-"], "/hello", "hi\n"),
        (["-q", "-O", "-", "-T", "3"], "/hello?x=1", "hi\n"),
        (["-q", "--timeout=1", "--tries=1", "-O-"], "/moved", "hi\n"),
        (["-qO-", "--header", "host: web.example", "--header=X-Team: a"], "/headers", "web.example a"),
        (["-qO-", "--post-data", "a=1", "-Y", "off"], "/any", "a=1"),
        (["-q", "--spider"], "/hello", ""),
    ],
)
def test_a_body_goes_to_stdout(port: int, capfd: Captured, flags: list[str], path: str, out: str) -> None:
    assert wget.main(["wget", f"127.0.0.1:{port}{path}", *flags]) == 0
    assert capfd.readouterr() == (out, "")


def test_progress_is_told_on_stderr(port: int, capfd: Captured) -> None:
    assert wget.main(["wget", "-O-", "-S", f"http://localhost:{port}/hello"]) == 0
    out, err = capfd.readouterr()
    assert out == "hi\n"
    lines = err.splitlines()
    assert lines[0].startswith(f"Connecting to localhost:{port} (")
    assert lines[1] == "  HTTP/1.1 200 OK"
    assert "  Content-Length: 3" in lines
    assert (lines[-3], lines[-1]) == ("writing to stdout", "written to stdout")


def test_a_file_is_named_after_the_url_and_not_replaced(
    port: int, capfd: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert wget.main(["wget", f"127.0.0.1:{port}/hello"]) == 0
    assert (tmp_path / "hello").read_text() == "hi\n"
    assert "'hello' saved\n" in capfd.readouterr().err
    assert wget.main(["wget", "-q", f"127.0.0.1:{port}/hello"]) == 1
    assert capfd.readouterr().err == "wget: can't open 'hello': File exists\n"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/nothing", "server returned error: HTTP/1.1 404 Not Found"),
        ("/loop", "too many redirections"),
        ("/cut", "connection closed prematurely"),
    ],
)
def test_a_bad_response_is_a_failure(port: int, capfd: Captured, path: str, line: str) -> None:
    assert wget.main(["wget", "-qO", "/dev/null", f"http://127.0.0.1:{port}{path}"]) == 1
    assert capfd.readouterr().err == f"wget: {line}\n"


def test_silence_is_a_timeout(port: int, capfd: Captured) -> None:
    assert wget.main(["wget", "-q", "-T", "0.05", "--spider", f"127.0.0.1:{port}/silent"]) == 1
    assert capfd.readouterr().err == "wget: download timed out\n"


def test_a_reader_that_leaves_is_no_error(port: int) -> None:
    argv = [sys.executable, "-E", str(ROOT / "agents" / "images"), "wget", "-qO-", f"127.0.0.1:{port}/large"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(10) == 128 + 13


def test_no_connection(free_port: int, capfd: Captured) -> None:
    assert wget.main(["wget", "-qO-", f"127.0.0.1:{free_port}"]) == 1
    expected = "wget: can't connect to remote host (127.0.0.1): Connection refused\n"
    assert capfd.readouterr().err == expected


def test_a_name_without_an_address(capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert wget.main(["wget", "-qO-", "http://x/"]) == 1
    assert capfd.readouterr().err == "wget: bad address 'x'\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["https://web"], "wget: not an http or ftp url: https://web\n"),
        (["web:99999"], "wget: not an http or ftp url: web:99999\n"),
        (["-T", "x", "web"], "wget: invalid number 'x'\n"),
        (["--nope", "web"], "wget: option --nope not recognized\n"),
        (["-q"], "wget: missing URL\n"),
    ],
)
def test_bad_words(capfd: Captured, words: list[str], line: str) -> None:
    assert wget.main(["wget", *words]) == 1
    assert capfd.readouterr().err.startswith(line)
