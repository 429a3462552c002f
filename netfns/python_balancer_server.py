"""The loop of the Python balancer: it accepts, asks python_balancer.py what to do, connects and relays.

    accept --> choose(servers, last) --> connect --> relay (relay.py) --> one line of log
      |          ^        | None: reset at once   `-- refused: choose again, at most twice
      |          |
      |   states of the servers <-- twice a second: connect to each --> checked(state, passed)
      |          ^
      |          `-- a new configuration --> reload(servers, wanted)
      `-- a sender outside of the source ranges: reset at once

A server passes its check when it takes a connection and, where the frontend has a health-check port, its node answers
there with 200. With externalTrafficPolicy Local a node without endpoints answers 503: it would take connections and
lose them. What a node says itself is no lost packet, so one such failure is enough.

The decisions are a module's with these three functions: the reference, or a student's file. A student's calls have a
time limit, what they give back is looked at, and what they do wrong is told in `mistakes` of the statistics.

Invariants: a configuration that cannot be had as a whole (a line that does not parse, an address that is not
there) changes nothing; a listening socket that stays in the configuration is never closed.

Sources: HAProxy management guide, sections 9.1 and 9.3 (statistics, runtime API), whose words the table has;
Kubernetes, "Create an External Load Balancer" (health-check node port); RFC 9112, section 4 (status line).
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from types import FrameType
from typing import Any

from netfns import relay
from netfns.balancer_types import Frontend, Server, ServerState
from netfns.python_balancer_config import parse

INTER, RISE, FALL = 0.5, 1, 2  # seconds between checks; results in a row that change a server's state
CONNECT_WAIT = 1.0  # seconds for a server to take a connection
TRIES = 3  # servers that one client's connection is offered to
CALL_LIMIT = 0.5  # seconds for one call of a student's function
LOG_LINES = 1000
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"
BUSY_PAUSE = 0.2  # seconds without accepting when there are no descriptors left


class Mistake(Exception):
    """A student's function raised, took too long or gave back what makes no sense."""


class Decisions:
    """The three functions of a module, held to what they promise. `limited`: each call has CALL_LIMIT seconds."""

    def __init__(self, module: Any, *, limited: bool) -> None:
        """Raises Mistake when the module lacks a function."""
        self._limited = limited
        self.mistakes: deque[str] = deque(maxlen=20)
        if limited:
            signal.signal(signal.SIGALRM, _out_of_time)
        for name in ("choose", "checked", "reload"):
            if not callable(getattr(module, name, None)):
                raise Mistake(f"it has no function {name}: write one")
        self._functions = {name: getattr(module, name) for name in ("choose", "checked", "reload")}

    def choose(self, servers: Sequence[ServerState], last: int) -> int | None:
        """See python_balancer.choose; None when the function makes a mistake, which is noted."""
        try:
            index = self._call("choose", servers, last)
            if index is None or (type(index) is int and 0 <= index < len(servers)):
                return index
            raise Mistake(f"choose: want None or an index from 0 to {len(servers) - 1}, got {index!r:.60}")
        except Mistake as mistake:
            self._note(mistake)
            return None

    def checked(self, state: ServerState, passed: bool, fall: int) -> ServerState:
        """See python_balancer.checked; the state as it was when the function makes a mistake."""
        try:
            new = self._call("checked", state, passed, RISE, fall)
            if type(new) is ServerState and new.server == state.server:
                return new
            raise Mistake(f"checked: want the server's new ServerState, got {new!r:.60}")
        except Mistake as mistake:
            self._note(mistake)
            return state

    def reload(self, servers: Sequence[ServerState], wanted: Sequence[Server]) -> tuple[ServerState, ...]:
        """See python_balancer.reload. Raises Mistake."""
        states = self._call("reload", servers, wanted)
        if isinstance(states, list | tuple) and all(type(state) is ServerState for state in states):
            return tuple(states)
        raise Mistake(f"reload: want a tuple of ServerState, got {states!r:.60}")

    def _call(self, name: str, *arguments: Any) -> Any:
        if not self._limited:
            return self._functions[name](*arguments)
        signal.setitimer(signal.ITIMER_REAL, CALL_LIMIT)
        try:
            return self._functions[name](*arguments)
        except TimeoutError:
            raise Mistake(f"{name}: no answer within {CALL_LIMIT} s") from None
        except BaseException as error:  # also SystemExit: a student's file does not end the balancer
            raise Mistake(f"{name}: {type(error).__name__}: {error!s:.200}") from None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _note(self, mistake: Mistake) -> None:
        if str(mistake) not in self.mistakes:
            self.mistakes.append(str(mistake))


