"""pods/exec and pods/attach: a client's channels are opened, then agents/streaming/remote_command.py connects them.

Source: Kubernetes API reference, "connect GET requests to exec of Pod", PodExecOptions, PodAttachOptions.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from aiohttp import web

from agents.container import Container
from agents.pod_worker import PodWorker
from agents.streaming import connection, pods, remote_command
from agents.streaming.channels import (
    SPDY_PROTOCOLS,
    STDERR,
    STDOUT,
    WEBSOCKET_PROTOCOLS,
    Channels,
    SpdyChannels,
    WebSocketChannels,
)
from agents.streaming.log_reader import LogReader
from agents.streaming.pods import Pods
from agents.streaming.remote_command import Input, StartError, Wanted, failure, feed, tell
from agents.waiting import cancel
from controlplane.errors import bad_request
from controlplane.http import Target

Serve = Callable[[Channels, "asyncio.Future[None]"], Awaitable[None]]


def parse_wanted(request: web.Request, *, command: bool) -> Wanted:
    """The options of an exec or attach request. Raises StatusError 400."""
    asked = {name: request.query.get(name) in ("true", "1") for name in ("stdin", "stdout", "stderr", "tty")}
    if not (asked["stdin"] or asked["stdout"] or asked["stderr"]):
        raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
    words = tuple(request.query.getall("command", [])) if command else ()
    if command and not words:
        raise bad_request("you must specify at least one command for the container")
    if any("\0" in word for word in words):
        raise bad_request("command: a word with a zero byte")
    asked["stderr"] = asked["stderr"] and not asked["tty"]
    return Wanted(words, **asked)


class CommandHandler:
    """Answers pods/exec, or pods/attach."""

    def __init__(self, pods_: Pods, *, attach: bool = False) -> None:
        self._pods = pods_
        self._attach = attach

    async def __call__(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Serve until the command has ended or the client is gone. Raises StatusError."""
        worker = self._pods.worker(target)
        found = pods.container(worker, request.query.get("container", ""))
        wanted = parse_wanted(request, command=not self._attach)
        websocket = connection.wants_websocket(request)
        pods.running_in(worker, found)

        async def serve(channels: Channels, hung_up: asyncio.Future[None]) -> None:
            if self._attach:
                await _attach(channels, worker, found, wanted, hung_up)
            else:
                await _exec(channels, found, wanted, hung_up)

        return await (_over_websocket if websocket else _over_spdy)(request, wanted, serve)


async def _over_websocket(request: web.Request, wanted: Wanted, serve: Serve) -> web.StreamResponse:
    socket, protocol = await connection.open_websocket(request, WEBSOCKET_PROTOCOLS)
    channels = WebSocketChannels(socket, protocol)
    await _serve(request, channels, serve, channels.greet(wanted.channels()[-1]))
    return socket


async def _over_spdy(request: web.Request, wanted: Wanted, serve: Serve) -> web.StreamResponse:
    pipe = connection.upgrade_to_spdy(request, SPDY_PROTOCOLS)
    try:
        channels = await SpdyChannels.open(pipe, wanted.channels())
    except (ConnectionError, TimeoutError):
        return connection.UpgradedResponse()
    await _serve(request, channels, serve)
    return connection.UpgradedResponse()


async def _serve(
    request: web.Request, channels: Channels, serve: Serve, greeting: Awaitable[None] | None = None
) -> None:
    hung_up = asyncio.ensure_future(connection.hung_up(request, channels.ping))
    try:
        if greeting is not None:
            await greeting
        await serve(channels, hung_up)
    except ConnectionError:
        return
    finally:
        hung_up.cancel()
        await channels.close()


async def _exec(channels: Channels, found: Container, wanted: Wanted, hung_up: asyncio.Future[None]) -> None:
    try:
        threads = found.target.rights.threads
        running = await asyncio.get_running_loop().run_in_executor(
            threads, remote_command.start, found.target, wanted
        )
    except (StartError, OSError) as error:
        await tell(channels, failure(str(error)))
        return
    await remote_command.execute(channels, running, hung_up)


async def _attach(
    channels: Channels, worker: PodWorker, found: Container, wanted: Wanted, hung_up: asyncio.Future[None]
) -> None:
    """Show what the container writes from now on, and give it what the client sends, if it takes anything.

    A container with stdinOnce is there for one client, who gets all of its output and whose end is its input's end.
    """
    sandbox, once = pods.running_in(worker, found), bool(found.spec.get("stdinOnce"))
    descriptor = sandbox.inputs.get(found.name) if wanted.stdin or wanted.tty else None
    into = Input(
        None if descriptor is None else os.dup(descriptor),
        terminal=bool(found.spec.get("tty")),
        on_close=lambda: sandbox.close_input(found.name) if once else None,
    )
    reader = LogReader(found.log)
    if not once:
        reader.skip_to_end()
    feeding = asyncio.ensure_future(feed(channels, into))
    showing = asyncio.ensure_future(_show(channels, reader, wanted, lambda: found.name in sandbox.containers))
    try:
        await asyncio.wait({feeding, showing, hung_up}, return_when=asyncio.FIRST_COMPLETED)
        if showing.done():
            await tell(channels, remote_command.SUCCESS)
    finally:
        await cancel(feeding, showing)
        reader.close()
        into.close()


async def _show(channels: Channels, reader: LogReader, wanted: Wanted, running: Callable[[], bool]) -> None:
    channel_of = {"stdout": STDOUT, "stderr": STDERR}
    shown = {
        channel_of[name] for name, asked in (("stdout", wanted.stdout), ("stderr", wanted.stderr)) if asked
    }
    async for records in reader.follow(running):
        for record in records:
            channel = channel_of[record.stream]
            if channel in shown:
                await channels.send(channel, record.text)
