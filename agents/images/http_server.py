r"""The HTTP/1.1 server of all stand-ins: one process, a loop, a small object for each connection.

    listener readable -> accept -> Connection
    Connection readable -> bytes -> Request -> handler(request) -> Response -> bytes -> send
                                                 \-> response.slow: forked process answers, parent goes on

Invariants: nothing here waits (a handler that must, returns a `slow` response and gets a process of its own);
a connection serves one request, then lets the others have their turn; a client that does not read is not read
from; one that is slower than the deadlines is closed. While no client is connected no timer is set.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable

from agents.images.eventloop import READ, WRITE, Loop
from agents.images.grpc_health import PREFACE, GrpcConnection
from agents.images.http_message import (
    MAX_HEAD,
    REASONS,
    HTTPError,
    Request,
    Response,
    body_length,
    encode,
    parse_head,
    take_chunked,
    text_response,
)
from agents.images.process import log
from agents.images.sockets import address_of

Handler = Callable[[Request], Response]

MAX_CONNECTIONS = 900  # below the usual limit of 1,024 open files
MAX_SLOW = 64  # processes that answer slow requests at one time
REQUEST_SECONDS = 20.0  # from the first byte of a request to its last
IDLE_SECONDS = 75.0  # between two requests
_SWEEP_SECONDS = 1.0
_RECEIVE = 64 * 1024
_ACCEPT_AT_ONCE = 32
_LARGE = 64 * 1024
_NOTHING = memoryview(b"")


class HTTPServer:
    """Serves requests that come to one listening socket.

    `handler` is called for each request; an error in it is answered with 500 and told in the log. `server` is
    the Server header. `on_answer`, when given, is called with each request and its response (access log);
    `error_page` makes the body for a request that could not be read. `grpc`: clients that begin with HTTP/2 get
    the answer to a gRPC health check.
    """

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        handler: Handler,
        *,
        server: str = "",
        on_answer: Callable[[Request, Response], None] | None = None,
        error_page: Callable[[int], Response] | None = None,
        grpc: bool = False,
    ) -> None:
        self.loop = loop
        self.handler = handler
        self.server = server
        self.on_answer = on_answer
        self.error_page = error_page or (lambda status: text_response(f"{status} {REASONS[status]}", status))
        self.grpc = grpc
        self._listener = listener
        self._connections: dict[int, Connection | GrpcConnection] = {}
        self._slow: set[int] = set()
        self._when_drained: Callable[[], None] | None = None
        loop.add(listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                sock, _name = self._listener.accept()
            except OSError:  # nothing left, or the client has gone already
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self._connections:
                self.loop.call_later(_SWEEP_SECONDS, self._sweep)
            self._connections[sock.fileno()] = Connection(self, sock)
            if len(self._connections) >= MAX_CONNECTIONS:
                self.loop.change(self._listener.fileno(), 0)  # the rest waits in the backlog
                return

    def _sweep(self) -> None:
        """Close what is past its deadline; ends itself with the last connection."""
        now = time.monotonic()
        for connection in [c for c in self._connections.values() if c.deadline < now]:
            connection.close()
        if self._connections:
            self.loop.call_later(_SWEEP_SECONDS, self._sweep)

    def forget(self, fd: int) -> None:
        """A connection has closed (called by the connection)."""
        was_full = len(self._connections) >= MAX_CONNECTIONS
        self._connections.pop(fd, None)
        if was_full and self._when_drained is None:
            self.loop.change(self._listener.fileno(), READ)
        if self._when_drained and not self._connections:
            self._when_drained()

    def hand_to_grpc(self, sock: socket.socket, received: bytes) -> None:
        """A connection turns out to speak HTTP/2 (called by the connection)."""
        descriptor = sock.fileno()
        self.loop.remove(descriptor)
        connection = GrpcConnection(self, sock, received)
        if sock.fileno() >= 0:
            self._connections[descriptor] = connection

    @property
    def draining(self) -> bool:
        """Whether the server takes no new requests."""
        return self._when_drained is not None

    def drain(self, when_done: Callable[[], None]) -> None:
        """Stop listening, close idle connections, and call `when_done` once the last request has been
        answered.
        """
        self.loop.remove(self._listener.fileno())
        self._listener.close()
        self._when_drained = when_done
        if not self._connections:
            when_done()
        for connection in [c for c in self._connections.values() if c.idle]:
            connection.close()

    def respond(self, request: Request) -> Response:
        """The handler's response, whatever happens in it."""
        try:
            return self.handler(request)
        except Exception as error:  # one bad request must not end the server
            log(f"{request.method} {request.target}: {type(error).__name__}: {error}")
            return self.error_page(500)

    def answer_elsewhere(self, sock: socket.socket, request: Request, slow: Callable[[], Response]) -> bool:
        """Fork a process that makes the response and sends it. False when too many are at work."""
        self._slow = {pid for pid in self._slow if _alive(pid)}
        if len(self._slow) >= MAX_SLOW:
            return False
        pid = os.fork()
        if pid:
            self._slow.add(pid)
            return True
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._listener.close()
            sock.settimeout(REQUEST_SECONDS)
            response = slow()
            if self.on_answer:
                self.on_answer(request, response)
            head_only = request.method == "HEAD"
            sock.sendall(encode(response, head_only=head_only, keep_alive=False, server=self.server))
        except OSError:
            pass  # the client has gone
        finally:
            os._exit(0)


