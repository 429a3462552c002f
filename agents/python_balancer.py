"""The Python balancer as an engine of the load balancer: it serves the Services of its class, on the machine lb2.

    frontends --render--> balancer.cfg --POST /reload--> netfns/python_balancer_control.py, a process on lb2
                                          Unix socket     without rights: no capability, no way to get one
                                                          functions: the reference's, or a student's file's

The process starts with the first Service of its class. It binds low ports without a right, since that is allowed
to everybody in lb2's own network namespace (net.ipv4.ip_unprivileged_port_start).

Invariants: a configuration counts as applied once the process has said so; a process that does not answer is
killed, and one that ended is started again and takes its configuration from the file.

Sources: setpriv(1), capabilities(7), "Transformation of capabilities during execve()"; ip-sysctl of the kernel's
documentation.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.daemon import Daemon, Spawner
from agents.dns import write_whole
from netfns import balancer, python_balancer
from netfns.balancer import Balancer, Frontend

CODE = Path(__file__).parent.parent
START_WAIT = 10.0  # seconds for the process to answer after its start
ANSWER_WAIT = 3.0  # seconds for an answer of a process that works
WATCH_EVERY = 2.0  # seconds
NOBODY = 65534


class PythonBalancer:
    """Keeps the balancer on one machine. `folder` is a place for its files, `tell` is told of mistakes and ends."""

    name = "the Python balancer"

    def __init__(self, machine: Spawner, folder: Path, tell: Callable[[str], None]) -> None:
        self.machine = machine
        self._tell = tell
        self._configuration = folder / "balancer.cfg"
        self._socket = folder / "balancer.sock"
        self._log = folder / "balancer.log"
        self._functions: Path | None = None
        self._listener: socket.socket | None = None
        self._daemon: Daemon | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def apply(self, frontends: Sequence[Frontend]) -> None:
        """Serve these frontends. Raises CommandError, OSError, TimeoutError, or RuntimeError when refused."""
        if self._daemon is None and not frontends:
            return
        wanted = Balancer("", tuple(frontends))
        await asyncio.to_thread(balancer.add_addresses, self.machine, wanted)
        write_whole(self._configuration, python_balancer.render(frontends))
        if self._daemon is None:
            await asyncio.to_thread(self.machine.sysctl, "net.ipv4.ip_unprivileged_port_start", "0")
            self._start()
        status, text = await self._ask("POST /reload", START_WAIT)
        if status != 200:
            raise RuntimeError(f"{self._configuration.name}: {text.strip()}")
        await asyncio.to_thread(balancer.remove_addresses, self.machine, wanted)

    async def seat(self, functions: Path | None) -> None:
        """Take the functions from a student's file, or (None) from the reference again."""
        running = self._daemon is not None
        self._functions = functions
        await self.stop()
        if running:
            self._start()

    async def stop(self) -> None:
        """End the process."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._daemon = None
        if self._listener is not None:
            self._listener.close()

    def _start(self) -> None:
        self._socket.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._socket))
        self._listener.listen()
        argv = [*without_rights(), sys.executable, "-m", "netfns.python_balancer_control"]
        argv.append(str(self._configuration))
        if self._functions is not None:
            argv += ["--functions", str(self._functions)]
        self._daemon = Daemon(
            self.machine, argv, self._log, self._ended, cwd=CODE, stdin=self._listener.fileno()
        )
        self._tasks = [asyncio.create_task(work) for work in (self._daemon.run(), self._watch(self._daemon))]

    async def _watch(self, daemon: Daemon) -> None:
        """Kill the process when it does not answer; tell each mistake of a student's file once."""
        told: set[str] = set()
        await self._until_started()
        while True:
            try:
                _, text = await self._ask("GET /stat.json", ANSWER_WAIT)
                mistakes = [mistake for mistake in json.loads(text)["mistakes"] if mistake not in told]
            except (OSError, ValueError):
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
            await self._ask("GET /stat.json", START_WAIT)

    async def _ask(self, request: str, wait: float) -> tuple[int, str]:
        """One request on the process's socket: status and body. Raises OSError (TimeoutError after `wait`)."""
        try:
            async with asyncio.timeout(wait):
                while True:  # a process that is killed takes the connections that wait for it along
                    answer = await self._try_to_ask(request)
                    if answer:
                        head, _, body = answer.decode().partition("\r\n\r\n")
                        return int(head.split()[1]), body
                    await asyncio.sleep(0.05)
        except TimeoutError:
            last = self._log.read_text(errors="replace").splitlines()[-1:] if self._log.exists() else []
            raise TimeoutError(f"no answer within {wait:.0f} s: {''.join(last)}") from None

    async def _try_to_ask(self, request: str) -> bytes:
        writer = None
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
            writer.write(f"{request} HTTP/1.1\r\nHost: lb2\r\n\r\n".encode())
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            if writer is not None:
                writer.close()

    def _ended(self, status: int) -> None:
        self._tell(f"the Python balancer ended with status {status}: it is started again")


def without_rights() -> list[str]:
    """The command before a command that takes all rights from it: capabilities, ways to get them, its user."""
    command = ["setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
    if _is_mapped(NOBODY):
        command += [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [*command, "--"]


def _is_mapped(uid: int) -> bool:
    """Whether this user namespace has the user id; see user_namespaces(7)."""
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    return any(int(first) <= uid < int(first) + int(count) for first, _, count in map(str.split, lines))
