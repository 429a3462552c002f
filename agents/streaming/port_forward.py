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
import struct
from collections.abc import Sequence
from typing import Any

from aiohttp import WSMsgType, web

from agents.dial import connect
from agents.pod_worker import PodWorker
from agents.streaming import connection, pods
from agents.streaming.channels import V4
from agents.streaming.pods import Pods
from agents.streaming.spdy import DATA, Frame
from agents.streaming.spdy_session import Pipe, Refused, Session, Stream
from agents.waiting import cancel
from controlplane.errors import bad_request
from controlplane.http import Target

TUNNEL = "SPDY/3.1+portforward.k8s.io"
PROTOCOL = "portforward.k8s.io"
CHUNK = 1 << 15
MOST_PORTS = 100  # of the older way: a channel is a byte
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
            ports = parse_ports(request.query.getall("ports", []))
            websocket, protocol = await connection.open_websocket(request, (TUNNEL, V4), plain=bool(ports))
            if protocol == TUNNEL:
                await Forwarder(worker).run(connection.WebSocketPipe(websocket), request)
            else:
                await ChannelForwarder(worker, websocket).run(ports, request)
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
        port = pods.port_number(stream.headers.get("port", ""))
        if kind == "error":
            self._waiting[request] = stream
        elif kind == "data" and request in self._waiting and port:
            task = asyncio.create_task(forward(self._worker, port, stream, self._waiting.pop(request)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            raise Refused


class ChannelForwarder:
    """The older way over a WebSocket, which Python's clients know: the ports are named in the request.

    A message's first byte is its channel: 2i is the i-th port's data, 2i+1 its error; each begins with the port.
    """

    def __init__(self, worker: PodWorker, websocket: web.WebSocketResponse) -> None:
        self._worker = worker
        self._websocket = websocket

    async def run(self, ports: Sequence[int], request: web.Request) -> None:
        """Serve until the pod has ended every connection, or the client is gone."""
        streams = [Stream(self, number, {}) for number in range(2 * len(ports))]
        for number, stream in enumerate(streams):
            await stream.send(struct.pack("<H", ports[number // 2]))
        forwarding = asyncio.gather(
            *(forward(self._worker, port, *streams[2 * i : 2 * i + 2]) for i, port in enumerate(ports))
        )
        reading = asyncio.create_task(self._read(streams))
        hung_up = asyncio.create_task(connection.hung_up(request, self._websocket.ping))
        try:
            waiting: set[asyncio.Future[Any]] = {forwarding, reading, hung_up}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel(forwarding, reading, hung_up)

    async def _read(self, streams: Sequence[Stream]) -> None:
        async for message in self._websocket:
            if message.type != WSMsgType.BINARY:
                return
            if len(message.data) > 1 and message.data[0] < len(streams):
                await streams[message.data[0]].receive(Frame(DATA, message.data[0], data=message.data[1:]))

    async def send(self, frame: Frame) -> None:
        """What a stream sends; that one of several has ended cannot be told."""
        if self._websocket.closed:
            raise ConnectionResetError("the client is gone")
        if frame.data:
            await self._websocket.send_bytes(bytes([frame.stream]) + frame.data)

    def forget_if_over(self, number: int) -> None:
        """They all end with the connection."""


def parse_ports(texts: Sequence[str]) -> list[int]:
    """The ports of a request, each text one or several with commas between. Raises StatusError 400."""
    words = [word for text in texts for word in text.split(",")]
    if len(words) > MOST_PORTS:
        raise bad_request(f"ports: {len(words)} of them: at most {MOST_PORTS}")
    for word in words:
        if not pods.port_number(word):
            raise bad_request(f'unable to parse "{word[:40]}" as a port: want 1-65535')
    return [pods.port_number(word) for word in words]


async def forward(worker: PodWorker, port: int, data: Stream, error: Stream) -> None:
    """Connect to a port of the pod and copy both ways until either end has had enough."""
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            reader, writer = await _connect(worker, port)
    except (OSError, TimeoutError) as why:
        text = f"error forwarding port {port} to pod {worker.name}, uid {worker.uid}: {why}"
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
    """Copy both ways until the pod has ended its direction, or the client has gone or given up."""

    async def inward() -> None:
        async for chunk in data.chunks():
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()

    async def outward() -> None:
        while chunk := await reader.read(CHUNK):
            await data.send(chunk)
        await data.finish()

    sending, receiving = asyncio.create_task(inward()), asyncio.create_task(outward())
    try:
        await asyncio.wait({receiving})
    finally:
        await cancel(sending, receiving)
