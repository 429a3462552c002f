import asyncio
from collections.abc import Awaitable, Callable

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
)
from agents.streaming.spdy_session import LARGEST, MOST_STREAMS, QUEUED, Refused, Session, Stream

DEADLINE = 5.0


class Client:
    """The other end of a session, in memory; it is the session's pipe."""

    def __init__(self) -> None:
        self.accepted: list[Stream] = []
        self.refuse = False
        self._to_server: asyncio.Queue[bytes] = asyncio.Queue()
        self._frames: asyncio.Queue[Frame] = asyncio.Queue()
        self._encoder, self._decoder = Encoder(), Decoder()

    def say(self, *frames: Frame) -> None:
        for frame in frames:
            self._to_server.put_nowait(self._encoder.encode(frame))

    def hang_up(self) -> None:
        self._to_server.put_nowait(b"")

    def say_raw(self, data: bytes) -> None:
        self._to_server.put_nowait(data)

    async def hear(self) -> Frame:
        return await self._frames.get()

    async def read(self) -> bytes:
        return await self._to_server.get()

    async def write(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            self._frames.put_nowait(frame)

    def accept(self, stream: Stream) -> None:
        if self.refuse:
            raise Refused
        self.accepted.append(stream)

    def unread(self) -> int:
        return self._to_server.qsize()


def with_session(scenario: Callable[[Client, "asyncio.Task[None]"], Awaitable[None]]) -> None:
    async def run() -> None:
        client = Client()
        session = asyncio.create_task(Session(client, client.accept).run())
        try:
            async with asyncio.timeout(DEADLINE):
                await scenario(client, session)
        finally:
            session.cancel()
            await asyncio.wait({session})

    asyncio.run(run())


def test_a_stream_is_answered_and_carries_data_both_ways() -> None:
    async def scenario(client: Client, _: "asyncio.Task[None]") -> None:
        client.say(Frame(SYN_STREAM, 1, headers={"streamtype": "data"}), Frame(DATA, 1, data=b"in"))
        client.say(Frame(DATA, 1, True, data=b"!"))
        assert await client.hear() == Frame(SYN_REPLY, 1)
        (stream,) = client.accepted
        assert stream.headers == {"streamtype": "data"}
        assert [chunk async for chunk in stream.chunks()] == [b"in", b"!"]
        await stream.send(b"out" * LARGEST)
        heard = [await client.hear() for _ in range(3)]
        assert b"".join(frame.data for frame in heard) == b"out" * LARGEST
        await stream.finish()
        await stream.finish()
        assert await client.hear() == Frame(DATA, 1, True)

    with_session(scenario)


def test_a_ping_comes_back() -> None:
    async def scenario(client: Client, _: "asyncio.Task[None]") -> None:
        client.say(Frame(PING, 0, number=7))
        assert await client.hear() == Frame(PING, 0, number=7)

    with_session(scenario)


def test_streams_that_may_not_be_are_reset() -> None:
    async def scenario(client: Client, _: "asyncio.Task[None]") -> None:
        client.say(Frame(SYN_STREAM, 2))
        assert await client.hear() == Frame(RST_STREAM, 2, number=PROTOCOL_ERROR)
        client.say(Frame(SYN_STREAM, 1), Frame(SYN_STREAM, 1))
        assert [await client.hear(), await client.hear()] == [
            Frame(SYN_REPLY, 1),
            Frame(RST_STREAM, 1, number=PROTOCOL_ERROR),
        ]
        client.refuse = True
        client.say(Frame(SYN_STREAM, 3))
        assert [await client.hear(), await client.hear()] == [
            Frame(SYN_REPLY, 3),
            Frame(RST_STREAM, 3, number=CANCEL),
        ]

    with_session(scenario)


def test_there_is_a_limit_to_streams_and_those_that_have_ended_do_not_count() -> None:
    async def scenario(client: Client, _: "asyncio.Task[None]") -> None:
        for number in range(MOST_STREAMS):
            client.say(Frame(SYN_STREAM, 2 * number + 1))
            assert (await client.hear()).kind == SYN_REPLY
        after = 2 * MOST_STREAMS + 1
        client.say(Frame(SYN_STREAM, after))
        assert await client.hear() == Frame(RST_STREAM, after, number=REFUSED_STREAM)
        client.say(Frame(RST_STREAM, 1, number=CANCEL), Frame(SYN_STREAM, after + 2))
        assert await client.hear() == Frame(SYN_REPLY, after + 2)

    with_session(scenario)


def test_a_stream_that_nobody_reads_holds_up_the_client_until_it_is_dropped() -> None:
    async def scenario(client: Client, _: "asyncio.Task[None]") -> None:
        client.say(Frame(SYN_STREAM, 1))
        assert (await client.hear()).kind == SYN_REPLY
        client.say(*[Frame(DATA, 1, data=b"x")] * (QUEUED + 50), Frame(PING, 0, number=1))
        for _turn in range(QUEUED + 60):  # turns of the event loop: far more than the frames need
            await asyncio.sleep(0)
        assert client.unread() >= 49
        client.accepted[0].drop()
        assert await client.hear() == Frame(PING, 0, number=1)

    with_session(scenario)


def test_whatever_ends_the_connection_ends_the_streams() -> None:
    for ending in ("goaway", "hang up", "garbage"):

        async def scenario(client: Client, session: "asyncio.Task[None]", ending: str = ending) -> None:
            client.say(Frame(SYN_STREAM, 1))
            assert (await client.hear()).kind == SYN_REPLY
            if ending == "goaway":
                client.say(Frame(GOAWAY, 0))
            elif ending == "hang up":
                client.hang_up()
            else:
                client.say_raw(b"\xff" * 8)
            assert [chunk async for chunk in client.accepted[0].chunks()] == []
            await session
            try:
                await client.accepted[0].send(b"x")
            except ConnectionError:
                return
            raise AssertionError("sent on a dead stream")

        with_session(scenario)
