"""The stand-in's answer to a gRPC health check: to the kubelet's own prober, and to what is no HTTP/2 after all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from agents import grpc_health as prober
from agents.images import grpc_health

Start = Callable[..., object]


@pytest.fixture
def port(start: Start, free_port: int) -> int:
    standin = start("generic", f"TCP:{free_port}")
    standin.wait_log("serving on TCP")  # type: ignore[attr-defined]
    return free_port


def test_the_prober_hears_that_it_serves(port: int) -> None:
    async def ask() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return await asyncio.wait_for(prober.check(reader, writer, "localhost", "any"), 5)
        finally:
            writer.close()

    assert asyncio.run(ask()) == prober.SERVING


def test_http_is_served_beside_it(port: int, connect: Callable[[int], object]) -> None:
    assert connect(port).get("/")[0] == 200  # type: ignore[attr-defined]


def test_several_calls_on_one_connection_byte_by_byte(port: int) -> None:
    call = grpc_health.frame(grpc_health.HEADERS, 4, 1, b"\x83") + grpc_health.frame(0, 1, 1, b"\0" * 5)
    again = grpc_health.frame(grpc_health.HEADERS, 5, 3, b"\x83")
    ping = grpc_health.frame(grpc_health.PING, 0, 0, b"12345678")
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in grpc_health.PREFACE + call + again + ping:
            sock.send(bytes([byte]))
        answer = b""
        while b"12345678" not in answer:
            data = sock.recv(4096)
            assert data, "closed"
            answer += data
    assert answer.count(b"grpc-status") == 2


def test_a_frame_that_is_too_large_ends_the_connection(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(grpc_health.PREFACE + b"\xff\xff\xff\0\0\0\0\0\1")
        while sock.recv(4096):
            pass
