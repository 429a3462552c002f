"""`agnhost guestbook`: three tiers out of one program, as Kubernetes' e2e tests run them.

    frontend --/guestbook?cmd=set--> agnhost-primary:6379 /set --> each registered replica /set
             --/guestbook?cmd=get--> agnhost-replica:6379 /get
    replica  --/register?host=OWN-ADDRESS--> primary, at its start; the reply is the whole store

Source: test/images/agnhost/README.md (guestbook).
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from urllib.parse import quote

from agents.images.flags import Flags, Value
from agents.images.http_client import DialError, get
from agents.images.http_message import Request, Response, text_response
from agents.images.process import end_on, log
from agents.images.serve import ENDS_AS_GO, run_http

FLAGS: dict[str, Value] = {"http-port": 80, "backend-port": 6379, "replicaof": ""}
REGISTER_SECONDS = 15.0
_RETRY_SECONDS = 1.0


def main(argv: Sequence[str]) -> int:
    """Serve; a replica registers first. Exit status 1 when that fails for 15 seconds or the port is taken."""
    flags = Flags(argv[1:], FLAGS)
    book = Guestbook(flags.number("backend-port"))
    end_on(ENDS_AS_GO)
    primary = flags.text("replicaof")
    if primary and not book.register(primary):
        log("Timed out while registering to primary.")
        return 1
    return run_http(flags.number("http-port"), book.answer, ENDS_AS_GO)


class Guestbook:
    """The store, and the replicas that get every change."""

    def __init__(self, backend_port: int) -> None:
        self._port = backend_port
        self._store: dict[str, str] = {}
        self._replicas: list[str] = []

    def register(self, primary: str) -> bool:
        """Tell the primary our address and take over its store; False when it did not answer in time."""
        end = time.monotonic() + REGISTER_SECONDS
        while time.monotonic() < end:
            try:
                own = own_address(primary, self._port)
                _, body = get(primary, self._port, f"/register?host={own}")
                self._store = json.loads(body)["data"]
                log(f"Registered to node: {primary}")
                return True
            except (DialError, OSError, ValueError) as error:
                log(
                    f"encountered error while registering to primary: {error}. Retrying in {_RETRY_SECONDS}s."
                )
                time.sleep(_RETRY_SECONDS)
        return False

    def answer(self, request: Request) -> Response:
        """The endpoints /register, /get, /set and /guestbook."""
        form = request.form()
        key, value = form.get("key", ""), form.get("value", "")
        log(f"GET {request.target}")
        if request.path == "/register":
            self._replicas.append(form.get("host", ""))
            return text_response(json.dumps({"data": self._store}))
        if request.path == "/get":
            return text_response(json.dumps({"data": self._store.get(key, "") if key else self._store}))
        if request.path == "/set" and key:
            self._store[key] = value
            return Response(slow=lambda: self._propagate(key, value))
        if request.path == "/guestbook" and form.get("cmd", "").lower() in ("get", "set"):
            command = form["cmd"].lower()
            return Response(slow=lambda: self._ask_backend(command, key, value))
        return text_response("cannot set with empty key, or unsupported path or cmd\n", 400)

    def _propagate(self, key: str, value: str) -> Response:
        for replica in self._replicas:
            try:
                get(replica, self._port, f"/set?key={quote(key)}&value={quote(value)}")
            except DialError as error:
                return text_response(
                    f"encountered error while propagating to replica '{replica}': {error}\n", 417
                )
        return text_response('{"message":"Updated"}')

    def _ask_backend(self, command: str, key: str, value: str) -> Response:
        host = "agnhost-primary" if command == "set" else "agnhost-replica"
        try:
            _, body = get(host, self._port, f"/{command}?key={quote(key)}&value={quote(value)}")
        except DialError as error:
            return text_response(f"encountered error: {error}\n", 417)
        return Response(body, 200, [("Content-Type", "text/plain; charset=utf-8")])


def own_address(host: str, port: int) -> str:
    """The address from which this pod reaches a host. Raises OSError."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as sock:
        sock.connect(address)
        return str(sock.getsockname()[0])
