"""A SPDY connection's server end: streams that the client opens, over any pipe of bytes.

    pipe ──bytes──> Session.run ──frames──> each stream's queue ──> whoever serves the stream
                       └── SYN_STREAM: `accept(stream)`, a SYN_REPLY            PING: the same back

A stream's queue holds a little; whoever reads too slowly holds up the connection, and so the client. That is what
keeps a lab's memory out of a client's reach, and it is what kubectl's own library does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from agents.streaming.spdy import (
    CANCEL,
    DATA,
    GOAWAY,
    PING,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    SYN_REPLY,
    SYN_STREAM,
    Decoder,
    Encoder,
    Frame,
    ProtocolError,
)

QUEUED = 8  # data frames of a stream that wait to be read
MOST_STREAMS = 1024  # open at a time on one connection
LARGEST = 1 << 15  # bytes of a data frame that is sent


class Pipe(Protocol):
    """Bytes in order, both ways."""

    async def read(self) -> bytes:
        """What has come; b"" at the end."""

    async def write(self, data: bytes) -> None:
        """Send, and wait while the other end is slow. Raises ConnectionError when it is gone."""


class Sender(Protocol):
    """What a stream belongs to."""

    async def send(self, frame: Frame) -> None:
        """Send a frame. Raises ConnectionError."""

    def forget_if_over(self, number: int) -> None:
        """Forget a stream that has ended both ways."""


class Refused(Exception):
    """A stream that is not wanted."""


class Stream:
    """One stream of a session. `headers` are those of its SYN_STREAM."""

    def __init__(self, session: Sender, number: int, headers: Mapping[str, str]) -> None:
        self.headers = headers
        self._session = session
        self._number = number
        self._incoming: asyncio.Queue[bytes] = asyncio.Queue(QUEUED)
        self._ended = asyncio.Event()
        self._finished = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """What the client sends, until it finishes the stream or is gone."""
        while True:
            data = await self._next()
            if not data:
                return
            yield data

    async def _next(self) -> bytes:
        if not self._incoming.empty() or not self._ended.is_set():
            taking, ending = (
                asyncio.ensure_future(self._incoming.get()),
                asyncio.ensure_future(self._ended.wait()),
            )
            try:
                await asyncio.wait({taking, ending}, return_when=asyncio.FIRST_COMPLETED)
                if taking.done():
                    return taking.result()
            finally:
                taking.cancel()
                ending.cancel()
        return b"" if self._incoming.empty() else self._incoming.get_nowait()

    async def send(self, data: bytes) -> None:
        """Send data. Raises ConnectionError when the client is gone or does not want it."""
        for start in range(0, len(data), LARGEST):
            if self._finished:
                raise ConnectionResetError("the stream is closed")
            await self._session.send(Frame(DATA, self._number, data=data[start : start + LARGEST]))

    async def finish(self) -> None:
        """Send no more. Idempotent."""
        if not self._finished:
            self._finished = True
            with contextlib.suppress(ConnectionError):
                await self._session.send(Frame(DATA, self._number, fin=True))
        self._session.forget_if_over(self._number)

    def drop(self) -> None:
        """Read no more: what still comes is thrown away."""
        self.end()
        while not self._incoming.empty():
            self._incoming.get_nowait()

    # ---------------------------------------------------------------- from the session

    async def receive(self, frame: Frame) -> None:
        """A data frame has come."""
        if frame.data and not self._ended.is_set():
            await self._incoming.put(frame.data)
        if frame.fin:
            self.end()

    def reset(self) -> None:
        """The client has given the stream up."""
        self._finished = True
        self.end()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended.set()

    @property
    def over(self) -> bool:
        """Whether both directions have ended."""
        return self._finished and self._ended.is_set()


class Session:
    """See the head of this file. `accept` is told of every new stream; it may raise Refused."""

    def __init__(self, pipe: Pipe, accept: Callable[[Stream], None]) -> None:
        self._pipe = pipe
        self._accept = accept
        self._streams: dict[int, Stream] = {}
        self._encoder, self._decoder = Encoder(), Decoder()
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Serve until the client is gone, or says what is not SPDY."""
        try:
            while data := await self._pipe.read():
                for frame in self._decoder.feed(data):
                    if frame.kind == GOAWAY:
                        return
                    await self._handle(frame)
        except (ConnectionError, ProtocolError):
            return
        finally:
            for stream in self._streams.values():
                stream.reset()

    async def send(self, frame: Frame) -> None:
        """Send a frame; frames never mix. Raises ConnectionError."""
        async with self._sending:
            await self._pipe.write(self._encoder.encode(frame))

    async def ping(self) -> None:
        """Send what a living client answers; the numbers of a server are even. Raises ConnectionError."""
        await self.send(Frame(PING, 0, number=2))

    def forget_if_over(self, number: int) -> None:
        """Forget a stream that has ended both ways."""
        stream = self._streams.get(number)
        if stream is not None and stream.over:
            del self._streams[number]

    async def _handle(self, frame: Frame) -> None:
        if frame.kind == SYN_STREAM:
            await self._open(frame)
        elif frame.kind == PING:
            if frame.number % 2:  # not an answer to ours
                await self.send(frame)
        elif (stream := self._streams.get(frame.stream)) is None:
            return  # of a stream that has ended meanwhile
        elif frame.kind == DATA:
            await stream.receive(frame)
        elif frame.kind == RST_STREAM:
            stream.reset()
        self.forget_if_over(frame.stream)

    async def _open(self, frame: Frame) -> None:
        if frame.stream in self._streams or frame.stream % 2 == 0:
            await self._reject(frame, PROTOCOL_ERROR)
            return
        if len(self._streams) >= MOST_STREAMS:
            await self._reject(frame, REFUSED_STREAM)
            return
        stream = Stream(self, frame.stream, frame.headers)
        if frame.fin:
            stream.end()
        self._streams[frame.stream] = stream
        await self.send(Frame(SYN_REPLY, frame.stream))
        try:
            self._accept(stream)
        except Refused:
            stream.reset()
            await self._reject(frame, CANCEL)

    async def _reject(self, frame: Frame, status: int) -> None:
        await self.send(Frame(RST_STREAM, frame.stream, number=status))
