"""`agnhost netexec`: the server that Kubernetes' network tests talk to, over HTTP and UDP.

Sources: test/images/agnhost/README.md (netexec) and the sub-command's help. Two differences: `/exit` answers
before it waits, and TLS and SCTP are refused at the start instead of served.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.images.eventloop import Loop
from agents.images.flags import FlagError, Flags, Value, duration
from agents.images.http_client import DialError, get
from agents.images.http_message import Request, Response, text_response
from agents.images.http_server import HTTPServer
from agents.images.process import SIGTERM, end_on, hostname, log, reap_children
from agents.images.serve import ENDS_AS_GO, answer_datagrams, on_signal
from agents.images.sockets import join, listen_tcp, listen_udp, reason

FLAGS: dict[str, Value] = {
    "http-port": 8080,
    "udp-port": 8081,
    "sctp-port": -1,
    "http-override": "",
    "udp-listen-addresses": "",
    "delay-shutdown": 0,
    "tls-cert-file": "",
    "tls-private-key-file": "",
}
UPLOADS = Path("/uploads")
DIAL_SECONDS = 5.0


def main(argv: Sequence[str]) -> int:
    """Serve until told to end. Exit status 1 when a port cannot be bound or a flag asks for what is not
    here.
    """
    flags = Flags(argv[1:], FLAGS)
    if flags.text("tls-cert-file") or flags.number("sctp-port") != -1:
        log("netexec: --tls-cert-file and --sctp-port are not in this stand-in: leave them out")
        return 1
    loop = Loop()
    try:
        sockets = start(loop, flags)
    except OSError as error:
        log(f"netexec: listen: {reason(error)}: is another container of the pod on this port?")
        return 1
    for sock in sockets:
        kind = "HTTP" if sock.type == socket.SOCK_STREAM else "UDP"
        log(f"Started {kind} server on port {sock.getsockname()[1]}")
    reap_children()
    end_after(loop, flags.number("delay-shutdown"))
    loop.run()
    return 0


def start(loop: Loop, flags: Flags) -> list[socket.socket]:
    """Bind what the flags ask for and serve it when the loop runs. Raises OSError when a port cannot be
    bound.
    """
    sockets = []
    udp_port, addresses = flags.number("udp-port"), flags.text("udp-listen-addresses")
    if udp_port != -1:
        sockets = [listen_udp(udp_port, address) for address in sorted(set(addresses.split(",")))]
    for sock in sockets:
        answer_datagrams(loop, sock, answer_udp)
    handlers = Handlers(loop, udp_ready=bool(sockets), override=flags.text("http-override"))
    listener = listen_tcp(flags.number("http-port"))
    handlers.server = HTTPServer(loop, listener, handlers.answer)
    return [*sockets, listener]


def end_after(loop: Loop, seconds: int) -> None:
    """Decide how SIGTERM ends the process: at once, or `seconds` later while it goes on serving."""
    if seconds <= 0:
        end_on(ENDS_AS_GO)
        return

    def delay() -> None:
        log(f"Sleeping {seconds} seconds before terminating...")
        loop.call_later(seconds, lambda: os._exit(0))

    on_signal(loop, SIGTERM, delay)


def warm_up() -> None:
    """Start and stop a server, without a word: the interpreter adapts its code to what it has run
    (standins.preload).
    """
    loop = Loop()
    for sock in start(loop, Flags(["--http-port=0", "--udp-port=0"], FLAGS)):
        sock.close()
    loop.close()


class Handlers:
    """The endpoints. `answer` is the server's handler."""

    def __init__(self, loop: Loop, *, udp_ready: bool, override: str) -> None:
        self.server: HTTPServer | None = None
        self._loop = loop
        self._udp_ready = udp_ready
        self._override = override
        self._routes: dict[str, Callable[[Request], Response]] = {
            "/clientip": lambda request: text_response(join(*request.client)),
            "/dial": dial,
            "/echo": echo,
            "/exit": self._exit,
            "/header": header,
            "/healthz": lambda _request: Response(status=200 if self._udp_ready else 412),
            "/hostname": lambda _request: text_response(hostname()),
            "/hostName": lambda _request: text_response(hostname()),
            "/redirect": redirect,
            "/shell": shell,
            "/shutdown": lambda _request: os._exit(0),
            "/upload": upload,
        }

    def answer(self, request: Request) -> Response:
        """The response to any request; with --http-override all are treated as a GET of that target."""
        if self._override:
            request.method, request.target = "GET", self._override
        log(f"GET {request.target}")
        route = self._routes.get(request.path)
        return route(request) if route else text_response(f"NOW: {now()}")

    def _exit(self, request: Request) -> Response:
        form = request.form()
        try:
            timeout = duration(form.get("timeout") or "0")
            wait = duration(form.get("wait") or "0")
        except FlagError:
            return text_response("arguments 'timeout' and 'wait' must be a valid golang duration or empty\n")
        if not (form.get("code") or "0").isdigit():
            return text_response(f"argument 'code' must be an integer or empty, got {form['code']!r}\n")
        code = int(form["code"]) if form.get("code") else 0
        log(f"Will begin shutdown in {wait}s, allowing {timeout}s for connections, then exit {code}")
        if not wait and not timeout:
            os._exit(code)
        self._loop.call_later(wait, lambda: self._shut_down(code, timeout))
        return Response()

    def _shut_down(self, code: int, timeout: float) -> None:
        self._loop.call_later(timeout, lambda: os._exit(code))
        if self.server and not self.server.draining and timeout:
            self.server.drain(lambda: os._exit(code))


