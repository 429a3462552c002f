from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest


def ask_udp(port: int, data: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect(("127.0.0.1", port))
        sock.send(data)
        return sock.recv(2048)


@pytest.fixture
def netexec(start: Any, connect: Any) -> Callable[..., Any]:
    def run(*flags: str) -> tuple[Any, Any]:
        standin = start("agnhost", "netexec", "--http-port=0", "--udp-port=0", *flags)
        return standin, connect(standin.port("HTTP"))

    return run


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/hostname", 200, socket.gethostname()),
        ("/hostName", 200, socket.gethostname()),
        ("/echo?msg=a%20b", 200, "a b"),
        ("/echo?msg=x&code=418", 418, "x"),
        ("/echo?msg=x&code=zz", 200, "argument 'code' must be an integer or empty, got \"zz\"\n"),
        ("/healthz", 200, ""),
        ("/header?key=X-Forwarded-For", 200, "1.2.3.4"),
        ("/shell?cmd=echo%20hi", 200, '{"output":"hi\\n"}'),
        ("/shell?shellCommand=exit%203", 200, '{"error":"exit status 3"}'),
        ("/dial?host=h&port=80&request=x&tries=a", 400, 'tries parameter is invalid. "a"\n'),
        ("/dial?host=h&port=80", 400, "request parameter not specified. <nil>\n"),
        ("/dial?host=h&port=80&request=x&protocol=foo", 400, "unsupported protocol. foo\n"),
        ("/dial?host=a..b&port=80&request=x", 400, None),
        ("/dial?host=h&port=&request=x", 400, 'host and/or port param are invalid. port ""\n'),
    ],
)
def test_endpoints(netexec: Any, target: str, status: int, body: str | None) -> None:
    _, client = netexec()
    answer = client.get(target, X_Forwarded_For="1.2.3.4")
    assert answer == (status, answer[1] if body is None else body)


def test_clientip_headers_redirect_and_root(netexec: Any) -> None:
    _, client = netexec()
    own = client.connection.sock.getsockname()
    assert client.get("/clientip") == (200, f"127.0.0.1:{own[1]}")
    assert json.loads(client.get("/header", x_a="1")[1])["X-A"] == ["1"]
    assert client.get("/redirect?location=/echo%3Fmsg=foobar&code=307")[0] == 307
    assert client.headers["Location"] == "/echo?msg=foobar"
    assert client.get("/anything")[1].startswith("NOW: ")


def test_udp_commands_and_dial(netexec: Any) -> None:
    standin, client = netexec()
    udp, http = standin.port("UDP"), standin.port("HTTP")
    assert ask_udp(udp, b"hostname\n") == socket.gethostname().encode()
    assert ask_udp(udp, b"echo Hello") == b"hello"
    assert ask_udp(udp, b"clientip").startswith(b"127.0.0.1:")
    status, body = client.get(f"/dial?host=127.0.0.1&port={udp}&protocol=udp&request=hostname&tries=2")
    assert (status, json.loads(body)) == (200, {"responses": [socket.gethostname()] * 2})
    client.connection.close()  # /dial ends its connection
    assert json.loads(client.get(f"/dial?host=127.0.0.1&port={http}&request=echo%3Fmsg%3Dx")[1]) == {
        "responses": ["x"]
    }
    client.connection.close()
    [error] = json.loads(client.get("/dial?host=127.0.0.1&port=1&request=hostname")[1])["errors"]
    assert error.endswith("connect: connection refused")


def test_a_slow_request_does_not_stop_the_others(netexec: Any, connect: Any, tmp_path: Any) -> None:
    standin, client = netexec()
    fifo = tmp_path / "fifo"
    client.connection.request("GET", f"/shell?cmd=mkfifo+{fifo};cat+{fifo}")
    other = connect(standin.port("HTTP"))
    assert other.get("/hostname") == (200, socket.gethostname())
    assert json.loads(other.get(f"/shell?cmd=until+test+-p+{fifo};do+:;done;echo+end>{fifo}")[1]) == {}
    assert json.loads(client.connection.getresponse().read()) == {"output": "end\n"}


