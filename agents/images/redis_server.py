"""The redis server: port 6379, an optional password, everything in memory.

    bytes -> resp.take_request -> redis_commands.execute -> resp.encode_reply -> bytes

Replication is not here: a replica (`--replicaof`, `--slaveof`) says so in the log and keeps data of its own.
Source: https://redis.io/docs/latest/develop/reference/protocol-spec/.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence

from agents.images.eventloop import READ, WRITE, Loop
from agents.images.process import write
from agents.images.redis_commands import OK, VERSION, Store, execute
from agents.images.resp import Failure, ProtocolError, Reply, encode_reply, take_request
from agents.images.serve import ENDS_WITH_ZERO, run_until
from agents.images.sockets import listen_tcp

MAX_CLIENTS = 500
# Somebody made a browser speak to the database: the connection ends then, as redis does it.
OF_HTTP = ("POST", "HOST:")


class Client:
    """One connection: its unread bytes, its unsent bytes, whether it gave the password."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server, self._sock = server, sock
        self._received, self._out = b"", b""
        self._trusted = not server.password
        self._closing = False
        server.loop.add(sock.fileno(), READ, self._ready)

    def _ready(self, _events: int) -> None:
        try:
            if not self._out:
                data = self._sock.recv(65536)
                if not data:
                    self._close()
                    return
                self._received += data
                self._answer()
            self._send()
        except BlockingIOError:
            return
        except OSError:
            self._close()

    def _answer(self) -> None:
        """Reply to every complete request in what was received."""
        replies = []
        try:
            while not self._closing and self._received and (taken := take_request(self._received)):
                words, end = taken
                self._received = self._received[end:]
                if words and words[0].upper().decode("utf-8", "replace") in OF_HTTP:
                    note("HTTP is spoken on this port: the connection is ended")
                    self._closing = True
                elif words:
                    replies.append(encode_reply(self._reply([w.decode("utf-8", "replace") for w in words])))
        except ProtocolError as error:
            replies.append(encode_reply(Failure(f"ERR {error}")))
            self._closing = True
        self._out = b"".join(replies)

    def _reply(self, words: list[str]) -> Reply:
        name = words[0].upper()
        if name == "QUIT":
            self._closing = True
            return OK
        if name == "AUTH":
            self._trusted = words[-1] == self._server.password or not self._server.password
            return (
                OK
                if self._trusted
                else Failure("WRONGPASS invalid username-password pair or user is disabled.")
            )
        if not self._trusted:
            return Failure("NOAUTH Authentication required.")
        return execute(self._server.store, words)

    def _send(self) -> None:
        if self._out:
            self._out = self._out[self._sock.send(self._out) :]
        if self._closing and not self._out:
            self._close()
        else:
            self._server.loop.change(self._sock.fileno(), WRITE if self._out else READ)

    def _close(self) -> None:
        self._server.loop.remove(self._sock.fileno())
        self._sock.close()
        self._server.clients -= 1


class Server:
    """The listening socket and the data."""

    def __init__(self, loop: Loop, listener: socket.socket, password: str = "") -> None:
        self.loop, self.password = loop, password
        self.store, self.clients = Store(), 0
        self._listener = listener
        loop.add(listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        if self.clients >= MAX_CLIENTS:
            sock.send(b"-ERR max number of clients reached\r\n")
            sock.close()
            return
        sock.setblocking(False)
        self.clients += 1
        Client(self, sock)


def note(line: str) -> None:
    """One line of redis' log, on stdout."""
    write(f"1:M {time.strftime('%d %b %Y %H:%M:%S')}.000 * {line}\n")


def main(argv: Sequence[str]) -> int:
    """Serve on --port (6379). Other options are accepted and not followed. Exit status 1 when the port is
    taken.
    """
    options = {
        w.removeprefix("--"): v for w, v in zip(argv, [*argv[1:], ""], strict=True) if w.startswith("--")
    }
    port, loop = int(options.get("port", "6379")), Loop()
    try:
        listener = listen_tcp(port)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        note(f"Warning: Could not create server TCP listening socket *:{port}: bind: {why}")
        note(f"Failed listening on port {port} (tcp), aborting.")
        return 1
    Server(loop, listener, options.get("requirepass", ""))
    if "replicaof" in options or "slaveof" in options:
        note("this stand-in does not replicate: it keeps data of its own")
    note(f"Redis version={VERSION}, a stand-in, port={port}")
    note("Ready to accept connections tcp")
    return run_until(loop, ENDS_WITH_ZERO)
