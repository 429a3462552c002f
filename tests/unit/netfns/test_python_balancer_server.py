"""The Python balancer's loop, with clients and servers on the loopback device."""

import asyncio
import json
import socket
import time
import types
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from netfns import python_balancer, python_balancer_server
from netfns.balancer_types import Frontend, Server, ServerState
from netfns.python_balancer_config import render
from netfns.python_balancer_control import answer
from netfns.python_balancer_server import Decisions, Mistake, PythonBalancer

HOST = "127.0.0.1"
ADDRESSES = (HOST, "127.0.0.2", "127.0.0.3")  # of the nodes a, b and c


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


class Echo:
    """A server that says its name, then sends back what it gets until the end of it."""

    def __init__(self, name: str, address: str = HOST) -> None:
        self.server = Server(name, address, free_port())
        self._listener: asyncio.Server | None = None

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._one, self.server.address, self.server.port)

    def stop(self) -> None:
        if self._listener is not None:
            self._listener.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.server.node.encode())
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()


class Stage:
    """A balancer in front of the servers a, b and c; `serve` names those in its configuration."""

    def __init__(self, decisions: Decisions) -> None:
        self.echoes = {name: Echo(name, address) for name, address in zip("abc", ADDRESSES, strict=True)}
        self.port = free_port()
        self.balancer = PythonBalancer(decisions)

    def serve(self, names: str, ranges: tuple[str, ...] = (), health_check_port: int = 0) -> str:
        servers = tuple(self.echoes[name].server for name in names)
        frontend = Frontend("default/web:http", HOST, self.port, servers, ranges, health_check_port)
        return self.load(render([frontend]))[1]

    def load(self, configuration: str) -> tuple[str, str]:
        return answer(self.balancer, "POST", "/reload", configuration)

    async def ask(self, payload: bytes = b"") -> bytes:
        """All that one connection brings; b"" when it is reset."""
        try:
            reader, writer = await asyncio.open_connection(HOST, self.port)
            writer.write(payload)
            writer.write_eof()
            async with asyncio.timeout(5):
                found = await reader.read()
        except OSError:
            return b""
        writer.close()
        return found

    def status(self, name: str) -> str:
        (frontend,) = json.loads(answer(self.balancer, "GET", "/stat.json")[1])["frontends"]
        found = [one["status"] for one in frontend["servers"] if one["node"] == name]
        return found[0] if found else "-"


def decisions(source: str = "") -> Decisions:
    """Those of a student's file, or the reference's."""
    if not source:
        return Decisions(python_balancer, limited=False)
    module = types.ModuleType("student")
    exec(source, module.__dict__)
    return Decisions(module, limited=True)


def play(story: Callable[[Stage], Awaitable[None]], source: str = "") -> None:
    @asynccontextmanager
    async def staged() -> AsyncIterator[Stage]:
        stage = Stage(decisions(source))
        for echo in stage.echoes.values():
            await echo.start()
        yield stage
        for backend in stage.balancer.backends.values():
            stage.balancer._close(backend)
        for echo in stage.echoes.values():
            echo.stop()

    async def told() -> None:
        async with staged() as stage:
            await story(stage)

    asyncio.run(told())


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met within 10 s"
        await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def _quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_balancer_server, "INTER", 0.05)


def test_connections_are_spread_and_bytes_come_back_whole() -> None:
    async def story(stage: Stage) -> None:
        assert stage.serve("abc") == ""
        answers = [await stage.ask() for _ in range(6)]
        assert answers == [b"a", b"b", b"c"] * 2
        much = bytes(range(256)) * 20_000
        assert (await stage.ask(much))[1:] == much
        table = answer(stage.balancer, "GET", "/stat")[1].splitlines()
        assert [line.split()[2:] for line in table[1:]] == [
            ["a", "UP", "0", "3"], ["b", "UP", "0", "2"], ["c", "UP", "0", "2"],
        ]  # fmt: skip
        log = answer(stage.balancer, "GET", "/log")[1].splitlines()
        assert log[-1].startswith(f"{HOST}:")
        assert f"default/web:http -> a {HOST}:" in log[-1]
        assert f"in {len(much)} out {len(much) + 1} bytes" in log[-1]

    play(story)


def test_a_dead_server_gets_nothing_until_it_is_back() -> None:
    async def story(stage: Stage) -> None:
        stage.serve("ab")
        stage.echoes["b"].stop()
        assert {await stage.ask() for _ in range(4)} == {b"a"}, "a refused connection goes to another server"
        await until(lambda: stage.status("b") == "DOWN")
        await stage.echoes["b"].start()
        await until(lambda: stage.status("b") == "UP")
        assert {await stage.ask() for _ in range(4)} == {b"a", b"b"}

    play(story)


def test_without_a_server_a_client_is_reset_at_once() -> None:
    async def story(stage: Stage) -> None:
        stage.serve("")
        async with asyncio.timeout(1):
            assert await stage.ask() == b""
        assert stage.balancer.log[-1].endswith("refused: no server is up")

    play(story)


def test_a_sender_outside_of_the_ranges_is_reset_and_costs_no_turn() -> None:
    async def story(stage: Stage) -> None:
        assert stage.serve("ab", ("203.0.113.0/24", "192.0.2.7/32")) == ""
        assert await stage.ask() == b""
        assert stage.balancer.log[-1].endswith("refused: the sender is in none of the source ranges")
        assert stage.balancer.statistics()["frontends"][0]["refused"] == 1
        assert stage.serve("ab", ("203.0.113.0/24", "127.1.2.3/8")) == ""
        assert [await stage.ask(), await stage.ask()] == [b"a", b"b"]

    play(story)


