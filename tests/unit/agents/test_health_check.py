"""The health-check node port, over real sockets of this machine's loopback."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable

from agents.health_check import HealthChecks

KEY = ("default", "web")


def listen(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


def free_port() -> int:
    with listen(0) as found:
        return int(found.getsockname()[1])


async def ask(
    port: int, request: bytes = b"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n"
) -> tuple[str, dict[str, object]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).decode().partition("\r\n\r\n")
    writer.close()
    return head, json.loads(body) if body else {}


def play(story: Callable[[HealthChecks, int], Awaitable[None]]) -> None:
    async def told() -> None:
        checks = HealthChecks(listen)
        try:
            await story(checks, free_port())
        finally:
            checks.close()

    asyncio.run(told())


def test_a_node_with_endpoints_is_to_be_asked() -> None:
    async def story(checks: HealthChecks, port: int) -> None:
        await checks.update(KEY, port, 2)
        head, body = await ask(port)
        assert head.startswith("HTTP/1.1 200 OK")
        assert "X-Load-Balancing-Endpoint-Weight: 2" in head
        wanted = {
            "service": {"namespace": "default", "name": "web"},
            "localEndpoints": 2,
            "serviceProxyHealthy": True,
        }
        assert body == wanted

    play(story)


def test_a_node_without_endpoints_says_so() -> None:
    async def story(checks: HealthChecks, port: int) -> None:
        await checks.update(KEY, port, 1)
        await checks.update(KEY, port, 0)
        head, body = await ask(port)
        assert head.startswith("HTTP/1.1 503 Service Unavailable")
        assert body["localEndpoints"] == 0

    play(story)


def test_the_port_closes_with_the_service_and_moves_with_it() -> None:
    async def story(checks: HealthChecks, port: int) -> None:
        await checks.update(KEY, port, 1)
        other = free_port()
        await checks.update(KEY, other, 1)
        assert (await ask(other))[1]["localEndpoints"] == 1
        await checks.update(KEY, 0, 0)
        for closed in (port, other):
            try:
                await ask(closed)
            except ConnectionError:
                continue
            raise AssertionError(f"{closed} still answers")

    play(story)


def test_what_is_no_request_gets_no_answer_and_disturbs_nobody() -> None:
    async def story(checks: HealthChecks, port: int) -> None:
        await checks.update(KEY, port, 1)
        try:
            assert await ask(port, b"x" * 100_000) == ("", {})
        except ConnectionError:
            pass
        assert (await ask(port))[0].startswith("HTTP/1.1 200")

    play(story)
