"""nginx, httpd, redis and the small servers: what tests and lessons read of them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def html(tmp_path: Path) -> Path:
    root = tmp_path / "html"
    (root / "sub").mkdir(parents=True)
    (root / "index.html").write_text("<h1>front</h1>")
    (root / "data.json").write_text("0123456789")
    (root / "empty").mkdir()
    (tmp_path / "secret").write_text("secret")
    return root


@pytest.fixture
def nginx(start: Any, html: Path, free_port: int) -> tuple[Any, int]:
    config = html.parent / "site.conf"
    config.write_text(
        f"server {{ listen {free_port}; # c\n root {html}; location / {{ gzip on; limit_rate 1k; }} }}"
    )
    return start("nginx", "-c", str(config), "-g", "daemon off;"), free_port


def test_nginx_serves_files_like_nginx(nginx: tuple[Any, int], connect: Any) -> None:
    standin, port = nginx
    client = connect(port)
    assert client.get("/") == (200, "<h1>front</h1>")
    assert client.headers["Server"].startswith("nginx/")
    assert client.headers["Content-Type"] == "text/html"
    etag = client.headers["ETag"]
    assert client.get("/", If_None_Match=etag) == (304, "")
    assert client.get("/", "HEAD") == (200, "")
    assert client.headers["Content-Length"] == "14"
    standin.wait_log(r'127\.0\.0\.1 - - \[.*\] "GET / HTTP/1\.1" 200 14 "-" "-" "-"')
    standin.wait_log('does not follow the directive "limit_rate"')


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/nothing", 404, "<center><h1>404 Not Found</h1></center>"),
        ("/empty/", 403, "<center><h1>403 Forbidden</h1></center>"),
        ("/../secret", 404, "404"),
        ("/%2e%2e/secret", 404, "404"),
        ("/sub/%00", 400, "400"),
        ("/index.html/x", 404, "404"),
        ("/sub", 301, "301 Moved Permanently"),
    ],
)
def test_nginx_error_pages(nginx: tuple[Any, int], connect: Any, target: str, status: int, body: str) -> None:
    got_status, got = connect(nginx[1]).get(target)
    assert (got_status, body in got) == (status, True)


def test_nginx_redirect_method_and_error_log(nginx: tuple[Any, int], connect: Any) -> None:
    standin, port = nginx
    client = connect(port)
    client.get("/sub", Host="web.example")
    assert client.headers["Location"] == "http://web.example/sub/"
    assert client.get("/", "POST", b"x")[0] == 405
    client.get("/gone")
    standin.wait_log(
        r'\[error\] 1#1: open\(\) ".*/gone" failed \(2: No such file or directory\), client: 127\.0\.0\.1'
    )


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=0-3", 206, "0123"),
        ("bytes=8-", 206, "89"),
        ("bytes=-2", 206, "89"),
        ("bytes=0-99", 206, "0123456789"),
        ("bytes=0-1,4-5", 200, "0123456789"),
        ("bytes=-", 200, "0123456789"),
        ("bytes=10-", 416, None),
        ("bytes=3-2", 416, None),
    ],
)
def test_ranges(nginx: tuple[Any, int], connect: Any, asked: str, status: int, body: str | None) -> None:
    got_status, got = connect(nginx[1]).get("/data.json", Range=asked)
    assert got_status == status
    assert body is None or got == body


def test_large_files_arrive_whole_and_anew_when_they_change(
    nginx: tuple[Any, int], connect: Any, html: Path
) -> None:
    clients = [connect(nginx[1]) for _ in range(3)]
    for letter in "ab":
        (html / "large").write_text(letter * 3_000_000 + "end" * (letter == "b"))
        for client in clients:
            client.connection.request("GET", "/large")
        for client in clients:
            body = client.connection.getresponse().read()
            assert body == (html / "large").read_bytes()
    assert clients[0].get("/large", Range="bytes=-3") == (206, "end")
    assert clients[0].get("/large", "HEAD") == (200, "")
    assert clients[0].headers["Content-Length"] == "3000003"


def test_nginx_ends_on_sigquit_though_a_client_keeps_its_connection(
    nginx: tuple[Any, int], connect: Any
) -> None:
    standin, port = nginx
    client = connect(port)
    assert client.get("/")[0] == 200
    assert standin.end(signal.SIGQUIT) == 0


def test_nginx_tells_a_taken_port(nginx: tuple[Any, int], start: Any, html: Path, connect: Any) -> None:
    connect(nginx[1]).get("/")
    second = start("nginx", "-c", str(html.parent / "site.conf"))
    assert second.process.wait(10) == 1
    assert f"bind() to 0.0.0.0:{nginx[1]} failed (98: Address already in use)" in second.log


def test_httpd(start: Any, connect: Any, html: Path, free_port: int) -> None:
    code = f"""
