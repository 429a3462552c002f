"""Clients that break the streaming protocols, or break off: they are refused, and what they held is let go.

The lab's Unix socket takes anything from its owner, so a client here is a socket and a few bytes.
"""

import base64
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.streaming.spdy import DATA, RST_STREAM, SYN_REPLY, SYN_STREAM, Decoder, Encoder, Frame
from labs.sockets import connect
from tests.e2e.kubectl import Kubectl
from tests.e2e.session import RunningLab
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
NAMESPACE = "hostile"
SOON = 20.0
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers: [{name: web, image: nginx}]
"""
EXEC = f"/api/v1/namespaces/{NAMESPACE}/pods/web/exec?command=cat&stdin=1&stdout=1&stderr=1"
FORWARD = f"/api/v1/namespaces/{NAMESPACE}/pods/web/portforward"
SPDY = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
WEBSOCKET = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n"
)
WEBSOCKET = WEBSOCKET.format(base64.b64encode(bytes(16)).decode())


@pytest.fixture(scope="module")
def kubectl(lab: RunningLab) -> Iterator[Kubectl]:
    found = Kubectl.of(lab, NAMESPACE)
    found.output("create", "namespace", NAMESPACE)
    found.output("apply", "-f", "-", stdin=POD.encode())
    found.output("wait", "pod/web", "--for=condition=Ready", f"--timeout={SOON}s")
    yield found
    found.output("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(autouse=True)
def nothing_is_held(kubectl: Kubectl) -> Iterator[None]:
    """After each test the supervisor's descriptors and the container's processes are as many as before."""
    kubectl.output("exec", "web", "--", "true")
    before = len(descriptors(kubectl)) + 2  # a connection of kubectl's may still be closing
    yield
    wait_until(lambda: len(descriptors(kubectl)) <= before, SOON, "descriptors let go", every=0.1)
    wait_until(lambda: b"cat\0" not in processes(kubectl), SOON, "processes ended", every=0.1)


def descriptors(kubectl: Kubectl) -> list[str]:
    return [entry.name for entry in Path(f"/proc/{kubectl.lab.info()['pid']}/fd").iterdir()]


def processes(kubectl: Kubectl) -> bytes:
    return kubectl.output("exec", "web", "--", "sh", "-c", "head -c 100 /proc/[0-9]*/cmdline; true")


class Raw:
    """A connection to the API, byte by byte."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(SOON)
        self._encoder, self._decoder = Encoder(), Decoder()
        self._frames: list[Frame] = []

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def request(self, method: str, path: str, headers: str = "") -> str:
        """The head of the answer."""
        self.send(f"{method} {path} HTTP/1.1\r\nHost: lab\r\n{headers}\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            data = self._socket.recv(1)
            assert data, head
            head += data
        return head.decode()

    def say(self, *frames: Frame) -> None:
        self.send(b"".join(self._encoder.encode(frame) for frame in frames))

    def hear(self, *kinds: int) -> Frame:
        """The next frame of one of these kinds."""
        while True:
            while not self._frames:
                data = self._socket.recv(4096)
                assert data, "the connection ended"
                self._frames += self._decoder.feed(data)
            frame = self._frames.pop(0)
            if frame.kind in kinds:
                return frame

    def ends(self) -> bool:
        """Whether the server ends the connection, whatever it says before."""
        deadline = time.monotonic() + SOON
        try:
            while self._socket.recv(4096):
                if time.monotonic() > deadline:  # it goes on, with pings at least
                    return False
        except ConnectionResetError:
            pass
        return True


@contextmanager
def raw(kubectl: Kubectl) -> Iterator[Raw]:
    with connect(Path(kubectl.lab.user.home, kubectl.lab.name, "api.sock")) as connection:
        yield Raw(connection)


@pytest.mark.parametrize(
    ("method", "path", "headers", "code"),
    [
        ("GET", EXEC, "", 400),
        ("POST", EXEC, "Connection: Upgrade\r\nUpgrade: carrier-pigeon\r\n", 400),
        ("POST", EXEC, SPDY + "X-Stream-Protocol-Version: v9.channel.k8s.io\r\n", 403),
        ("POST", EXEC, SPDY, 403),
        ("GET", EXEC, WEBSOCKET, 403),
        ("GET", EXEC, WEBSOCKET + "Sec-WebSocket-Protocol: v9.channel.k8s.io\r\n", 403),
        ("POST", FORWARD, SPDY, 403),
        ("DELETE", EXEC, "", 405),
        ("GET", EXEC.replace("command=cat&", ""), WEBSOCKET, 400),
        ("GET", EXEC.replace("command=cat", "command=c%00t"), WEBSOCKET, 400),
        ("GET", EXEC.split("&")[0], WEBSOCKET, 400),
    ],
)
def test_handshakes_that_cannot_be(kubectl: Kubectl, method: str, path: str, headers: str, code: int) -> None:
    with raw(kubectl) as client:
        assert client.request(method, path, headers).startswith(f"HTTP/1.1 {code} ")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 4000,
        struct.pack(">II", 1, 0xFFFFFF) + bytes(100),
        struct.pack(">HHI", 0x8003, 1, 20) + b"x" * 20,
    ],
    ids=["noise", "a huge frame", "no zlib"],
)
@pytest.mark.parametrize("path", [EXEC, FORWARD], ids=["exec", "port-forward"])
def test_garbage_ends_a_spdy_connection(kubectl: Kubectl, path: str, garbage: bytes) -> None:
    protocol = "v4.channel.k8s.io" if path == EXEC else "portforward.k8s.io"
    with raw(kubectl) as client:
        head = client.request("POST", path, SPDY + f"X-Stream-Protocol-Version: {protocol}\r\n")
        assert head.startswith("HTTP/1.1 101 ")
        client.send(garbage)
        assert client.ends()


