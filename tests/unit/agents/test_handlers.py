"""The four handlers against small servers on loopback, and a command of this machine."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agents import grpc_health, handlers, http_get
from agents.handlers import HandlerError, Outcome, Target, named_ports
from topo.enter import Namespaces

Obj = dict[str, Any]
Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
DEADLINE = 10.0


class Here:
    """Namespaces that are this process' own."""

    def call(self, function: Callable[[], Any], flags: int = 0) -> Any:
        return function()

    def popen(self, argv: list[str], **options: Any) -> "subprocess.Popen[Any]":
        return subprocess.Popen(argv, **options)


HERE = cast(Namespaces, Here())


def target(**ports: int) -> Target:
    return Target(HERE, "127.0.0.1", ports, lambda: HERE, {"PATH": "/usr/bin:/bin", "WORD": "hello"}, "/")


def ask(handler: Obj, **ports: int) -> Outcome:
    async def body() -> Outcome:
        async with asyncio.timeout(DEADLINE):
            return await handlers.run(handler, target(**ports))

    return asyncio.run(body())


def ask_server(
    serve: Server, handler: Callable[[int], Obj], context: ssl.SSLContext | None = None
) -> Outcome:
    """Run a handler against a server of this test; `handler(port)` is what to run."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    async def body() -> Outcome:
        server = await asyncio.start_server(connection, "127.0.0.1", 0, ssl=context)
        async with server, asyncio.timeout(DEADLINE):
            port = server.sockets[0].getsockname()[1]
            return await handlers.run(handler(port), target(web=port))

    return asyncio.run(body())


def http_server(*answers: str, heads: list[str] | None = None) -> Server:
    """Answers one request after the other; the heads of the requests go to `heads`."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if heads is not None:
            heads.append(head)
        writer.write(f"HTTP/1.1 {left.pop(0)}\r\n\r\n".encode())

    return serve


def getting(**fields: Any) -> Callable[[int], Obj]:
    return lambda port: {"httpGet": {"port": port, **fields}}


@pytest.mark.parametrize(
    ("status", "ok"), [("200 OK", True), ("204 No", True), ("399 Odd", True), ("400 Bad", False)]
)
def test_http_statuses(status: str, ok: bool) -> None:
    outcome = ask_server(http_server(status), getting(path="/"))
    assert outcome.ok is ok
    assert ok or outcome.message == "HTTP probe failed with statuscode: 400"


def test_http_request_is_the_kubelets() -> None:
    heads: list[str] = []
    fields = {
        "path": "/a?b=c",
        "port": "web",
        "httpHeaders": [{"name": "host", "value": "shop"}, {"name": "X", "value": "1"}],
    }
    outcome = ask_server(http_server("200 OK", heads=heads), lambda _: {"httpGet": fields})
    assert outcome.ok
    lines = heads[0].split("\r\n")
    assert lines[0] == "GET /a?b=c HTTP/1.1"
    assert {"host: shop", "X: 1", "User-Agent: kube-probe/1.37", "Accept: */*"} <= set(lines)
    assert sum(line.lower().startswith("host:") for line in lines) == 1


def test_redirects_are_followed_within_the_host_only() -> None:
    there = http_server("302 Found\r\nLocation: /login", "503 Busy")
    assert ask_server(there, getting()).message == "HTTP probe failed with statuscode: 503"
    elsewhere = http_server("302 Found\r\nLocation: http://192.0.2.1/")
    assert ask_server(elsewhere, getting()).ok
    circle = http_server(*["302 Found\r\nLocation: /"] * http_get.MAX_REDIRECTS)
    assert "stopped after 10 redirects" in ask_server(circle, getting()).message