def compact(value: object) -> str:
    """JSON as Go writes it: sorted, without spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def now() -> str:
    """The time as Go prints it: `2026-01-31 12:00:00.123456 +0000 UTC`."""
    seconds = time.time()
    micros = int(seconds % 1 * 1e6)
    return time.strftime(f"%Y-%m-%d %H:%M:%S.{micros:06d} +0000 UTC", time.gmtime(seconds))


def echo(request: Request) -> Response:
    """`/echo?msg=…&code=…`: the message, with that status."""
    form = request.form()
    code = form.get("code", "")
    if not code:
        return text_response(form.get("msg", ""))
    if not code.isdigit() or not 200 <= int(code) <= 599:
        return text_response(f"argument 'code' must be an integer or empty, got {json.dumps(code)}\n")
    return text_response(form.get("msg", ""), int(code))


def header(request: Request) -> Response:
    """`/header?key=NAME`: that header of the request; `/header`: all of them as JSON."""
    key = request.form().get("key", "")
    if key:
        return text_response(request.header(key))
    fields: dict[str, list[str]] = {}
    for name, value in request.headers:
        if name.lower() != "host":
            fields.setdefault("-".join(part.capitalize() for part in name.split("-")), []).append(value)
    return text_response(compact(fields))


def redirect(request: Request) -> Response:
    """`/redirect?location=…&code=…`."""
    form = request.form()
    code = form.get("code") or "302"
    if not code.isdigit() or not 300 <= int(code) <= 399:
        return text_response(f"argument 'code' must be an integer or empty, got {json.dumps(code)}\n")
    location = form.get("location", "").replace("\r", "").replace("\n", "")
    return Response(status=int(code), headers=[("Location", location)])


def shell(request: Request) -> Response:
    """`/shell?cmd=…`: run the command in this container; JSON with `output` and `error`."""
    form = request.form()
    command = form.get("shellCommand") or form.get("cmd", "")

    def run() -> Response:
        import subprocess  # not at the top: it brings threading, which costs a forked process 440 KiB

        done = subprocess.run(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output = {"output": done.stdout.decode("utf-8", "replace")} if done.stdout else {}
        if done.returncode:
            output["error"] = f"exit status {done.returncode}"
        log(f"Output: {output}")
        return text_response(compact(output))

    return Response(slow=run)


def dial(request: Request) -> Response:
    """`/dial?host=&port=&request=&protocol=http|udp&tries=`: ask another server; JSON with `responses` and
    `errors`.
    """
    form = request.form()
    tries, port, what = form.get("tries") or "1", form.get("port", ""), form.get("request", "")
    protocol = (form.get("protocol") or "http").lower()
    if not tries.isdigit():
        return text_response(f"tries parameter is invalid. {json.dumps(tries)}\n", 400)
    if not what:
        return text_response("request parameter not specified. <nil>\n", 400)
    if protocol not in DIALERS:
        return text_response(f"unsupported protocol. {protocol}\n", 400)
    if not port.isdigit() or not 0 < int(port) < 65536:
        return text_response(f"host and/or port param are invalid. port {json.dumps(port)}\n", 400)

    def run() -> Response:
        try:  # the name is looked up once, so that all tries go to one address, as the real one does
            address = str(socket.getaddrinfo(form.get("host", ""), int(port))[0][4][0])
        except (OSError, UnicodeError) as error:  # UnicodeError: a label is empty or too long
            return text_response(f"host and/or port param are invalid. {error}\n", 400)
        return dial_many(DIALERS[protocol], address, int(port), what, int(tries))

    return Response(slow=run)


def dial_many(
    dialer: Callable[[str, int, str], str], host: str, port: int, what: str, tries: int
) -> Response:
    """Ask `tries` times; the collected responses and errors as JSON."""
    output: dict[str, list[str]] = {}
    for _ in range(tries):
        try:
            output.setdefault("responses", []).append(dialer(host, port, what))
        except DialError as error:
            output.setdefault("errors", []).append(str(error))
    return text_response(compact({name: values for name, values in output.items() if values}))


def dial_http(host: str, port: int, what: str) -> str:
    """The body that `GET /what` returns. Raises DialError."""
    return get(host, port, f"/{what}", DIAL_SECONDS)[1].decode("utf-8", "replace")


def dial_udp(host: str, port: int, what: str) -> str:
    """The datagram that comes back for `what`. Raises DialError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DIAL_SECONDS)
        try:
            sock.connect((host, port))
            sock.send(what.encode())
            return sock.recv(2048).decode("utf-8", "replace")
        except TimeoutError:
            raise DialError(
                f"reading from udp connection failed. err:'read udp {join(host, port)}: i/o timeout'"
            ) from None
        except OSError as error:
            raise DialError(f"reading from udp connection failed. err:'{reason(error)}'") from None


