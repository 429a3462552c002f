"""The Python balancer as an engine of the load balancer: it serves the Services of its class, on the machine lb2.

    frontends --render--> balancer.cfg, POST /reload --> python_balancer_process.py, a process on lb2 without rights
                                         Unix socket      its decisions: the reference's, or those of the file in
                                                          the seat `python_balancer`

The process starts with the first Service of its class. It binds low ports without a right, since that is allowed
to everybody in lb2's own network namespace (net.ipv4.ip_unprivileged_port_start).

Invariants: a configuration counts as applied once the process has said so; a process that does not answer is
killed, and one that ended is started again and takes its configuration from the file.

Sources: topo/confinement.py; the kernel's Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agents.agent import Agent
from agents.daemon import Daemon, Spawner
from agents.dns import write_whole
from agents.seat_process import SeatProcess, given
from netfns import SEATS, balancer, python_balancer_config
from netfns.balancer import Balancer
from netfns.balancer_types import Frontend

CODE = Path(__file__).resolve().parent.parent
CONTROL = "netfns.python_balancer_control"
START_WAIT = 10.0  # seconds for the process to answer after its start
ANSWER_WAIT = 3.0  # seconds for an answer of a process that works
WATCH_EVERY = 2.0  # seconds
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from agents.python_balancer_process import main; main()"


class PythonBalancer:
    """Keeps the balancer on one machine. `folder` is a place for its files, `tell` is told of mistakes and ends."""

    name = "the Python balancer"

    def __init__(self, machine: Spawner, folder: Path, tell: Callable[[str], None]) -> None:
        self.machine = machine
        self.student: SeatProcess | None = None  # whose decisions are taken; None: the reference's
        self._tell = tell
        self._folder = folder
        self._socket = folder / "balancer.sock"
        self._running: SeatProcess | None = None
        self._listener: socket.socket | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def apply(self, frontends: Sequence[Frontend]) -> None:
        """Serve these frontends. Raises CommandError, OSError, TimeoutError, or RuntimeError when refused."""
        if not self._tasks and not frontends:  # what one that could not be started has left
            await asyncio.to_thread(balancer.remove_addresses, self.machine, Balancer(""))
            return
        wanted = Balancer("", tuple(frontends))
        await asyncio.to_thread(balancer.add_addresses, self.machine, wanted)
        text = python_balancer_config.render(frontends)
        write_whole(self._folder / "balancer.cfg", text)
        if self._tasks and self._running is not self.student:
            await self.stop()
        if not self._tasks:
            await asyncio.to_thread(self.machine.sysctl, "net.ipv4.ip_unprivileged_port_start", "0")
            self._start()
        status, answer = await self._ask("POST /reload", text, START_WAIT)
        if status != 200:
            raise RuntimeError(answer.strip())
        await asyncio.to_thread(balancer.remove_addresses, self.machine, wanted)

    async def mistakes(self) -> list[str]:
        """What a student's decisions have done wrong; nothing when the process does not run or answer."""
        if not self._tasks or self.student is None:
            return []
        try:
            _, text = await self._ask("GET /stat.json", "", ANSWER_WAIT)
            return [str(mistake) for mistake in json.loads(text)["mistakes"]]
        except (OSError, ValueError, LookupError):
            return []

    async def stop(self) -> None:
        """End the process, and all its connections with it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._listener is not None:
            self._listener.close()

    def _start(self) -> None:
        self._running = self.student
        write_whole(self._folder / "balancer.boot", json.dumps(_boot(self.student)))
        self._socket.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._socket))
        self._listener.listen()
        argv = [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", _BOOT, str(CODE), str(self._folder)]
        log = self._folder / "balancer.log"
        daemon = Daemon(self.machine, argv, log, self._ended, stdin=self._listener.fileno())
        self._tasks = [asyncio.create_task(work) for work in (daemon.run(), self._watch(daemon))]

    async def _watch(self, daemon: Daemon) -> None:
        """Kill the process when it does not answer; tell each mistake of a student's file once."""
        told: set[str] = set()
        await self._until_started()
        while True:
            try:
                _, text = await self._ask("GET /stat.json", "", ANSWER_WAIT)
                mistakes = [mistake for mistake in json.loads(text)["mistakes"] if mistake not in told]
            except (OSError, ValueError, LookupError):
                mistakes = []
                if daemon.signal(signal.SIGKILL):
                    self._tell("the Python balancer does not answer: it is killed")
                await self._until_started()
            for mistake in mistakes:
                self._tell(mistake)
            told.update(mistakes)
            await asyncio.sleep(WATCH_EVERY)

    async def _until_started(self) -> None:
        with contextlib.suppress(OSError):
            await self._ask("GET /stat.json", "", START_WAIT)

    async def _ask(self, request: str, body: str, wait: float) -> tuple[int, str]:
        """One request on the process's socket: status and body. Raises TimeoutError after `wait` seconds."""
        payload = body.encode()
        head = f"{request} HTTP/1.1\r\nHost: lb2\r\nContent-Length: {len(payload)}\r\n\r\n"
        try:
            async with asyncio.timeout(wait):
                while True:  # a process that is killed takes the connections that wait for it along
                    answer = await self._try_to_ask(head.encode() + payload)
                    if answer:
                        first, _, text = answer.decode().partition("\r\n\r\n")
                        return int(first.split()[1]), text
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise TimeoutError(f"{self.name}: no answer within {wait:.0f} s") from None

    async def _try_to_ask(self, request: bytes) -> bytes:
        writer = None
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
            writer.write(request)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            if writer is not None:
                writer.close()

    def _ended(self, status: int) -> None:
        self._tell(f"the Python balancer ended with status {status}: it is started again")


def _boot(student: SeatProcess | None) -> dict[str, Any]:
    """What the process is made of: the modules of the loop, and the decisions."""
    files = given(CONTROL) | {_path(CONTROL): (CODE / _path(CONTROL)).read_text()}
    if student is not None:
        return {"given": files, "source": student.source, "label": student.label, "limited": True}
    reference = _path(SEATS["python_balancer"].module)
    return {"given": files, "source": (CODE / reference).read_text(), "label": reference, "limited": False}


def _path(module: str) -> str:
    return f"{module.replace('.', '/')}.py"


class BalancerHolder:
    """The balancer in its seat; see agents.seats.Holder. `agent` is the one that applies to `engine`."""

    def __init__(self, agent: Agent, engine: PythonBalancer) -> None:
        self._agent, self._engine = agent, engine

    @property
    def machine(self) -> str:
        """The load balancer's machine."""
        return self._agent.node

    async def take(self, functions: SeatProcess | None) -> None:
        """Go on with a student's decisions, or the reference's (None), in a new process."""
        self._engine.student = functions
        self._agent.resync()

    async def clear(self) -> None:
        """End the process: with it go its listening sockets and the states of its servers."""
        await self._engine.stop()

    async def settle(self) -> str:
        """Apply what is to be applied; "" or what went wrong: then, or in a decision since the process started."""
        return await self._agent.settle() or "; ".join(await self._engine.mistakes())
