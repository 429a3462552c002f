"""nc as a process: client against a socket of the test, and client against server."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


def nc(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-E", str(ROOT / "agents" / "images"), "nc", *words]
    return subprocess.run(argv, input=stdin, capture_output=True, timeout=10, check=False)


def test_a_listener_with_k_serves_one_after_the_other(start: Any, free_port: int) -> None:
    server = start("nc", "-v", "-lk", "-p", str(free_port))
    server.wait_log(r"listening on \[?(::|0\.0\.0\.0)\]?:\d+ \.\.\.")
    for word in (b"one\n", b"two\n"):
        assert nc("127.0.0.1", str(free_port), stdin=word).returncode == 0
    server.wait_log(r"(?s)connect to 127\.0\.0\.1:\d+ from 127\.0\.0\.1:\d+\none\n.*two\n")
    assert server.end() == 128 + 15


def test_a_listener_without_k_serves_once(start: Any, free_port: int) -> None:
    server = start("nc", "-v", "-l", str(free_port))
    server.wait_log("listening")
    assert nc("localhost", str(free_port), stdin=b"hi\n").returncode == 0
    assert server.process.wait(10) == 0
    assert "hi\n" in server.log


def test_a_program_gets_the_connection(start: Any, free_port: int) -> None:
    start("nc", "-v", "-lk", "-p", str(free_port), "-e", "echo", "-x", "pong").wait_log("listening")
    assert nc("127.0.0.1", str(free_port)).stdout == b"-x pong\n"


def test_a_listeners_words_end_with_a_fin(free_port: int) -> None:
    argv = [sys.executable, "-E", str(ROOT / "agents" / "images"), "nc", "-v", "-l", "-p", str(free_port)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert server.stdin
        assert server.stderr
        assert b"listening" in server.stderr.readline()
        with socket.create_connection(("127.0.0.1", free_port), 10) as client:
            server.stdin.write(b"page")
            server.stdin.close()
            assert client.makefile("rb").read() == b"page"
        assert server.wait(10) == 0


def test_udp(start: Any, free_port: int) -> None:
    server = start("nc", "-v", "-u", "-lk", "-p", str(free_port))
    server.wait_log("listening")
    for word in (b"one\n", b"two\n"):
        assert nc("-u", "-w", "0.05", "127.0.0.1", str(free_port), stdin=word).returncode == 0
    server.wait_log("(?s)one\n.*two\n")


def test_an_answer_by_udp_is_printed() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        argv = [sys.executable, "-E", str(ROOT / "agents" / "images"), "nc", "-u", "-w", "2"]
        argv += ["127.0.0.1", str(sock.getsockname()[1])]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            assert client.stdin
            assert client.stdout
            client.stdin.write(b"ping")
            client.stdin.flush()
            data, peer = sock.recvfrom(100)
            assert data == b"ping"
            sock.sendto(b"pong", peer)
            assert client.stdout.read(4) == b"pong"
            client.kill()


@pytest.mark.parametrize("flags", [["-z"], ["-zv", "-w", "3"], ["-vz", "-w3"]])
def test_scan(flags: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = nc(*flags, "127.0.0.1", str(port))
    told = f"127.0.0.1 (127.0.0.1:{port}) open\n" if len(flags) > 1 else ""
    assert (done.returncode, done.stdout, done.stderr.decode()) == (0, b"", told)


@pytest.mark.parametrize("flags", [["-z"], ["-zu"]])
def test_scan_of_a_closed_port(flags: list[str], free_port: int) -> None:
    done = nc(*flags, "127.0.0.1", str(free_port))
    assert done.returncode == 1
    assert done.stderr.decode() == f"nc: 127.0.0.1 (127.0.0.1:{free_port}): Connection refused\n"


def test_silence_ends_with_w() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = nc("-w", "0.05", "127.0.0.1", str(listener.getsockname()[1]))
    assert (done.returncode, done.stdout) == (0, b"")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["host"], "nc: want a host and a port\n"),
        (["host", "http"], "nc: bad port 'http'\n"),
        (["-X", "host", "80"], "nc: option -X not recognized\n"),
        (["-w", "1", "a..b", "80"], "nc: bad address 'a..b'\n"),
    ],
)
def test_bad_words(words: list[str], line: str) -> None:
    done = nc(*words)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(line)
