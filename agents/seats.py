"""The seats of a lab: who carries out a network function now, the reference or a student's file.

    minipod netfn service=./my_service.py
         |
         v
    Seats.fill("service", file) ──> each node's agent takes it ──> renders everything anew ──> what went wrong, by node

    agent ──render(desired)──> StudentService ──> SeatProcess: their code, behind walls
          <── a text that was vetted ──┘
          ──apply(text)──> the kernel: our code, for it needs rights

Invariant: of a student's file only pure functions are called, and only in a confined process. What they get wrong is a
failure of the agent's step: an event on the Node, and the kernel stays as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from agents import vetting
from agents.agent import Agent
from agents.seat_process import SeatError, SeatProcess
from netfns import SEATS, overlay, service
from netfns.kernel import CommandError, Kernel
from netfns.overlay import Batches, Overlay
from netfns.service_types import ServiceProxy

MOST_SOURCE = 128 * 1024  # characters of a student's file


@dataclass(frozen=True)
class StudentFile:
    """A file that takes a seat: its text, and how it is called when something is said of it."""

    label: str
    source: str


class Holder(Protocol):
    """Whoever does a seat's work on one machine, and can be told to do it with a student's file."""

    @property
    def machine(self) -> str:
        """The machine's name."""

    async def take(self, functions: Any) -> None:
        """Go on with these functions (what `student_functions` made), or with the reference's (None)."""

    async def clear(self) -> None:
        """Take away what the function has put into the kernel."""

    async def settle(self) -> str:
        """Do what is to be done now; "" or what went wrong, as one line."""


class Seats:
    """Who sits where in one lab; see the head of this file."""

    def __init__(self) -> None:
        self.files: dict[str, StudentFile] = {}
        self._holders: dict[str, list[Holder]] = {}
        self._processes: dict[str, SeatProcess] = {}
        self._one_at_a_time = asyncio.Lock()

    def add(self, seat: str, holder: Holder) -> None:
        """`holder` does the work of a seat on one machine."""
        self._holders.setdefault(seat, []).append(holder)

    def names(self) -> list[str]:
        """The seats that can be filled."""
        return sorted(self._holders)

    def prepare(self, seat: str, file: StudentFile) -> SeatProcess:
        """Load a student's file in a process of its own. Blocks. Raises SeatError: it cannot take the seat."""
        if seat not in self._holders:
            raise SeatError(f"{seat}: no such seat: want one of {', '.join(self.names())}")
        if len(file.source) > MOST_SOURCE:
            raise SeatError(f"{file.label}: {len(file.source)} characters: want at most {MOST_SOURCE}")
        process = SeatProcess(file.source, file.label, SEATS[seat].module)
        try:
            process.load()
        except BaseException:
            process.close()
            raise
        return process

    async def begin(self, files: dict[str, StudentFile]) -> None:
        """Fill seats before their agents run. Raises SeatError."""
        for seat, file in files.items():
            process = await asyncio.to_thread(self.prepare, seat, file)
            self._processes[seat], self.files[seat] = process, file
            await _of_all(holder.take(STUDENTS[seat](process)) for holder in self._holders[seat])

    async def fill(self, seat: str, file: StudentFile | None, *, clear: bool = False) -> dict[str, str]:
        """Give a seat to a student's file, or back to the reference (None); `clear`: from an empty kernel on.

        Returns what went wrong by machine. Raises SeatError when the file cannot be loaded: nothing has changed then.
        """
        async with self._one_at_a_time:
            if file is None and seat not in self._holders:
                raise SeatError(f"{seat}: no such seat: want one of {', '.join(self.names())}")
            process = None if file is None else await asyncio.to_thread(self.prepare, seat, file)
            old = self._processes.pop(seat, None)
            self.files.pop(seat, None)
            if process is not None and file is not None:
                self._processes[seat], self.files[seat] = process, file
            functions = None if process is None else STUDENTS[seat](process)
            holders = self._holders[seat]
            await _of_all(holder.take(functions) for holder in holders)
            if old is not None:
                await asyncio.to_thread(old.close)
            if clear:
                await _of_all(
                    holder.settle() for holder in holders
                )  # no step with the functions of before is left
                await _of_all(holder.clear() for holder in holders)
                await _of_all(holder.take(functions) for holder in holders)
            return await self.settle(seat)

    async def settle(self, seat: str = "") -> dict[str, str]:
        """Let everybody in a seat (or in all of them) do what is to be done; what went wrong, by machine."""
        holders = [h for name, some in self._holders.items() if seat in ("", name) for h in some]
        errors = await _of_all(holder.settle() for holder in holders)
        return {holder.machine: error for holder, error in zip(holders, errors, strict=True) if error}

    def process(self, seat: str) -> SeatProcess:
        """The process of the file in a seat. Raises SeatError."""
        if seat not in self._processes:
            raise SeatError(
                f"{seat}: the reference is in this seat: fill it with `minipod netfn {seat}=FILE`"
            )
        return self._processes[seat]