from agents.images import httpd
httpd.PORT, httpd.ROOT = {free_port}, {str(html)!r}
sys.exit(httpd.main([]))"""
    standin = start("httpd", code=code)
    client = connect(free_port)
    assert client.get("/") == (200, "<h1>front</h1>")
    assert client.headers["Server"].startswith("Apache/2.4")
    assert "<h1>Not Found</h1>" in client.get("/gone")[1]
    standin.wait_log(r'127\.0\.0\.1 - - \[.*\] "GET /gone HTTP/1\.1" 404 \d+')
    second = start("httpd", code=code)
    assert second.process.wait(10) == 1
    assert "(98)Address already in use: AH00072: make_sock: could not bind" in second.log
    assert standin.end(signal.SIGWINCH) == 0


def test_hello_app(start: Any, connect: Any) -> None:
    port = start("hello-app", env={"PORT": "0", "VERSION": "2.0.0"}).port()
    assert connect(port).get("/") == (
        200,
        f"Hello, world!\nVersion: 2.0.0\nHostname: {socket.gethostname()}\n",
    )


def test_http_echo(start: Any, connect: Any) -> None:
    standin = start("http-echo", "-listen=:0", "-text", "hello world", "-status-code=201")
    client = connect(standin.port())
    assert client.get("/x") == (201, "hello world\n")
    assert client.get("/health") == (200, '{"status":"ok"}\n')
    standin.wait_log('"GET /x HTTP/1.1" 201 12')
    silent = start("http-echo")
    assert silent.process.wait(10) == 127
    assert "Missing -text" in silent.log


def test_echoserver_and_whoami(start: Any, connect: Any) -> None:
    echo = connect(start("echoserver", env={"PORT": "0", "POD_NAME": "web-1"}).port())
    text = echo.get("/p?q=1", "POST", b"the body", X_Some="v")[1]
    for line in (
        f"Hostname: {socket.gethostname()}",
        "pod name: web-1",
        "client_address=127.0.0.1",
        "method=POST",
    ):
        assert line in text
    assert "\tx-some=v" in text
    assert text.endswith("Request Body:\nthe body\n")
    whoami = connect(start("whoami", "--port", "0", "--name=me").port())
    answer = whoami.get("/a")[1]
    for line in (
        "Name: me",
        f"Hostname: {socket.gethostname()}",
        "RemoteAddr: 127.0.0.1:",
        "GET /a HTTP/1.1",
    ):
        assert line in answer
    assert '"method": "GET"' in whoami.get("/api")[1]


def test_generic(start: Any, connect: Any, free_port: int) -> None:
    standin = start(
        "generic", "--image=team/app:v1", f"TCP:{free_port}", f"UDP:{free_port}", "--its-own", "args"
    )
    text = connect(free_port).get("/any/path", X_Some="v")[1]
    for line in (
        "image: team/app:v1 (stand-in)",
        f"hostname: {socket.gethostname()}",
        "path: /any/path",
        "header X-Some: v",
    ):
        assert f"{line}\n" in text
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(10)
        udp.sendto(b"ping", ("127.0.0.1", free_port))
        assert udp.recv(100) == b"ping"
    assert start("port-open", str(free_port), "-U", "postgres").process.wait(10) == 0
    second = start("generic", f"TCP:{free_port}")
    assert second.process.wait(10) == 1
    assert "address already in use" in second.log
    assert standin.end() == 0
    assert start("port-open", str(free_port)).process.wait(10) == 2


def cli(port: int, *words: str, stdin: str = "") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-E", ROOT / "agents" / "images", "redis-cli", "-p", str(port), *words],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=10,
        check=False,
    )
    return done.returncode, done.stdout


def test_redis(start: Any, free_port: int) -> None:
    server = start("redis-server", "--port", str(free_port), "--appendonly", "yes")
    server.wait_log("Ready to accept connections")
    assert cli(free_port, "ping") == (0, "PONG\n")
    commands = {
        "SET a 1": "OK",
        "INCR a": "2",
        "INCRBY a 40": "42",
        "DECR a": "41",
        "GET a": "41",
        "GET none": "",
        "SET a x NX": "",
        "EXPIRE a 100": "1",
        "TTL a": "100",
        "TTL none": "-2",
        "APPEND s ab": "2",
        "INCR s": "ERR value is not an integer or out of range",
        "RPUSH l 1 2 3": "3",
        "LPUSH l 0": "4",
        "LRANGE l 0 -1": "0\n1\n2\n3",
        "GET l": "WRONGTYPE Operation against a key holding the wrong kind of value",
        "KEYS *": "a\nl\ns",
        "MGET a none": "41\n",
        "DEL a l": "2",
        "DBSIZE": "1",
        "GET": "ERR wrong number of arguments for 'get' command",
        "NOPE x": "ERR unknown command 'NOPE', with args beginning with: ",
        "FLUSHALL": "OK",
        "EXISTS s": "0",
    }
    assert cli(free_port, stdin="\n".join(commands)) == (
        0,
        "".join(f"{reply}\n" for reply in commands.values()),
    )
    assert start("redis-server", "--port", str(free_port)).process.wait(10) == 1
    assert server.end() == 0
    status, told = cli(free_port, "ping")
    assert (status, told) == (1, f"Could not connect to Redis at 127.0.0.1:{free_port}: Connection refused\n")


def test_redis_password_inline_commands_and_garbage(start: Any, free_port: int) -> None:
    start("redis-server", "--port", str(free_port), "--requirepass", "pw").wait_log("Ready")
    assert cli(free_port, "get", "a") == (0, "NOAUTH Authentication required.\n")
    assert cli(free_port, "-a", "pw", "set", "a", "b") == (0, "OK\n")
    assert cli(free_port, "-a", "pw", "get", "a") == (0, "b\n")
    with socket.create_connection(("127.0.0.1", free_port), 10) as sock:
        sock.sendall(b"AUTH pw\r\nPING\r\n")
        received = b""
        while b"PONG" not in received:
            received += sock.recv(100)
        assert received == b"+OK\r\n+PONG\r\n"
        sock.sendall(b"NONSENSE\r\nHost: redis\r\nPING\r\n")
        assert sock.recv(100).startswith(b"-ERR unknown command")
        assert sock.recv(100) == b"", "HTTP is no language of a database"
    with socket.create_connection(("127.0.0.1", free_port), 10) as sock:
        sock.sendall(b"*99999999\r\n")
        assert sock.recv(100).startswith(b"-ERR Protocol error")
        assert sock.recv(100) == b""