@pytest.mark.parametrize("answer", [b"hello\r\n\r\n", b"HTTP/1.1 two\r\n\r\n", b"", b"x" * 100_000])
def test_what_is_no_http_server_fails(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    outcome = ask_server(serve, getting(path="/x"))
    assert not outcome.ok
    assert outcome.message.startswith('Get "http://127.0.0.1:')


def _own_certificate(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody knows it")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=2))
        .not_valid_after(now - timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("192.0.2.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file = folder / "tls.pem"
    file.write_bytes(
        key.private_bytes(pem, private, serialization.NoEncryption()) + certificate.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_https_does_not_look_at_the_certificate(tmp_path: Path) -> None:
    assert ask_server(http_server("200 OK"), getting(scheme="HTTPS"), _own_certificate(tmp_path)) == Outcome(
        True
    )


def _closed_port() -> int:
    async def body() -> int:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        async with server:
            return int(server.sockets[0].getsockname()[1])

    return asyncio.run(body())


def test_tcp_socket() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        return

    assert ask_server(serve, lambda port: {"tcpSocket": {"port": port}}).ok
    port = _closed_port()
    refused = ask({"tcpSocket": {"port": port}})
    assert refused == Outcome(False, f"dial tcp 127.0.0.1:{port}: connect: connection refused")


def test_ports_have_names() -> None:
    ports = [{"name": "web", "containerPort": 80}, {"containerPort": 81}]
    assert named_ports({"ports": ports}) == {"web": 80}
    assert target(web=80).port("web") == target().port("80") == target().port(80) == 80
    with pytest.raises(HandlerError, match="couldn't find port: wbe"):
        target(web=80).port("wbe")


def test_commands() -> None:
    assert ask({"exec": {"command": ["sh", "-c", "echo $WORD; pwd"]}}) == Outcome(True, "hello\n/")
    assert ask({"exec": {"command": ["sh", "-c", "echo no >&2; exit 3"]}}) == Outcome(False, "no")
    assert ask({"exec": {"command": ["false"]}}) == Outcome(False, "command exited with status 1")
    assert "executable file not found" in ask({"exec": {"command": ["no-such-program"]}}).message


def test_command_that_is_given_up_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    command = [
        sys.executable,
        "-c",
        f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(99)",
    ]

    async def body() -> None:
        running = asyncio.create_task(handlers.run({"exec": {"command": command}}, target()))
        async with asyncio.timeout(DEADLINE):
            while not note.exists() or not note.read_text():  # noqa: ASYNC110 - a file tells nobody that it is there
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait({running})

    asyncio.run(body())
    assert not Path("/proc", note.read_text()).exists()


def test_unknown_handler() -> None:
    with pytest.raises(HandlerError, match="want one of exec"):
        ask({"carrierPigeon": {}})


# -------------------------------------------------------------------- gRPC, against a server that knows the frames


def grpc_server(status: int | None, asked: list[bytes]) -> Server:
    """Answers one call with a status, or (None) with trailers only, as a server does that lacks the service."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(24) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        writer.write(grpc_health.frame(grpc_health.SETTINGS, 0, 0, b""))
        writer.write(grpc_health.frame(grpc_health.PING, 0, 0, b"12345678"))
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == grpc_health.DATA:
                asked.append(payload)
                break
        ok = grpc_health.field(":status", "200")
        if status is not None:
            message = b"" if status == 0 else bytes([8, status])
            writer.write(grpc_health.frame(grpc_health.HEADERS, 4, 1, ok))
            body = b"\0" + len(message).to_bytes(4, "big") + message
            padded = bytes([3]) + body + b"\0\0\0"
            writer.write(grpc_health.frame(grpc_health.DATA, grpc_health.PADDED, 1, padded))
        writer.write(grpc_health.frame(grpc_health.HEADERS, 5, 1, grpc_health.field("grpc-status", "0")))
        await writer.drain()
        await reader.read()

    return serve


@pytest.mark.parametrize(
    ("status", "want"),
    [
        (1, Outcome(True)),
        (2, Outcome(False, 'service unhealthy (responded with "NOT_SERVING")')),
        (0, Outcome(False, 'service unhealthy (responded with "UNKNOWN")')),
        (
            None,
            Outcome(
                False,
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)",
            ),
        ),
    ],
)
def test_grpc(status: int | None, want: Outcome) -> None:
    asked: list[bytes] = []
    outcome = ask_server(grpc_server(status, asked), lambda port: {"grpc": {"port": port, "service": "db"}})
    assert outcome == want
    assert asked == [b"\0\0\0\0\x04\x0a\x02db"]


def test_grpc_to_an_http_server_fails() -> None:
    outcome = ask_server(http_server("400 Bad Request"), lambda port: {"grpc": {"port": port}})
    assert not outcome.ok