def _alive(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:  # collected by the SIGCHLD handler
        return False


class Connection:
    """One client's connection: collects a request, hands it over, sends the response, begins anew."""

    __slots__ = (
        "_body",
        "_continued",
        "_last",
        "_out",
        "_server",
        "_sock",
        "_sock_events",
        "deadline",
        "idle",
        "received",
    )

    def __init__(self, server: HTTPServer, sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self.received = b""
        self._out = _NOTHING
        self._body = _NOTHING  # what is sent after `_out`
        self._last = False  # close when `_out` is sent
        self._continued = False
        self.idle = True
        self.deadline = time.monotonic() + REQUEST_SECONDS
        self._sock_events = READ
        server.loop.add(sock.fileno(), READ, self._ready)

    def close(self) -> None:
        """Close the connection and forget what was received."""
        fd = self._sock.fileno()
        if fd < 0:
            return
        self._server.loop.remove(fd)
        self._sock.close()
        self._server.forget(fd)

    def _ready(self, _events: int) -> None:
        try:
            if self._out:
                self._send()
            else:
                self._receive()
        except OSError:  # reset by the client, broken pipe
            self.close()

    def _receive(self) -> None:
        try:
            data = self._sock.recv(_RECEIVE)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        if self.idle:
            self.idle = False
            self.deadline = time.monotonic() + REQUEST_SECONDS
        self.received += data
        if self._server.grpc and PREFACE.startswith(self.received[: len(PREFACE)]):
            if len(self.received) >= len(PREFACE):
                self._server.hand_to_grpc(self._sock, self.received)
        else:
            self._serve()

    def _serve(self) -> None:
        """Answer the request that is complete in what was received, if there is one."""
        try:
            request = self._take_request()
        except HTTPError as error:
            response = self._server.error_page(error.status)
            self._out = memoryview(
                encode(response, head_only=False, keep_alive=False, server=self._server.server)
            )
            self._last = True
            self._send()
            return
        if request is None:
            return
        request.client = address_of(self._sock.getpeername())
        request.local = address_of(self._sock.getsockname())
        response = self._server.respond(request)
        if response.slow:
            self._hand_over(request, response.slow)
        elif response.none:
            self.close()
        else:
            self._answer(request, response)

    def _take_request(self) -> Request | None:
        end = self.received.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            if len(self.received) >= MAX_HEAD:
                raise HTTPError(431, "head too large")
            return None
        request = parse_head(self.received[:end].lstrip(b"\r\n"))
        length, start = body_length(request), end + 4
        if length is None:
            chunked = take_chunked(self.received, start)
            if chunked is None:
                self._go_on(request)
                return None
            request.body, after = chunked
        elif len(self.received) < start + length:
            self._go_on(request)
            return None
        else:
            after = start + length
            request.body = self.received[start:after]
        self.received = self.received[after:]
        self._continued = False
        return request

    def _go_on(self, request: Request) -> None:
        """Tell a client that waits for a word before it sends the body (RFC 9110 section 10.1.1)."""
        if request.header("expect").lower() == "100-continue" and not self._continued:
            self._continued = True
            self._sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _hand_over(self, request: Request, slow: Callable[[], Response]) -> None:
        if self._server.answer_elsewhere(self._sock, request, slow):
            self.close()  # the forked process holds the connection now
        else:
            self._answer(request, text_response("too many slow requests at a time\n", 503))

    def _answer(self, request: Request, response: Response) -> None:
        if self._server.on_answer:
            self._server.on_answer(request, response)
        asked_to_close = any(n.lower() == "connection" and v == "close" for n, v in response.headers)
        keep = request.keep_alive() and not asked_to_close and not self._server.draining
        head_only = request.method == "HEAD"
        large = len(response.body) > _LARGE and not head_only
        data = encode(response, head_only=head_only or large, keep_alive=keep, server=self._server.server)
        self._out = memoryview(data)
        if large:  # not copied: many clients may be reading the same file
            self._body = memoryview(response.body)
        self._last = not keep
        self._send()

    def _send(self) -> None:
        self.deadline = time.monotonic() + REQUEST_SECONDS
        try:
            for _ in range(2):  # the head, then as much of a large body as the socket takes
                self._out = self._out[self._sock.send(self._out) :]
                if self._out or not self._body:
                    break
                self._out, self._body = self._body, _NOTHING
        except BlockingIOError:
            pass
        if self._out:
            self._wait_for(WRITE)
        elif self._last:
            self._finish()
        else:
            self._wait_for(READ)
            self.idle = not self.received
            if self.idle and self._server.draining:
                self.close()
                return
            if self.received:  # a pipelined request: after the others have had their turn
                self._server.loop.call_later(0, self._serve_next)
            else:
                self.deadline = time.monotonic() + IDLE_SECONDS

    def _serve_next(self) -> None:
        try:
            if self._sock.fileno() >= 0 and not self._out:
                self._serve()
        except OSError:
            self.close()

    def _finish(self) -> None:
        """Close so that the client gets the whole response even when it has sent more than was read."""
        self._sock.shutdown(socket.SHUT_WR)
        try:
            while self._sock.recv(_RECEIVE):
                pass
        except BlockingIOError:
            pass
        self.close()

    def _wait_for(self, events: int) -> None:
        if events != self._sock_events:
            self._sock_events = events
            self._server.loop.change(self._sock.fileno(), events)
