"""From an HTTP request to a connection that carries streams: WebSocket, today's way, or SPDY, kubectl 1.20's.

    GET   Upgrade: websocket, Sec-WebSocket-Protocol: …  ──> messages (aiohttp)
    POST  Upgrade: SPDY/3.1, X-Stream-Protocol-Version: … ──> 101, then the connection's bytes are ours

Sources: RFC 6455; Kubernetes API concepts, "WebSocket"; k8s.io/streaming (httpstream/spdy, httpstream/wsstream).
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from controlplane.errors import StatusError, bad_request

T = TypeVar("T")

LARGEST_MESSAGE = 1 << 20
SPDY = "SPDY/3.1"
BUFFER = 1 << 17
PING_EVERY = 2.0
CLOSE_WITHIN = 5.0


def wants_websocket(request: web.Request) -> bool:
    """Whether the client asks for a WebSocket; False: for SPDY. Raises StatusError 400 when for neither."""
    upgrade = request.headers.get("Upgrade", "").lower()
    if "upgrade" not in request.headers.get("Connection", "").lower() or not upgrade:
        raise bad_request("Upgrade request required")
    if upgrade == "websocket":
        return True
    if upgrade == SPDY.lower():
        return False
    raise bad_request(f"unable to upgrade: unknown protocol {upgrade[:40]!r}: want websocket or {SPDY}")


def _choose(offered: Sequence[str], known: Sequence[str]) -> str:
    """The first protocol that both know. Raises StatusError 403, as a real server does."""
    for protocol in offered:
        if protocol in known:
            return protocol
    told = ", ".join(protocol[:40] for protocol in offered) or "none"
    raise StatusError(403, "Forbidden", f"unable to upgrade: want one of {', '.join(known)}, got {told}")


def _listed(request: web.Request, header: str) -> list[str]:
    return [
        word.strip()
        for value in request.headers.getall(header, [])
        for word in value.split(",")
        if word.strip()
    ]


async def open_websocket(
    request: web.Request, known: Sequence[str], *, plain: bool = False
) -> tuple[web.WebSocketResponse, str]:
    """Answer the handshake. Returns the connection and the protocol. Raises StatusError.

    plain: a client that names no protocol is welcome too, and gets "".
    """
    offered = _listed(request, "Sec-WebSocket-Protocol")
    protocol = "" if plain and not offered else _choose(offered, known)
    socket = web.WebSocketResponse(
        protocols=(protocol,) if protocol else (),
        max_msg_size=LARGEST_MESSAGE,
        compress=False,
        timeout=CLOSE_WITHIN,
    )
    await socket.prepare(request)
    return socket, protocol


class WebSocketPipe:
    """A WebSocket whose binary messages are one stream of bytes."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        """See spdy_session.Pipe."""
        while True:
            message = await self._socket.receive()
            if message.type != WSMsgType.BINARY:
                return b""
            if message.data:
                return bytes(message.data)

    async def write(self, data: bytes) -> None:
        """See spdy_session.Pipe."""
        if self._socket.closed:
            raise ConnectionResetError("the client is gone")
        await self._socket.send_bytes(data)


class _Takeover(asyncio.StreamReaderProtocol):
    """What stands in the HTTP server's place; the server is told when the connection ends."""

    def __init__(self, reader: asyncio.StreamReader, before: asyncio.BaseProtocol) -> None:
        super().__init__(reader)
        self._before = before

    def connection_lost(self, exc: Exception | None) -> None:
        """Both have lost it."""
        super().connection_lost(exc)
        self._before.connection_lost(exc)


class UpgradedResponse(web.StreamResponse):
    """A response that has been written already: the connection is no longer HTTP."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Nothing more is said."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing more is said."""


class UpgradedPipe:
    """The bytes of a connection after its upgrade."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        """See spdy_session.Pipe."""
        return await self._reader.read(BUFFER)

    async def write(self, data: bytes) -> None:
        """See spdy_session.Pipe."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """Send what is left, within a few seconds, and end the connection."""
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._writer.wait_closed()
        except TimeoutError:
            self._writer.transport.abort()
        except OSError:
            return  # the client ended it first


def upgrade_to_spdy(request: web.Request, known: Sequence[str]) -> UpgradedPipe:
    """Answer 101 and take the connection over from the HTTP server. Raises StatusError."""
    protocol = _choose(_listed(request, "X-Stream-Protocol-Version"), known) if known else ""
    transport = request.transport
    if transport is None:
        raise bad_request("the client is gone")
    reader = asyncio.StreamReader(BUFFER)
    takeover = _Takeover(reader, transport.get_protocol())
    transport.set_protocol(takeover)
    takeover.connection_made(transport)
    writer = asyncio.StreamWriter(transport, takeover, reader, asyncio.get_running_loop())
    lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {SPDY}"]
    lines += [f"X-Stream-Protocol-Version: {protocol}"] if protocol else []
    writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    return UpgradedPipe(reader, writer)


async def hung_up(request: web.Request, ping: Callable[[], Awaitable[None]]) -> None:
    """Return when the client is gone, for whoever does not read at the moment and so would not see its end.

    A client that dies with a full pipe before it cannot even say so: its end waits behind what nobody takes. So it is
    pinged, and the kernel that has lost it answers with a reset.
    """
    socket = request.transport.get_extra_info("socket") if request.transport else None
    if socket is None:
        return
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLRDHUP)
    while socket.fileno() >= 0 and not poll.poll(0):
        with contextlib.suppress(ConnectionError):
            await ping()
        await asyncio.sleep(PING_EVERY)


async def while_connected(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; it is cancelled when the client goes first. Raises ConnectionResetError then."""

    async def no_ping() -> None:
        return None  # nothing that was read holds up the news of its end

    working, gone = asyncio.create_task(work), asyncio.create_task(hung_up(request, no_ping))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ConnectionResetError("the client is gone")
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.wait({working, gone})


async def close_websocket(socket: web.WebSocketResponse) -> None:
    """End a WebSocket; a client that does not answer is not waited for."""
    with contextlib.suppress(ConnectionError):
        await socket.close()