DIALERS = {"http": dial_http, "udp": dial_udp}


def upload(request: Request) -> Response:
    """`/upload`: keep the multipart field `file` under /uploads; JSON with `output` (where) or `error`."""
    _, found, boundary = request.header("content-type").partition("boundary=")
    for part in request.body.split(b"--" + boundary.strip('"').encode()) if found else []:
        head, _, content = part.partition(b"\r\n\r\n")
        if b'name="file"' in head:
            try:
                UPLOADS.mkdir(exist_ok=True)
                path = UPLOADS / f"upload{time.monotonic_ns()}"
                path.write_bytes(content.removesuffix(b"\r\n"))
                path.chmod(0o700)
            except OSError:
                return text_response(compact({"error": "Unable to open file for write"}))
            log(f"Wrote upload to {shlex.quote(str(path))}")
            return text_response(compact({"output": str(path)}), 201)
    return text_response(compact({"error": "Unable to upload file."}))


def answer_udp(data: bytes, client: str) -> bytes | None:
    """The answer to one datagram: `hostname`, `echo TEXT`, `clientip`."""
    text = data.decode("utf-8", "replace").strip().lower()
    if text == "hostname":
        log("Sending udp hostName response")
        return hostname().encode()
    if text.startswith("echo "):
        log(f"Echoing {text[5:]} to UDP client {client}")
        return text[5:].encode()
    if text == "clientip":
        log(f"Sending clientip back to UDP client {client}")
        return client.encode()
    if text:
        log(f"Unknown UDP command received from {client}: {text}")
    return None
