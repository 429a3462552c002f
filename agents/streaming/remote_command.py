"""A command in a container, and the container's own program, connected to a client's channels.

    stdin  > ── write ──> pipe or terminal ──> process
    stdout < ── read ───< pipe or terminal <──    "        exit status ──> Status on the error channel
    resize > ── TIOCSWINSZ

A process that somebody started lives no longer than that somebody's connection: when the client is gone it is killed.

Invariant: all that the process wrote is sent before its Status is.

Sources: k8s.io/kubelet pkg/cri/streaming/remotecommand; Container Runtime Interface, Exec and Attach; setsid(1).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.descriptors import chunks, ended, resize, write_all
from agents.handlers import Target
from agents.streaming.channels import ERROR, RESIZE, STDERR, STDIN, STDOUT, Channels, Message
from agents.waiting import cancel

Obj = dict[str, Any]
SETSID = "/usr/bin/setsid"
SUCCESS: Obj = {"metadata": {}, "status": "Success"}


@dataclass(frozen=True)
class Wanted:
    """What a client asks for: a command (not for attach) and streams. A terminal has no stderr of its own."""

    command: tuple[str, ...]
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool

    def channels(self) -> list[int]:
        """The channels that it uses."""
        asked = {STDIN: self.stdin, STDOUT: self.stdout, STDERR: self.stderr, RESIZE: self.tty}
        return [ERROR, *(channel for channel, wanted in asked.items() if wanted)]


class StartError(Exception):
    """The command cannot be run; the message is the container runtime's."""


class Input:
    """What goes into a process: our end of its pipe or terminal, which this closes; None: nothing goes in.

    `on_close` is called once.
    """

    def __init__(
        self, descriptor: int | None, *, terminal: bool, on_close: Callable[[], None] = lambda: None
    ) -> None:
        self._descriptor = descriptor
        self._terminal = terminal
        self._on_close = on_close

    async def take(self, message: Message) -> None:
        """Do what a client says. Raises OSError when the process does not read any more."""
        if self._descriptor is None:
            return
        if message.channel == RESIZE and self._terminal:
            size = parse_size(message.data or b"")
            if size is not None:
                resize(self._descriptor, *size)
        elif message.channel == STDIN and message.data is not None:
            await write_all(self._descriptor, message.data)
        elif message.channel == STDIN and not self._terminal:
            self.close()

    def close(self) -> None:
        """The process gets no more. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self._on_close()


@dataclass(frozen=True)
class Running:
    """A process and our ends of its streams. outputs: descriptor -> channel."""

    process: subprocess.Popen[bytes]
    input: Input
    outputs: Mapping[int, int]

    def kill(self) -> None:
        """End it, if it has not ended, with all that is in its process group."""
        if self.process.poll() is None:
            self.process.kill()
            with contextlib.suppress(ProcessLookupError):  # it leads no group yet
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def close(self) -> None:
        """Close our ends."""
        self.input.close()
        for descriptor in self.outputs:
            os.close(descriptor)


def start(target: Target, wanted: Wanted) -> Running:
    """Start the command in the container; blocks a little. Raises StartError, ProcessLookupError, OSError."""
    namespaces = target.namespaces()
    env = dict(target.env) | ({"TERM": "xterm"} if wanted.tty else {})
    with namespaces.entered():
        _find(wanted.command[0], env, target.working_dir)
    ours, theirs = _terminal() if wanted.tty else _pipes(wanted)
    words = [*target.rights.words, *wanted.command]
    argv = [SETSID, "--ctty", *words] if wanted.tty else words
    try:
        process = namespaces.popen(
            argv, env=env, cwd=target.working_dir, stdin=theirs[0], stdout=theirs[1], stderr=theirs[2],
            start_new_session=not wanted.tty,
        )  # fmt: skip
    except BaseException:
        for descriptor in ours.values():
            os.close(descriptor)
        raise
    finally:
        for descriptor in set(theirs):
            os.close(descriptor)
    into = Input(ours.pop(STDIN, None), terminal=wanted.tty)
    return Running(process, into, {descriptor: channel for channel, descriptor in ours.items()})


def _find(program: str, env: Mapping[str, str], working_dir: str) -> None:
    """Raises StartError, in a container runtime's words, when there is no such program."""
    if "/" in program:
        found, why = shutil.which(os.path.join(working_dir, program)), "no such file or directory"
    else:
        found, why = (
            shutil.which(program, path=env.get("PATH", os.defpath)),
            "executable file not found in $PATH",
        )
    if found is None:
        raise StartError(f'unable to start container process: exec: "{program}": {why}')


def _terminal() -> tuple[dict[int, int], tuple[int, int, int]]:
    master, slave = os.openpty()
    os.set_blocking(master, False)
    return {STDIN: os.dup(master), STDOUT: master}, (slave, slave, slave)


def _pipes(wanted: Wanted) -> tuple[dict[int, int], tuple[int, int, int]]:
    """Our ends by channel, and the process's 0, 1 and 2; /dev/null for what is not wanted."""
    ours: dict[int, int] = {}
    theirs = [os.open(os.devnull, os.O_RDWR) for _ in range(3)]
    for channel, asked in ((STDIN, wanted.stdin), (STDOUT, wanted.stdout), (STDERR, wanted.stderr)):
        if asked:
            read, write = os.pipe()
            os.close(theirs[channel])
            ours[channel], theirs[channel] = (write, read) if channel == STDIN else (read, write)
            os.set_blocking(ours[channel], False)
    return ours, (theirs[0], theirs[1], theirs[2])


async def execute(channels: Channels, running: Running, hung_up: asyncio.Future[None]) -> None:
    """Connect a process to a client until the one ends or the other is gone; the process never outlives this."""
    last = asyncio.Event()
    ending = asyncio.create_task(ended(running.process))
    feeding = asyncio.create_task(feed(channels, running.input))
    sending = asyncio.create_task(_send_all(channels, running, last))
    try:
        waiting: set[asyncio.Future[Any]] = {ending, feeding, hung_up}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            last.set()
            await asyncio.wait({sending, hung_up}, return_when=asyncio.FIRST_COMPLETED)
            await tell(channels, exit_status(ending.result()))
    finally:
        running.kill()
        await cancel(ending, feeding, sending)
        running.close()


async def tell(channels: Channels, status: Obj) -> None:
    """Send the Status; a client that is gone needs none."""
    with contextlib.suppress(ConnectionError):
        await channels.send(ERROR, json.dumps(status).encode())


async def _send_all(channels: Channels, running: Running, last: asyncio.Event) -> None:
    async def send(descriptor: int, channel: int) -> None:
        async for data in chunks(descriptor, last):
            await channels.send(channel, data)

    try:
        async with asyncio.TaskGroup() as group:
            for descriptor, channel in running.outputs.items():
                group.create_task(send(descriptor, channel))
    except* ConnectionError:
        pass  # the client is gone, which `execute` notices by itself


async def feed(channels: Channels, into: Input) -> None:
    """Give a process what the client sends, until the client is gone."""
    async for message in channels.incoming():
        with contextlib.suppress(OSError):  # it does not read any more
            await into.take(message)


def parse_size(data: bytes) -> tuple[int, int] | None:
    """Width and height from a message of the resize channel; None when it is not one."""
    try:
        size = json.loads(data)
        width, height = int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def exit_status(code: int) -> Obj:
    """The Status for an exit status, or for minus a signal's number, which a shell tells as 128 and that number."""
    if code == 0:
        return SUCCESS
    code = code if code > 0 else 128 - code
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure(why: str) -> Obj:
    """The Status for a command that could not be started."""
    message = f"error executing command in container: {why}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }
