"""The streams of a remote command, as WebSocket channels or as SPDY streams.

    0 stdin  >          1 stdout <      2 stderr <      3 error <   the Status at the end
    4 resize >  {"Width": 80, "Height": 24}

    WebSocket   a message's first byte is its channel; in version 5, 255 and a channel's number ends that channel
    SPDY        a stream for each, told apart by the header `streamtype`

Sources: k8s.io/apimachinery pkg/util/remotecommand; KEP-4006 "Transition from SPDY to WebSockets".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import WSMsgType, web

from agents.streaming.connection import UpgradedPipe, close_websocket
from agents.streaming.spdy_session import Refused, Session, Stream

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
WEBSOCKET_PROTOCOLS = (V5, V4)
SPDY_PROTOCOLS = (V4,)
NAMES = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": ERROR, "resize": RESIZE}
OPEN_WITHIN = 30.0  # seconds for a SPDY client to open its streams


@dataclass(frozen=True)
class Message:
    """What a client sends on a channel; None: nothing more will come on it."""

    channel: int
    data: bytes | None


class Channels(Protocol):
    """What a remote command is connected to."""

    def incoming(self) -> AsyncIterator[Message]:
        """What the client sends, until it is gone."""

    async def send(self, channel: int, data: bytes) -> None:
        """Send on a channel, and wait while the client is slow. Raises ConnectionError when it is gone."""

    async def ping(self) -> None:
        """Send what a living client answers. Raises ConnectionError when it is gone."""

    async def close(self) -> None:
        """End the connection."""


class WebSocketChannels:
    """Channels over a WebSocket."""

    def __init__(self, socket: web.WebSocketResponse, protocol: str) -> None:
        self._socket = socket
        self._ends = protocol == V5

    async def greet(self, channel: int) -> None:
        """An empty message, by which a client knows that the command's streams are there."""
        await self.send(channel, b"")

    async def incoming(self) -> AsyncIterator[Message]:
        """See Channels."""
        async for message in self._socket:
            if message.type == WSMsgType.TEXT:
                data = message.data.encode()
            elif message.type == WSMsgType.BINARY:
                data = message.data
            else:
                return
            found = parse(data, ends=self._ends)
            if found is not None:
                yield found

    async def send(self, channel: int, data: bytes) -> None:
        """See Channels."""
        if self._socket.closed:
            raise ConnectionResetError("the client is gone")
        await self._socket.send_bytes(bytes([channel]) + data)

    async def ping(self) -> None:
        """See Channels."""
        await self._socket.ping()

    async def close(self) -> None:
        """See Channels."""
        await close_websocket(self._socket)


def parse(data: bytes, *, ends: bool) -> Message | None:
    """A WebSocket message from a client; None when it says nothing. `ends`: version 5, where channels can end."""
    if not data:
        return None
    if data[0] == CLOSE and ends:
        return Message(data[1], None) if len(data) > 1 else None
    return Message(data[0], data[1:]) if data[0] in (STDIN, RESIZE) and len(data) > 1 else None


class SpdyChannels:
    """Channels over SPDY. Made by `open`."""

    def __init__(self, pipe: UpgradedPipe) -> None:
        self._pipe = pipe
        self._streams: dict[int, Stream] = {}
        self._changed = asyncio.Event()
        self._session = Session(pipe, self._accept)
        self._running = asyncio.ensure_future(self._session.run())
        self._running.add_done_callback(lambda _: self._changed.set())

    @classmethod
    async def open(cls, pipe: UpgradedPipe, wanted: Sequence[int]) -> SpdyChannels:
        """Wait until the client has opened the streams that it asked for. Raises ConnectionError, TimeoutError."""
        channels = cls(pipe)
        try:
            async with asyncio.timeout(OPEN_WITHIN):
                while not channels._streams.keys() >= set(wanted):
                    if channels._running.done():
                        raise ConnectionResetError("the client is gone")
                    channels._changed.clear()
                    await channels._changed.wait()
        except BaseException:
            await channels.close()
            raise
        return channels

    def _accept(self, stream: Stream) -> None:
        channel = NAMES.get(stream.headers.get("streamtype", ""))
        if channel is None or channel in self._streams:
            raise Refused
        self._streams[channel] = stream
        self._changed.set()

    async def incoming(self) -> AsyncIterator[Message]:
        """See Channels."""
        queue: asyncio.Queue[Message | None] = asyncio.Queue(1)

        async def read(channel: int) -> None:
            async for data in self._streams[channel].chunks():
                await queue.put(Message(channel, data))
            await queue.put(Message(channel, None))

        async def until_gone() -> None:
            await asyncio.wait({self._running})
            await queue.put(None)

        readers = [asyncio.ensure_future(read(c)) for c in (STDIN, RESIZE) if c in self._streams]
        readers.append(asyncio.ensure_future(until_gone()))
        try:
            while (message := await queue.get()) is not None:
                yield message
        finally:
            for reader in readers:
                reader.cancel()

    async def send(self, channel: int, data: bytes) -> None:
        """See Channels."""
        if channel in self._streams:
            await self._streams[channel].send(data)

    async def ping(self) -> None:
        """See Channels."""
        await self._session.ping()

    async def close(self) -> None:
        """See Channels."""
        for channel in (STDOUT, STDERR, ERROR):
            if channel in self._streams:
                await self._streams[channel].finish()
        self._running.cancel()
        await asyncio.wait({self._running})
        await self._pipe.close()
