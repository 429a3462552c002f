"""nc: stdin to a connection, the connection to stdout. `nc -zv web 80`, `nc -lk -p 8080`, `nc -u -w 1 dns 53`.

    nc HOST PORT            stdin --> socket --> stdout; at stdin's end the peer is told (TCP's FIN)
    nc -l [-k] [-p] PORT    the same for who connects; -k: one after the other, for ever
    nc -e PROG ARGS…        the program gets the connection in place of stdin and stdout (last of all flags)
    nc -z                   connect, and nothing more: exit status 0 or 1

-w SECONDS bounds the connection's setup and each silence after it. UDP has no end: `nc -u` without -w stays
until it is killed. A listener for UDP answers the first peer only, with -k it prints what anyone sends.
Sources: https://git.busybox.net/busybox/tree/networking/nc_bloaty.c, nc(1) of OpenBSD.
"""

from __future__ import annotations

import getopt
import os
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from agents.images.process import SIGINT, SIGTERM, STDERR, end_on, write
from agents.images.sockets import address_of, join, listen_tcp, listen_udp

_STDIN, _STDOUT = 0, 1
_USAGE = "Usage: nc [-lkuzvn] [-w SECONDS] [-s ADDRESS] [-p PORT] [HOST] [PORT] [-e PROG ARGS]\n"
_CHUNK = 64 * 1024


class NetcatError(Exception):
    """No connection; the message follows `nc: `."""


@dataclass
class Options:
    """What the command line asks for; `wait` is in seconds, None for ever."""

    host: str = ""
    port: int = 0
    local_port: int = 0
    source: str = ""
    listen: bool = False
    keep: bool = False
    udp: bool = False
    scan: bool = False
    verbose: bool = False
    wait: float | None = None
    program: tuple[str, ...] = ()

    def tell(self, text: str) -> None:
        """A line on stderr, with -v."""
        if self.verbose:
            write(f"{text}\n", STDERR)


def main(argv: Sequence[str]) -> int:
    """Relay until an end comes. Exit status 0, or 1 with a line on stderr."""
    end_on({SIGTERM: 128 + SIGTERM, SIGINT: 128 + SIGINT})
    try:
        options = parse(argv[1:])
    except (getopt.GetoptError, ValueError) as error:
        write(f"nc: {error}\n{_USAGE}", STDERR)
        return 1
    try:
        return serve(options) if options.listen else call(options)
    except NetcatError as error:
        write(f"nc: {error}\n", STDERR)
    except OSError as error:
        write(f"nc: {os.strerror(error.errno or 0)}\n", STDERR)
    return 1


def parse(words: Sequence[str]) -> Options:
    """The options of a command line. Raises getopt.GetoptError, ValueError."""
    at = words.index("-e") if "-e" in words else len(words)
    pairs, arguments = getopt.gnu_getopt(list(words[:at]), "lkuzvnN46tp:w:s:q:i:")
    given = dict(pairs)
    wait = float(given["-w"]) if "-w" in given else None
    options = Options(
        source=given.get("-s", ""),
        local_port=_port(given.get("-p", "0")),
        listen="-l" in given,
        keep="-k" in given,
        udp="-u" in given,
        scan="-z" in given,
        verbose="-v" in given,
        wait=wait or None,
        program=tuple(words[at + 1 :]),
    )
    if not options.listen:
        if len(arguments) != 2:
            raise ValueError("want a host and a port")
        options.host, options.port = arguments[0], _port(arguments[1])
    elif arguments:  # nc -l 8080, nc -l 0.0.0.0 8080
        options.local_port = _port(arguments[-1])
        options.source = options.source or "".join(arguments[:-1])
    return options


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise ValueError(f"bad port '{text}'")
    return int(text)


def call(options: Options) -> int:
    """Connect to a host. Raises NetcatError, OSError."""
    kind = socket.SOCK_DGRAM if options.udp else socket.SOCK_STREAM
    try:
        family, _, _, _, address = socket.getaddrinfo(options.host, options.port, type=kind)[0]
    except (OSError, UnicodeError):  # UnicodeError: a label is empty or too long
        raise NetcatError(f"bad address '{options.host}'") from None
    shown = f"{options.host} ({join(str(address[0]), options.port)})"
    with socket.socket(family, kind) as sock:
        sock.settimeout(options.wait)
        try:
            if options.source or options.local_port:
                sock.bind((options.source, options.local_port))
            sock.connect(address)
            if options.scan and options.udp:
                _probe(sock, options.wait or 1.0)
        except TimeoutError:
            raise NetcatError(f"{shown}: Connection timed out") from None
        except OSError as error:
            raise NetcatError(f"{shown}: {os.strerror(error.errno or 0)}") from None
        options.tell(f"{shown} open")
        return 0 if options.scan else use(sock, options)


def _probe(sock: socket.socket, seconds: float) -> None:
    """Send an empty datagram; a closed port answers by ICMP, which is an error. Silence counts as open."""
    sock.send(b"")
    sock.settimeout(seconds)
    try:
        sock.recv(1)
    except TimeoutError:
        pass


def serve(options: Options) -> int:
    """Wait for a peer, with -k for one after the other. Raises OSError."""
    listen = listen_udp if options.udp else listen_tcp
    with listen(options.local_port, options.source) as listener:
        listener.setblocking(True)
        host, port = listener.getsockname()[:2]
        options.tell(f"listening on {join(host, port)} ...")
        if options.udp:
            return _serve_udp(listener, options)
        while True:
            sock, peer = listener.accept()
            with sock:
                options.tell(
                    f"connect to {join(*address_of(sock.getsockname()))} from {join(*address_of(peer))}"
                )
                status = use(sock, options)
            if not options.keep:
                return status


def _serve_udp(listener: socket.socket, options: Options) -> int:
    while True:
        data, peer = listener.recvfrom(_CHUNK)
        options.tell(f"connect to port {options.local_port} from {join(*address_of(peer))}")
        _write_all(data)
        if not options.keep:
            listener.connect(peer)
            return use(listener, options)


def use(sock: socket.socket, options: Options) -> int:
    """Give the connection to the program of -e, or relay it."""
    if not options.program:
        relay(sock, options)
        return 0
    child = os.fork()
    if not child:
        sock.setblocking(True)
        os.dup2(sock.fileno(), _STDIN)
        os.dup2(sock.fileno(), _STDOUT)
        try:
            os.execvp(options.program[0], options.program)
        except OSError as error:
            write(f"nc: can't execute '{options.program[0]}': {os.strerror(error.errno or 0)}\n", STDERR)
            os._exit(127)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def relay(sock: socket.socket, options: Options) -> None:
    """Both directions until the peer ends, or nothing comes for `wait` seconds. Raises OSError.

    A listener that has nothing to say (stdin is /dev/null in a pod) leaves the end to the peer: a FIN at once
    would make the peer's nc stop before it has sent.
    """
    sources: list[int] = [_STDIN, sock.fileno()]
    tell_end = not (options.udp or options.listen)
    while ready := select.select(sources, [], [], options.wait)[0]:
        if sock.fileno() in ready:
            data = sock.recv(_CHUNK)
            if not data and not options.udp:
                return
            _write_all(data)
        if _STDIN in ready:
            data = os.read(_STDIN, _CHUNK)
            if data:
                sock.sendall(data)
                tell_end = not options.udp
                continue
            sources.remove(_STDIN)
            if tell_end:
                sock.shutdown(socket.SHUT_WR)


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(_STDOUT, data) :]
