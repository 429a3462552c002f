"""The shared server, against clients that are odd, slow or hostile; over the smallest stand-in."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DEADLINE = 10.0
ROOT = Path(__file__).resolve().parents[3]
HELLO = "from agents.images import http_server, hello_app\nhttp_server.{}\nhello_app.main([])"


@pytest.fixture
def server(start: Any) -> Any:
    return start("hello-app", env={"PORT": "0"})


@pytest.fixture
def raw(server: Any) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port()), DEADLINE) as sock:
        yield sock


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while chunk := sock.recv(65536):
        data += chunk
    return data


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET / HTTP/1.0\r\n\r\n", b"200"),
        (b"\r\nGET / HTTP/1.0\r\n\r\n", b"200"),
        (b"GET http://web/ HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n", b"200"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40000, b"431"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
    ],
)
def test_one_request(raw: socket.socket, request_bytes: bytes, status: bytes) -> None:
    raw.sendall(request_bytes)
    answer = read_all(raw)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"Connection: close" in answer


def test_pipelined_requests_are_answered_in_order(raw: socket.socket) -> None:
    raw.sendall(
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.0\r\n\r\n"
    )
    answer = read_all(raw)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.count(b"Hello, world!") == 2
    assert answer.count(b"Connection: close") == 1


def test_a_request_in_single_bytes_with_a_chunked_body(raw: socket.socket) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    for byte in head + b"2\r\nab\r\n0\r\n\r\n":
        raw.sendall(bytes([byte]))
    assert read_all(raw).startswith(b"HTTP/1.1 200")


def test_expect_continue(raw: socket.socket) -> None:
    raw.sendall(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.sendall(b"ok")
    assert read_all(raw).startswith(b"HTTP/1.1 200")


def test_a_client_that_closes_its_half_gets_its_answer(raw: socket.socket) -> None:
    raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
    raw.shutdown(socket.SHUT_WR)
    assert read_all(raw).startswith(b"HTTP/1.1 200")


def test_many_idle_and_silent_clients_do_not_stop_others(server: Any, connect: Any) -> None:
    port = server.port()
    idle = [socket.create_connection(("127.0.0.1", port), DEADLINE) for _ in range(200)]
    for sock in idle[::2]:
        sock.sendall(b"GET / HT")
    assert connect(port).get("/")[0] == 200
    for sock in idle:
        sock.close()
    assert connect(port).get("/")[0] == 200


def test_a_slow_client_is_closed(start: Any) -> None:
    port = start("hello-app", code=HELLO.format("REQUEST_SECONDS = 0.1"), env={"PORT": "0"}).port()
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n")
        begin = time.monotonic()
        assert sock.recv(100) == b""
        assert time.monotonic() - begin < DEADLINE


def test_beyond_the_limit_connections_wait_and_are_served_later(start: Any, connect: Any) -> None:
    port = start("hello-app", code=HELLO.format("MAX_CONNECTIONS = 3"), env={"PORT": "0"}).port()
    first = [connect(port) for _ in range(3)]
    assert [client.get("/")[0] for client in first] == [200] * 3
    late = connect(port)
    late.connection.request("GET", "/")
    late.connection.sock.settimeout(0.1)
    with pytest.raises(TimeoutError):
        late.connection.sock.recv(1, socket.MSG_PEEK)
    late.connection.sock.settimeout(DEADLINE)
    first[0].connection.close()
    assert late.connection.getresponse().status == 200


def test_both_address_families(server: Any) -> None:
    with socket.socket(socket.AF_INET6) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 on loopback here")
    with socket.create_connection(("::1", server.port()), DEADLINE) as six:
        six.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert read_all(six).startswith(b"HTTP/1.1 200")


def test_an_error_in_a_handler_is_a_500_and_no_end(start: Any, connect: Any) -> None:
    code = "from agents.images.serve import run_http\nrun_http(0, lambda request: 1 // 0, {15: 0})"
    standin = start("broken", code=code)
    client = connect(standin.port())
    assert client.get("/x")[0] == 500
    assert client.get("/y")[0] == 500
    assert "GET /x: ZeroDivisionError" in standin.log


def test_a_log_that_nobody_reads_does_not_end_a_server_that_began_with_the_default_sigpipe(
    connect: Any,
) -> None:
    code = "import signal\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)\nfrom agents.images import hello_app"
    argv = [sys.executable, "-c", f"{code}\nhello_app.main([])"]
    with subprocess.Popen(
        argv, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | {"PORT": "0"}
    ) as hello:
        assert hello.stderr
        port = int(hello.stderr.readline().split()[-1])
        hello.stderr.close()
        client = connect(port)
        assert [client.get("/")[0] for _ in range(2)] == [200, 200]  # each writes a line
        hello.kill()