def test_upload(netexec: Any) -> None:
    _, client = netexec()
    body = b'--xx\r\nContent-Disposition: form-data; name="other"\r\n\r\nabc\r\n--xx--\r\n'
    status, answer = client.get("/upload", "POST", body, Content_Type="multipart/form-data; boundary=xx")
    assert (status, answer) == (200, '{"error":"Unable to upload file."}')


def test_http_override_and_udp_switched_off(netexec: Any) -> None:
    _, client = netexec("--http-override=/echo?msg=always", "--udp-port=-1")
    assert client.get("/hostname", "POST", b"x") == (200, "always")


@pytest.mark.parametrize(
    ("target", "status"),
    [("/shutdown", 0), ("/exit?code=7", 7), ("/exit?code=3&timeout=1s", 3), ("/exit?wait=1ms", 0)],
)
def test_exit(netexec: Any, target: str, status: int) -> None:
    standin, client = netexec()
    client.connection.request("GET", target)
    assert standin.process.wait(10) == status


def test_sigterm_ends_at_once_or_after_the_delay(netexec: Any) -> None:
    standin, _ = netexec()
    assert standin.end() == 2
    standin, client = netexec("--delay-shutdown=1")
    standin.process.send_signal(signal.SIGTERM)
    standin.wait_log("Sleeping 1 seconds")
    assert client.get("/hostname")[0] == 200
    assert standin.process.wait(10) == 0


def test_the_same_port_twice_is_told(netexec: Any, start: Any) -> None:
    standin, _ = netexec()
    second = start("agnhost", "netexec", f"--http-port={standin.port('HTTP')}", "--udp-port=-1")
    second.wait_log("address already in use")
    assert second.process.wait(10) == 1


@pytest.mark.parametrize(
    ("destination", "flags", "status", "told"),
    [
        ("127.0.0.1:{open}", [], 0, ""),
        ("localhost:{open}", ["--timeout=5s"], 0, ""),
        ("127.0.0.1:{udp}", ["--protocol=udp", "--timeout=5s"], 0, ""),
        ("127.0.0.1:1", [], 1, "REFUSED"),
        ("127.0.0.1:1", ["--protocol", "udp", "--timeout=5s"], 1, "REFUSED: .*"),
        ("no..name:80", [], 1, "DNS: lookup no..name: no such host"),
        ("127.0.0.1", [], 1, "UNKNOWN: address 127.0.0.1: missing port in address"),
        ("[::1:80", [], 1, "UNKNOWN: .*"),
        ("255.255.255.255:80", [], 1, "OTHER: .*"),
        ("127.0.0.1:80", ["--protocol=foo"], 1, "Unsupported protocol"),
        ("127.0.0.1:80", ["--nope"], 1, "Error: unknown flag: --nope"),
        ("127.0.0.1:80", ["--timeout=x"], 1, 'Error: time: invalid duration "x"'),
    ],
)
def test_connect_words(
    netexec: Any, start: Any, destination: str, flags: list[str], status: int, told: str
) -> None:
    standin, _ = netexec()
    destination = destination.format(open=standin.port("HTTP"), udp=standin.port("UDP"))
    attempt = start("agnhost", "connect", destination, *flags)
    assert attempt.process.wait(10) == status
    assert __import__("re").fullmatch(
        told, attempt.log.rstrip("\n") + "\n" if "\n" in told else attempt.log.strip()
    )


def test_connect_times_out_where_nobody_answers(start: Any) -> None:
    with socket.socket() as full:  # a backlog of one that nobody takes from: later handshakes are dropped
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
            waiting.append(sock)
        attempt = start("agnhost", "connect", f"127.0.0.1:{full.getsockname()[1]}", "--timeout=50ms")
        assert attempt.process.wait(10) == 1
        assert attempt.log == "TIMEOUT\n"
        for sock in waiting:
            sock.close()


