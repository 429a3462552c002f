"""The DNS server: what kube-dns pods run, and the machine `outside` for its own zone.

    UDP, TCP :53 --> ready answer, or made from the zones (dns_answers.py), which are files (dns_files.py)
                       | a name outside our zones
                     asked upstream (dns_upstream.py)

    /health :8080   /ready :8181   /metrics :9153   as CoreDNS answers them

How a server ends without a question that gets no answer (CoreDNS's `lameduck`):

    SIGTERM: /ready says no --probe--> the endpoint does not serve --> every kube-proxy forgets the flows to it
       `----- still answers all that comes ------------------------------------------------------> ends

Invariants of the end: it comes later than the probe, its way to every node, and what was sent before that.

Invariants: all datagrams that wait are answered before anything else is done, `DATAGRAMS_AT_ONCE` at most; what
others may make us hold is bounded: connections, their silence, questions that wait for upstream.

Sources: RFC 1035 4.2, RFC 7766 (TCP); CoreDNS's plugins forward, health, ready, prometheus.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import signal
import socket
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode

from netfns import dns_answers, dns_upstream
from netfns.dns_files import ZoneFiles, log

TCP_IDLE = 10.0  # seconds until a silent connection is closed
MOST_CONNECTIONS = 512
MOST_FORWARDED = 1000  # questions that wait for upstream; more are refused
DATAGRAMS_AT_ONCE = 64
LONGEST_DATAGRAM = 4096  # bytes that are read of one
LAME_DUCK = 5.0  # seconds of service after SIGTERM, as in the Corefile of most clusters
REPORT_PORTS = (8080, 8181, 9153)


class Server:
    """Answers queries from the zones of `folder`, and forwards the rest to `upstreams` (addresses; none: such names
    are refused).
    """

    def __init__(self, folder: Path, upstreams: Sequence[str], port: int = 53) -> None:
        self.files = ZoneFiles(folder)
        self.ready = dns_answers.Ready()
        self.counts = {"requests": 0, "ready": 0}
        self._upstreams = tuple(upstreams)
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = self._forwarded = 0
        self.ending = False

    # ------------------------------------------------------------ from query to answer

    def refresh(self) -> None:
        """Take over what the zones' files say now, and drop the answers that this makes old."""
        changed = self.files.refresh()
        if changed is None:
            self.ready.clear()
        elif changed:
            self.ready.forget(changed)

    def own(self, query: bytes, tcp: bool) -> bytes | None:
        """The answer that needs nobody else; None when upstream must be asked."""
        return dns_answers.own(self.files.zones, query, tcp, bool(self._upstreams), self.ready)

    async def answer(self, query: bytes, tcp: bool) -> bytes:
        """The answer to one query in wire form; b"" for what deserves none."""
        self.refresh()
        self.counts["requests"] += 1
        found = None if tcp else self.ready.find(query)
        if found is None:
            found = self.own(query, tcp)
        return await self._forward(query, tcp) if found is None else found

    async def _forward(self, query: bytes, tcp: bool) -> bytes:
        """Ask upstream for a name, or for the alias of one, that is outside our zones."""
        asked = dns.message.from_wire(query, keyring=False)
        if self._forwarded >= MOST_FORWARDED:
            return dns_answers.error(asked, dns.rcode.REFUSED, tcp, recursion=True)
        question = dns_answers.upstream_question(self.files.zones, query)
        self._forwarded += 1
        try:
            found = await dns_upstream.ask(self._upstreams, question)
        finally:
            self._forwarded -= 1
        if found is None:
            return dns_answers.error(asked, dns.rcode.SERVFAIL, tcp, recursion=True)
        return dns_answers.merge(self.files.zones, query, found, tcp)

    # ------------------------------------------------------------ sockets

    def receive(self, listener: socket.socket) -> None:
        """Answer the datagrams that wait; one that needs upstream gets a task of its own."""
        self.refresh()
        find, receive, send = self.ready.find, listener.recvfrom, listener.sendto
        hits = others = 0
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                query, client = receive(LONGEST_DATAGRAM)
            except BlockingIOError:
                break
            except OSError:  # an earlier answer's ICMP error
                continue
            found = find(query)
            if found is not None:
                hits += 1
            else:
                others += 1
                found = self.own(query, tcp=False)
                if found is None:
                    self._later(self._forward_to(listener, query, client))
            if found:
                try:
                    send(found, client)
                except OSError:  # the client is gone, or its queue full: it asks again
                    continue
        self.counts["requests"] += hits + others
        self.counts["ready"] += hits

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward_to(self, listener: socket.socket, query: bytes, client: tuple[str, int]) -> None:
        answer = await self._forward(query, tcp=False)
        with contextlib.suppress(OSError):
            listener.sendto(answer, client)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One TCP connection: queries and answers, each behind its length, until the client is silent or gone."""
        self._connections += 1
        try:
            while self._connections <= MOST_CONNECTIONS:
                async with asyncio.timeout(TCP_IDLE):
                    query = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                answer = await self.answer(query, tcp=True)
                if not answer:
                    return
                writer.write(len(answer).to_bytes(2) + answer)
                async with asyncio.timeout(TCP_IDLE):
                    await writer.drain()
        except (OSError, EOFError, TimeoutError):
            return
        finally:
            self._connections -= 1
            writer.close()

    async def report(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """/health and /ready: 200 once the zones are there; /metrics: how much was asked."""
        with contextlib.suppress(OSError, EOFError, TimeoutError, ValueError):
            async with asyncio.timeout(TCP_IDLE):
                request = await reader.readuntil(b"\r\n\r\n")
                status, body = self._report(request.split(b" ", 2)[1:2])
                head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
                writer.write(f"{head}Connection: close\r\n\r\n{body}".encode())
                await writer.drain()
        writer.close()

    def _report(self, path: list[bytes]) -> tuple[str, str]:
        self.refresh()
        if path == [b"/metrics"]:
            names = {"requests": "coredns_dns_requests_total", "ready": "coredns_cache_hits_total"}
            lines = [f"# TYPE {full} counter\n{full} {self.counts[name]}\n" for name, full in names.items()]
            return "200 OK", "".join(lines)
        if path not in ([b"/health"], [b"/ready"]):
            return "404 Not Found", "404 page not found\n"
        if self.ending and path == [b"/ready"]:
            return "503 Service Unavailable", "Shutting down"
        return ("200 OK", "OK") if self.files.zones.records else ("503 Service Unavailable", "kubernetes")

    async def run(self, stop: asyncio.Event, report_ports: Sequence[int] = REPORT_PORTS) -> None:
        """Serve until `stop` is set. Raises OSError when a port is taken."""
        loop = asyncio.get_running_loop()
        self.refresh()
        wanted = [(socket.SOCK_DGRAM, self._port, None), (socket.SOCK_STREAM, self._port, self.converse)]
        wanted += [(socket.SOCK_STREAM, port, self.report) for port in report_ports]
        with contextlib.ExitStack() as stack:
            for (kind, port, serve), family in itertools.product(wanted, (socket.AF_INET, socket.AF_INET6)):
                listener = stack.enter_context(_listener(family, kind, port))
                if serve is None:
                    loop.add_reader(listener, self.receive, listener)
                    stack.callback(loop.remove_reader, listener)
                else:
                    stack.callback((await asyncio.start_server(serve, sock=listener)).close)
            await stop.wait()


def _listener(family: int, kind: int, port: int) -> socket.socket:
    """A socket that listens on all addresses of a family. Raises OSError that names the port."""
    listener = socket.socket(family, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        listener.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"port {port}: {error.strerror}") from error
    listener.setblocking(False)
    return listener


def main(argv: Sequence[str]) -> int:
    """Serve the zones beside `-conf FILE` until SIGTERM or SIGINT; the exit status, 1 when a port is taken."""
    parser = argparse.ArgumentParser(
        prog="coredns", description="Answers from the *.zone files of one folder."
    )
    parser.add_argument(
        "-conf", type=Path, default=Path("/etc/coredns/Corefile"), help="its folder holds the zones"
    )
    parser.add_argument("-dns.port", dest="port", type=int, default=53, metavar="PORT")
    parser.add_argument(
        "--no-forward",
        action="store_true",
        help="other names are refused; default: ask resolv.conf's servers",
    )
    parser.add_argument(
        "--resolv", type=Path, default=Path("/etc/resolv.conf"), help="names the upstream servers"
    )
    parser.add_argument(
        "--report-ports",
        type=int,
        nargs="*",
        default=REPORT_PORTS,
        metavar="PORT",
        help="without one, SIGTERM ends the server at once",
    )
    options = parser.parse_args(argv[1:])
    upstreams = [] if options.no_forward else dns_upstream.system_nameservers(options.resolv)
    try:
        asyncio.run(_serve(Server(options.conf.parent, upstreams, options.port), options.report_ports))
    except OSError as error:
        log(f"dns: {error.strerror}: stop what listens there, or choose another port")
        return 1
    return 0


async def _serve(server: Server, report_ports: Sequence[int]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def lame_duck() -> None:
        server.ending = True
        loop.call_later(LAME_DUCK, stop.set)

    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(signal.SIGTERM, lame_duck if report_ports else stop.set)
    await server.run(stop, report_ports)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