def _out_of_time(_: int, __: FrameType | None) -> None:
    raise TimeoutError


@dataclass
class Backend:
    """One frontend at work: its listening socket, its servers' states, its connections by server."""

    frontend: Frontend
    listener: socket.socket
    states: tuple[ServerState, ...] = ()
    last: int = -1
    links: dict[Server, set[relay.Side]] = field(default_factory=dict)
    total: Counter[Server] = field(default_factory=Counter)
    refused: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def change(self, server: Server, how: Callable[[ServerState], ServerState]) -> None:
        """Put a new state in the place of one server's."""
        self.states = tuple(how(state) if state.server == server else state for state in self.states)

    def count(self, server: Server, step: int) -> None:
        """Count a connection of a server in (1) or out (-1)."""
        self.change(server, lambda state: replace(state, connections=state.connections + step))


class PythonBalancer:
    """Serves the frontends of its configuration, by decisions that it does not make itself."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self.backends: dict[tuple[str, int], Backend] = {}
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._serving: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ a new configuration

    def load(self, text: str) -> None:
        """Serve what a configuration says. Raises ValueError, OSError or Mistake, and goes on as before then."""
        frontends = parse(text)
        wanted = {(frontend.address, frontend.port): frontend for frontend in frontends}
        if len(wanted) < len(frontends):
            raise ValueError("two frontends have the same address and port: give each its own")
        old = self.backends
        states = {
            place: self._decisions.reload(old[place].states if place in old else (), frontend.servers)
            for place, frontend in wanted.items()
        }
        listeners = _listen(place for place in wanted if place not in old)
        for place in old.keys() - wanted.keys():
            self._close(old[place])
        self.backends = {
            place: old[place] if place in old else self._open(frontend, listeners[place])
            for place, frontend in wanted.items()
        }
        for place, backend in self.backends.items():
            backend.frontend = wanted[place]
            self._take_over(backend, states[place])

    def _take_over(self, backend: Backend, states: tuple[ServerState, ...]) -> None:
        """Go on with new states; connections of servers that were forgotten are cut."""
        chosen = backend.states[backend.last].server if 0 <= backend.last < len(backend.states) else None
        backend.states = states
        servers = [state.server for state in states]
        backend.last = servers.index(chosen) if chosen in servers else -1
        for server in backend.links.keys() - set(servers):
            for side in backend.links.pop(server):
                relay.reset(side.transport)

    def _open(self, frontend: Frontend, listener: socket.socket) -> Backend:
        backend = Backend(frontend, listener)
        backend.tasks = [asyncio.create_task(work(backend)) for work in (self._accept, self._check)]
        return backend

    def _close(self, backend: Backend) -> None:
        """Take no more connections; those that are there go on to their end."""
        for task in backend.tasks:
            task.cancel()
        backend.listener.close()

    # ------------------------------------------------------------ checks

    async def _check(self, backend: Backend) -> None:
        """Try every server that may get connections, again and again."""
        while True:
            servers = [state.server for state in backend.states if not state.draining]
            port = backend.frontend.health_check_port
            results = await asyncio.gather(*(_check_of(server, port) for server in servers))
            for server, result in zip(servers, results, strict=True):
                backend.change(server, lambda state, result=result: self._decisions.checked(state, *result))  # type: ignore[misc]
            await asyncio.sleep(INTER)

    # ------------------------------------------------------------ connections

    async def _accept(self, backend: Backend) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, address = await loop.sock_accept(backend.listener)
            except OSError as error:  # the client has gone again, or there are no descriptors left
                self.log.append(f"accept: {error.strerror}")
                await asyncio.sleep(BUSY_PAUSE)
                continue
            task = asyncio.create_task(self._serve(backend, client, address))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, backend: Backend, client: socket.socket, address: tuple[Any, ...]) -> None:
        """Give one client's connection to a server, and see it through."""
        where = f"{_pair(*address[:2])} -> {backend.frontend.owner}"
        if not _may_connect(address[0], backend.frontend.source_ranges):
            self._refuse(backend, client, f"{where}: refused: the sender is in none of the source ranges")
            return
        for _ in range(TRIES):
            index = self._decisions.choose(backend.states, backend.last)
            if index is None:
                break
            backend.last = index
            server = backend.states[index].server
            backend.count(server, 1)
            try:
                connection = await _connect(server)
                with suppress(OSError):  # the client went meanwhile
                    await self._relay(backend, server, client, connection, where)
                return
            except OSError as error:
                self.log.append(f"{where} -> {server.node}: {error.strerror or 'no answer'}: try another")
            finally:
                self._leave(backend, server)
        self._refuse(backend, client, f"{where}: refused: no server is up")

    def _refuse(self, backend: Backend, client: socket.socket, why: str) -> None:
        backend.refused += 1
        self.log.append(why)
        relay.be_abrupt(client)
        client.close()

    async def _relay(
        self, backend: Backend, server: Server, client: socket.socket, connection: socket.socket, where: str
    ) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        backend.total[server] += 1
        sides = await relay.join(client, connection)
        links = backend.links.setdefault(server, set())
        links.add(sides[0])
        try:
            await asyncio.gather(*(side.lost for side in sides))
        finally:
            links.discard(sides[0])
            self.log.append(
                f"{where} -> {server.node} {_pair(server.address, server.port)} "
                f"in {sides[0].received} out {sides[1].received} bytes {loop.time() - started:.3f} s"
            )

    def _leave(self, backend: Backend, server: Server) -> None:
        """A connection has ended; with its last one, a draining server is forgotten."""
        backend.count(server, -1)
        if any(state.draining and not state.connections for state in backend.states):
            with suppress(Mistake):
                self._take_over(backend, self._decisions.reload(backend.states, backend.frontend.servers))

    # ------------------------------------------------------------ what is told

    def statistics(self) -> dict[str, Any]:
        """The balancer in numbers: its frontends, their servers, and the mistakes of a student's file."""
        frontends = [
            {
                "name": backend.frontend.owner,
                "address": address,
                "port": port,
                "refused": backend.refused,
                "servers": [
                    {
                        "node": state.server.node,
                        "address": state.server.address,
                        "port": state.server.port,
                        "status": "DRAIN" if state.draining else "UP" if state.up else "DOWN",
                        "connections": state.connections,
                        "total": backend.total[state.server],
                    }
                    for state in backend.states
                ],
            }
            for (address, port), backend in self.backends.items()
        ]
        return {"frontends": frontends, "mistakes": list(self._decisions.mistakes)}