@pytest.mark.parametrize(
    "message",
    [struct.pack(">BBQ", 0x82, 0x80 | 127, 1 << 40), b"\xff" * 100],
    ids=["a huge message", "noise"],
)
def test_garbage_ends_a_websocket_and_its_process(kubectl: Kubectl, message: bytes) -> None:
    with raw(kubectl) as client:
        head = client.request("GET", EXEC, WEBSOCKET + "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n")
        assert head.startswith("HTTP/1.1 101 ")
        client.send(message)
        assert client.ends()


def test_clients_that_break_off_at_any_moment(kubectl: Kubectl) -> None:
    websocket = WEBSOCKET + "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n"
    log = f"/api/v1/namespaces/{NAMESPACE}/pods/web/log?follow=true"
    for number in range(60):
        with raw(kubectl) as client:
            if number % 4 == 0:
                client.send(f"GET {EXEC} HTTP/1.1\r\nHost: lab\r\n{websocket}\r\n".encode())
            elif number % 4 == 1:
                client.request("GET", EXEC, websocket)
            elif number % 4 == 2:
                client.request("GET", log)
            else:
                client.request("POST", EXEC, SPDY + "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n")
                client.say(Frame(SYN_STREAM, 1, headers={"streamtype": "error"}))


def test_streams_that_make_no_sense_are_reset_and_the_others_work(kubectl: Kubectl) -> None:
    with raw(kubectl) as client:
        client.request("POST", FORWARD, SPDY + "X-Stream-Protocol-Version: portforward.k8s.io\r\n")
        for number, headers in enumerate(
            [
                {},
                {"streamtype": "data", "port": "80", "requestid": "7"},
                {"streamtype": "nonsense", "port": "80", "requestid": "8"},
            ]
        ):
            client.say(Frame(SYN_STREAM, 2 * number + 1, headers=headers))
            assert client.hear(RST_STREAM).stream == 2 * number + 1
        pair = {"port": "80", "requestid": "9"}
        client.say(Frame(SYN_STREAM, 101, headers={"streamtype": "error", **pair}))
        client.say(Frame(SYN_STREAM, 103, headers={"streamtype": "data", **pair}))
        client.say(Frame(DATA, 103, data=b"GET / HTTP/1.0\r\n\r\n"))
        assert client.hear(SYN_REPLY).stream == 101
        assert client.hear(SYN_REPLY).stream == 103
        assert client.hear(DATA).data.startswith(b"HTTP/1.1 200 OK")
