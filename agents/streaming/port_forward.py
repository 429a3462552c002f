"""pods/portforward: connections of the client's machine, continued to a port inside the pod.

    kubectl :8080 ══ one WebSocket or SPDY connection ══ streams ──> socket in the pod's network ──> localhost:80

A connection is two streams of the same `requestID`: `error`, which is opened first and says what went wrong, and
`data`. The socket is made in the pod's network namespace, so localhost is the pod's own.

Sources: k8s.io/kubelet pkg/cri/streaming/portforward; KEP-4006 "SPDY tunnelled through WebSockets".
"""

from __future__ import annotations

import asyncio
import contextlib
import errno

from aiohttp import web

from agents.dial import connect
from agents.pod_worker import PodWorker
from agents.streaming import connection, pods
from agents.streaming.pods import Pods
from agents.streaming.spdy_session import Pipe, Refused, Session, Stream
from agents.waiting import cancel
from controlplane.http import Target

TUNNEL = "SPDY/3.1+portforward.k8s.io"
PROTOCOL = "portforward.k8s.io"
CHUNK = 1 << 15
CONNECT_WITHIN = 10.0
LOCALHOST = ("127.0.0.1", "::1")


class PortForwardHandler:
    """Answers pods/portforward."""

    def __init__(self, pods_: Pods) -> None:
        self._pods = pods_

    async def __call__(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Serve until the client is gone. Raises StatusError."""
        worker = self._pods.worker(target)
        pods.sandbox(worker)
        if connection.wants_websocket(request):
            websocket, _ = await connection.open_websocket(request, (TUNNEL,))
            await Forwarder(worker).run(connection.WebSocketPipe(websocket), request)
            await connection.close_websocket(websocket)
            return websocket
        pipe = connection.upgrade_to_spdy(request, (PROTOCOL,))
        await Forwarder(worker).run(pipe, request)
        await pipe.close()
        return connection.UpgradedResponse()


class Forwarder:
    """The connections of one client into one pod."""

    def __init__(self, worker: PodWorker) -> None:
        self._worker = worker
        self._waiting: dict[str, Stream] = {}  # error streams, by requestID, until their data stream comes
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, pipe: Pipe, request: web.Request) -> None:
        """Serve a client until it is gone; its connections end with it."""
        session = Session(pipe, self._accept)
        serving = asyncio.create_task(session.run())
        hung_up = asyncio.create_task(connection.hung_up(request, session.ping))
        try:
            await asyncio.wait({serving, hung_up}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel(serving, hung_up, *self._tasks)

    def _accept(self, stream: Stream) -> None:
        kind, request = stream.headers.get("streamtype"), stream.headers.get("requestid", "")
        port = stream.headers.get("port", "")
        if kind == "error":
            self._waiting[request] = stream
        elif kind == "data" and request in self._waiting and port.isdecimal() and 0 < int(port[:6]) < 1 << 16:
            task = asyncio.ensure_future(self._forward(int(port), stream, self._waiting.pop(request)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            raise Refused

    async def _forward(self, port: int, data: Stream, error: Stream) -> None:
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                reader, writer = await _connect(self._worker, port)
        except (OSError, TimeoutError) as why:
            text = f"error forwarding port {port} to pod {self._worker.name}, uid {self._worker.uid}: {why}"
            with contextlib.suppress(ConnectionError):
                await error.send(text.encode())
        else:
            try:
                await _copy(data, reader, writer)
            finally:
                writer.transport.abort()
        finally:
            data.drop()
            error.drop()
            for stream in (data, error):
                await stream.finish()


async def _connect(worker: PodWorker, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a port of the pod's localhost, IPv4 first. Raises OSError."""
    if worker.sandbox is None or worker.sandbox.closed:
        raise ProcessLookupError(errno.ESRCH, "the pod is not running")
    failures = []
    for address in LOCALHOST:
        try:
            made = await connect(worker.sandbox.namespaces, address, port)
            return await asyncio.open_connection(sock=made, limit=CHUNK)
        except OSError as error:
            failures.append(str(error.strerror))
    raise ConnectionError(
        f"failed to connect to localhost:{port} inside the pod's network: {', '.join(failures)}"
    )


async def _copy(data: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy both ways until the pod has ended its direction, or one of the two is gone."""

    async def inward() -> None:
        async for chunk in data.chunks():
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()

    async def outward() -> None:
        while chunk := await reader.read(CHUNK):
            await data.send(chunk)
        await data.finish()

    sending, receiving = asyncio.ensure_future(inward()), asyncio.ensure_future(outward())
    try:
        await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_EXCEPTION)
        # both have ended, or one has failed, which ends the connection
    finally:
        for task in (sending, receiving):
            task.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)
