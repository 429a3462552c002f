"""The health-check node port: a balancer asks each node whether it has endpoints of a Service.

    balancer --GET--> node:healthCheckNodePort --> 200 {"localEndpoints": 1, …}   send me its connections
                                                   503 {"localEndpoints": 0, …}   ask another node

A Service of type LoadBalancer with externalTrafficPolicy Local has such a port on every node. The server
listens in the node's own network; the answer is the same whatever is asked.

Sources: Kubernetes, "Using Source IP" and "Create an External Load Balancer"; kube-proxy, pkg/proxy/healthcheck.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from controlplane.meta import Key

PATIENCE = 5.0  # seconds for a request to come in
LONGEST = 8192  # bytes of a request's head
BODY = """\
{{
	"service": {{
		"namespace": "{namespace}",
		"name": "{name}"
	}},
	"localEndpoints": {count},
	"serviceProxyHealthy": true
}}"""


@dataclass
class _Check:
    port: int
    count: int
    server: asyncio.Server


class HealthChecks:
    """One node's servers; `listen` opens a socket for a port in the node's network and raises OSError."""

    def __init__(self, listen: Callable[[int], socket.socket]) -> None:
        self._listen = listen
        self._checks: dict[Key, _Check] = {}

    async def update(self, key: Key, port: int, count: int) -> None:
        """Tell at `port` that a Service has `count` endpoints here; port 0: say nothing. Raises OSError."""
        check = self._checks.get(key)
        if check is not None and check.port == port:
            check.count = count
            return
        self.drop(key)
        if port:
            listening = await asyncio.to_thread(self._listen, port)
            server = await asyncio.start_server(
                lambda reader, writer: self._answer(key, reader, writer), sock=listening, limit=LONGEST
            )
            self._checks[key] = _Check(port, count, server)

    def drop(self, key: Key) -> None:
        """Stop listening for a Service."""
        check = self._checks.pop(key, None)
        if check is not None:
            check.server.close()

    def close(self) -> None:
        """Stop listening."""
        for key in list(self._checks):
            self.drop(key)

    async def _answer(self, key: Key, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await reader.readuntil(b"\r\n\r\n")
                check = self._checks.get(key)
                writer.write(response(key, check.count if check is not None else 0))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that does not ask properly gets no answer
        finally:
            writer.close()


def response(key: Key, count: int) -> bytes:
    """What a node with `count` endpoints answers, as kube-proxy words it."""
    namespace, name = key
    body = BODY.format(namespace=namespace, name=name, count=count)
    status = "200 OK" if count else "503 Service Unavailable"
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
        f"X-Load-Balancing-Endpoint-Weight: {count}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return (head + body).encode()