@pytest.mark.parametrize(
    ("reply", "well"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", False),
        (b"nothing of HTTP", False),
        (b"\n", False),
        (b"", False),
    ],
)
def test_a_node_is_asked_for_its_health_by_http(reply: bytes, well: bool) -> None:
    """Node a says 200 all the time, node b the `reply`: both take connections."""

    async def story(stage: Stage) -> None:
        port, said = free_port(), {HOST: b"HTTP/1.0 200 OK\r\n\r\n", ADDRESSES[1]: reply}
        asked: list[bytes] = []

        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(said[writer.get_extra_info("sockname")[0]])
            writer.close()

        async with await asyncio.start_server(one, [HOST, ADDRESSES[1]], port):
            assert stage.serve("ab", health_check_port=port) == ""
            await until(lambda: len(asked) > 8)
            assert asked[0].startswith(b"GET /healthz HTTP/1.")
            assert (stage.status("a"), stage.status("b")) == ("UP", "UP" if well else "DOWN")
            said[ADDRESSES[1]] = said[HOST]
            await until(lambda: stage.status("b") == "UP")
            stage.echoes["b"].stop()
            await until(lambda: stage.status("b") == "DOWN")
        await until(lambda: stage.status("a") == "DOWN")
        stage.serve("a")
        await until(lambda: stage.status("a") == "UP")

    play(story)


def test_a_node_that_says_no_is_down_at_once_and_one_that_is_not_heard_after_two_failures() -> None:
    falls: list[int] = []

    def checked(state: ServerState, passed: bool, rise: int, fall: int) -> ServerState:
        falls.append(fall)
        return python_balancer.checked(state, passed, rise, fall)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 503 Service Unavailable\r\n\r\n")
        writer.close()

    async def story() -> None:
        module = types.SimpleNamespace(
            choose=python_balancer.choose, checked=checked, reload=python_balancer.reload
        )
        stage, port = Stage(Decisions(module, limited=False)), free_port()
        await stage.echoes["a"].start()
        stage.serve("a", health_check_port=port)
        await until(lambda: stage.status("a") == "DOWN")
        assert falls == [2, 2]
        async with await asyncio.start_server(refuse, HOST, port):
            await until(lambda: falls[-1] == 1)
        for backend in stage.balancer.backends.values():
            stage.balancer._close(backend)
        stage.echoes["a"].stop()

    asyncio.run(story())


def test_a_server_that_is_taken_out_drains() -> None:
    async def story(stage: Stage) -> None:
        stage.serve("ab")
        reader, writer = await asyncio.open_connection(HOST, stage.port)
        assert await reader.read(1) == b"a"
        stage.serve("b")
        assert stage.status("a") == "DRAIN"
        assert {await stage.ask() for _ in range(4)} == {b"b"}
        writer.write(b"still here")
        assert await reader.read(10) == b"still here"
        writer.close()
        await until(lambda: stage.status("a") == "-")

    play(story)


def test_no_request_is_lost_while_the_configuration_changes() -> None:
    async def story(stage: Stage) -> None:
        stage.serve("abc")
        lost = 0

        async def clients() -> None:
            nonlocal lost
            for _ in range(60):
                lost += await stage.ask(b"!") == b""

        running = asyncio.gather(*(clients() for _ in range(4)))
        names = ["a", "bc", "ab", "c", "abc"]
        while not running.done():
            stage.serve(names[0])
            names.append(names.pop(0))
            await asyncio.sleep(0.002)
        await running
        assert lost == 0

    play(story)


def test_a_configuration_that_cannot_be_had_changes_nothing() -> None:
    async def story(stage: Stage) -> None:
        stage.serve("a")
        status, text = stage.load(f"frontend x {HOST} {free_port()}\nfrontend y 203.0.113.77 80\n")
        assert status == "409 Conflict"
        assert text.startswith("203.0.113.77:80: ")
        assert "line 1" in stage.load("nonsense")[1]
        assert await stage.ask() == b"a"

    play(story)


REFERENCE = "from netfns.python_balancer import choose, checked, reload\n"


@pytest.mark.parametrize(
    ("functions", "mistake"),
    [
        ("def choose(servers, last):\n    while True: pass\n", "choose: no answer within 0.5 s"),
        ("def choose(servers, last):\n    return 7\n", "choose: want None or an index from 0 to 0, got 7"),
        ("def choose(servers, last):\n    exit(3)\n", "choose: SystemExit: 3"),
        (
            "def choose(servers, last):\n    return servers[9]\n",
            "choose: IndexError: tuple index out of range",
        ),
        ("def checked(*_):\n    return None\n", "checked: want the server's new ServerState, got None"),
    ],
)
def test_a_students_mistake_is_told_and_ends_nothing(functions: str, mistake: str) -> None:
    async def story(stage: Stage) -> None:
        assert stage.serve("a") == ""
        got = await stage.ask()
        await until(lambda: stage.balancer.statistics()["mistakes"])
        assert stage.balancer.statistics()["mistakes"] == [mistake]
        assert got == (b"a" if "checked" in mistake else b"")

    play(story, REFERENCE + functions)


def test_a_file_without_a_function_says_which() -> None:
    with pytest.raises(Mistake, match="it has no function reload"):
        decisions("choose = checked = print\n")


def test_what_is_not_asked_well_is_told_what_there_is() -> None:
    async def story(stage: Stage) -> None:
        assert answer(stage.balancer, "GET", "/")[0] == "404 Not Found"

    play(story)