def test_serve_hostname(start: Any, connect: Any, free_port: int) -> None:
    http = start("agnhost", "serve-hostname", f"--port={free_port}", "--close")
    http.port()
    client = connect(free_port)
    assert client.get("/") == (200, socket.gethostname())
    assert client.headers["Connection"] == "close"
    http.process.send_signal(signal.SIGTERM)
    http.wait_log("Awaiting pod deletion")
    assert client.get("/") == (200, socket.gethostname())


def test_serve_hostname_over_tcp_and_udp(start: Any, free_port: int) -> None:
    start("agnhost", "serve-hostname", "--http=false", "--tcp", "--udp", f"--port={free_port}").port()
    with socket.create_connection(("127.0.0.1", free_port), 10) as sock:
        assert sock.recv(100) == socket.gethostname().encode()
    assert ask_udp(free_port, b"x") == socket.gethostname().encode()
    assert start("agnhost", "serve-hostname", "--tcp").process.wait(10) == 1


def test_porter(start: Any, connect: Any, free_port: int) -> None:
    env = {f"SERVE_PORT_{free_port}": "yes", f"SERVE_UDP_PORT_{free_port}": "udp", "SERVE_TLS_PORT_1": "no"}
    porter = start("agnhost", "porter", "--json-response", env=env)
    assert connect(free_port).get("/any") == (200, '{"Method": "GET", "Body": "yes"}')
    assert ask_udp(free_port, b"x") == b"udp"
    porter.wait_log("SERVE_TLS_PORT_1 is not in this stand-in")


@pytest.mark.parametrize(
    ("args", "told"),
    [(["help"], "netexec"), (["dns-suffix"], ""), (["dns-server-list"], ""), (["etc-hosts"], "localhost")],
)
def test_small_subcommands(start: Any, args: list[str], told: str) -> None:
    standin = start("agnhost", *args)
    assert standin.process.wait(10) == 0
    assert told in standin.log


def test_pause_and_unknown_subcommands(start: Any) -> None:
    paused = start("agnhost", "pause")
    paused.wait_log("Paused")
    assert paused.end() == 2
    unknown = start("agnhost", "nope")
    assert unknown.process.wait(10) == 1
    assert 'unknown command "nope"' in unknown.log


def test_guestbook_replicates(start: Any, connect: Any, free_port: int) -> None:
    primary = start("agnhost", "guestbook", f"--http-port={free_port}", f"--backend-port={free_port}")
    client = connect(free_port)
    assert client.get("/set?key=messages&value=,a%20b") == (200, '{"message":"Updated"}')
    client.connection.close()
    assert client.get("/get?key=messages") == (200, '{"data": ",a b"}')
    replica = start(
        "agnhost", "guestbook", "--http-port=0", f"--backend-port={free_port}", "--replicaof=localhost"
    )
    replica_client = connect(replica.port("serving"))
    assert json.loads(replica_client.get("/get")[1]) == {"data": {"messages": ",a b"}}
    primary.wait_log(r"GET /register\?host=")
    assert client.get("/guestbook?cmd=nope")[0] == 400


def test_tcp_reset(start: Any) -> None:
    port = start("agnhost", "tcp-reset", "--port=0").port("serving")
    for data, reset in ((b"1", False), (b"12", True)):
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            sock.sendall(data)
            try:
                assert sock.recv(1) == b""
                assert not reset
            except ConnectionResetError:
                assert reset


def test_test_webserver_serves_the_containers_files(start: Any, connect: Any, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("here")
    client = connect(start("agnhost", "test-webserver", "--port=0").port("serving"))
    assert client.get(f"{tmp_path}/file") == (200, "here")
    assert client.get(f"{tmp_path}/none")[0] == 404