async def _of_all(work: Iterable[Any]) -> list[Any]:
    return list(await asyncio.gather(*work))


class AgentHolder:
    """An agent in a seat: `put` gives it the functions, `reference` are those that it has otherwise.

    beside: a student's rules would stand beside the reference's instead of replacing them, so what is left is removed.
    """

    def __init__(
        self,
        agent: Agent,
        kernel: Kernel,
        reference: Any,
        put: Callable[[Any], None],
        *,
        beside: bool = False,
    ) -> None:
        self._agent, self._kernel, self._reference, self._put = agent, kernel, reference, put
        self._beside = beside
        self._functions = reference

    @property
    def machine(self) -> str:
        """The node."""
        return self._agent.node

    async def take(self, functions: Any) -> None:
        """See Holder."""
        old, self._functions = self._functions, self._reference if functions is None else functions
        self._put(self._functions)
        if self._beside and old is not self._functions:
            await asyncio.to_thread(old.remove, self._kernel)
        self._agent.resync()

    async def clear(self) -> None:
        """See Holder."""
        await asyncio.to_thread(self._functions.remove, self._kernel)

    async def settle(self) -> str:
        """See Holder."""
        return await self._agent.settle()


@contextmanager
def _vetted(label: str) -> Iterator[None]:
    """What vetting refuses within the block is told as a failure of the file. Raises SeatError."""
    try:
        yield
    except vetting.VettingError as error:
        raise SeatError(f"{label}: the text of render is not loaded: {error}") from None


class StudentOverlay:
    """A student's netfns/overlay.py, as the overlay's agent calls it."""

    prepare = staticmethod(overlay.prepare)

    def __init__(self, process: SeatProcess) -> None:
        self._process = process
        self._refused: dict[str, tuple[Batches, CommandError]] = {}  # by machine

    def render(self, desired: Overlay) -> Batches:
        """What the student's `render` says, if it may be said. Raises SeatError."""
        wanted = self._process.call("render", desired)
        if not isinstance(wanted, Batches):
            raise SeatError(f"{self._process.label}: render: want Batches, got {type(wanted).__name__}")
        pod_cidrs = [cidr for end in (desired.local, *desired.peers) for cidr in end.pod_cidrs]
        with _vetted(self._process.label):
            vetting.links(wanted.ip, overlay.DEVICE, pod_cidrs)
            vetting.forwarding(wanted.bridge, overlay.DEVICE)
        return wanted

    def apply(self, kernel: Kernel, wanted: Batches) -> None:
        """Load it; when a line is refused, put back what was there, and do not try the same again.

        Raises CommandError.
        """
        text, refusal = self._refused.get(kernel.name, (None, None))
        if refusal is not None and text == wanted:
            raise refusal
        held = overlay.observe(kernel)
        try:
            overlay.apply(kernel, wanted)
        except CommandError as error:
            self._refused[kernel.name] = wanted, error
            overlay.apply(kernel, held) if held.ip else self.remove(kernel)
            raise

    @staticmethod
    def remove(kernel: Kernel) -> None:
        """Take the tunnel away, and with it every route and entry on it."""
        if overlay.observe(kernel).ip:
            kernel.ip(f"link del {overlay.DEVICE}\n")


class StudentService:
    """A student's netfns/service.py, as kube-proxy calls it: a proxy mode that renders every change as a whole."""

    prepare = staticmethod(service.prepare)
    observe = staticmethod(service.observe)
    remove = staticmethod(service.remove)
    render_change = None

    def __init__(self, process: SeatProcess) -> None:
        self._process = process

    def render(self, desired: ServiceProxy) -> str:
        """What the student's `render` says, if it may be said. Raises SeatError."""
        text = self._process.call("render", desired)
        if not isinstance(text, str):
            raise SeatError(f"{self._process.label}: render: want a text, got {type(text).__name__}")
        with _vetted(self._process.label):
            vetting.ruleset(text, service.TABLE)
        return text

    @staticmethod
    def apply(kernel: Kernel, text: str) -> None:
        """Load it as one transaction. Raises CommandError, and then nothing has changed."""
        kernel.nft(text)

    @staticmethod
    def intact(kernel: Kernel, _: Iterable[str]) -> bool:
        """Whether there is a table at all: what should be in it, and in which families, only the student knows."""
        return bool(service.observe(kernel))


def _the_process(process: SeatProcess) -> SeatProcess:
    """A balancer decides too often to ask by JSON: its own process, which has no rights either, loads the source."""
    return process


STUDENTS: dict[str, Callable[[SeatProcess], Any]] = {
    "overlay": StudentOverlay,
    "service": StudentService,
    "python_balancer": _the_process,
}