# ---------------------------------------------------------------- sockets


def _listen(places: Any) -> dict[tuple[str, int], socket.socket]:
    """Listen at each address and port, or at none. Raises OSError, which names the one that failed."""
    listeners: dict[tuple[str, int], socket.socket] = {}
    for address, port in places:
        try:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = socket.create_server((address, port), family=family, backlog=1024)
        except OSError as error:
            for opened in listeners.values():
                opened.close()
            raise OSError(error.errno, f"{_pair(address, port)}: {error.strerror}") from None
        listener.setblocking(False)
        listeners[address, port] = listener
    return listeners


async def _connect(server: Server) -> socket.socket:
    """A connection to a server. Raises OSError (TimeoutError after CONNECT_WAIT)."""
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        async with asyncio.timeout(CONNECT_WAIT):
            await asyncio.get_running_loop().sock_connect(connection, (server.address, server.port))
    except BaseException:
        connection.close()
        raise
    return connection


def _may_connect(sender: str, ranges: Sequence[str]) -> bool:
    """Whether an address is in one of the ranges (CIDRs); no ranges: everybody is."""
    return not ranges or any(ip_address(sender) in ip_network(text, strict=False) for text in ranges)


async def _check_of(server: Server, health_check_port: int) -> tuple[bool, int]:
    """One health check: whether it passed, and the failures in a row after which such a one takes the server down."""
    if not health_check_port:
        return await _answers(server), FALL
    answers, status = await asyncio.gather(_answers(server), _health(server.address, health_check_port))
    return answers and status == 200, 1 if status not in (0, 200) else FALL


async def _health(address: str, port: int) -> int:
    """The status with which a node answers at a health-check port within INTER seconds; 0 when it does not."""
    try:
        async with asyncio.timeout(INTER):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                writer.write(HEALTH)
                version, status, *_ = (await reader.readline()).split()
            finally:
                writer.close()
        return int(status) if version.startswith(b"HTTP/") else 0
    except (OSError, ValueError):
        return 0


async def _answers(server: Server) -> bool:
    """Whether the server takes a connection within INTER seconds."""
    try:
        async with asyncio.timeout(INTER):
            (await _connect(server)).close()
    except OSError:
        return False
    return True


def _pair(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
