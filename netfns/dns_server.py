"""The DNS server: what kube-dns pods run, and the machine `outside` for its own zone.

    UDP, TCP :53 --> the same question before? --yes--> its ready answer, with this query's ID     (the
    fast path)
                       | no
                     dnspython: parse --> evaluate(zones, name, type) --> wire form, kept for next time
                       | a name, or an alias, outside our zones
                     forwarded to the upstream servers in turn, and relayed

    /health :8080   /ready :8181   as CoreDNS answers them

The zones are all files `*.zone` of one folder. Whoever writes them renames a new file into place, which
changes the folder's time; that is looked at before each answer, so an answer is never older than the files
and nothing runs while nobody asks.

SIGTERM ends the server after a moment (CoreDNS's `lameduck`): queries that were on their way are still
answered.

Invariants: a ready answer is used only for a query that is equal but for its ID; a reload drops all of
them; what is no query gets FORMERR or nothing, never an exception; an answer that does not fit is cut and
says so (TC), and fits over TCP.

Sources: RFC 1035 4, RFC 6891 (EDNS), RFC 7766 (TCP), RFC 8482 (ANY); CoreDNS's plugins kubernetes,
forward, health, ready.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import secrets
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from netfns.dns import Answer, Record, Zones, evaluate, parse

MOST_READY = 4096  # answers kept in wire form
PLAIN_UDP, EDNS_UDP = 512, 1232  # bytes: without EDNS, and the most with it
UPSTREAM_WAIT = 2.0  # seconds for each upstream server
TCP_IDLE = 10.0  # seconds until a silent connection is closed
DATAGRAMS_AT_ONCE = 64
LAME_DUCK = 1.0  # seconds of service after SIGTERM, until every node has heard that this server ends
CLOCK_TICK = 20_000_000  # nanoseconds; the coarsest is 10 ms


@dataclass
class Answers:
    """Zones from a folder, and the answers already made from them, in wire form without their ID."""

    folder: Path
    zones: Zones = field(default_factory=Zones)
    ready: dict[bytes, bytes] = field(default_factory=dict)
    loaded: int = -1

    def refresh(self) -> None:
        """Load the zones again when the folder has changed; a file that does not parse leaves the old ones
        in force.
        """
        try:
            changed = self.folder.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if changed == self.loaded:
            return
        # A change within the same tick of the file system's clock would look like this one: look again then.
        self.loaded = changed if time.time_ns() - changed > CLOCK_TICK else -1
        try:
            self.zones = parse("".join(path.read_text() for path in sorted(self.folder.glob("*.zone"))))
        except (OSError, ValueError) as error:
            _log(f"{self.folder}: {error}: the zones loaded before stay in force")
            return
        self.ready.clear()

    def find(self, query: bytes, tcp: bool) -> bytes | None:
        """The ready answer to a query that is equal but for its ID."""
        self.refresh()
        found = self.ready.get((b"T" if tcp else b"U") + query[2:])
        return None if found is None else query[:2] + found

    def keep(self, query: bytes, answer: bytes, tcp: bool) -> None:
        """Keep an answer for the next equal query."""
        if len(self.ready) >= MOST_READY:
            self.ready.clear()
        self.ready[(b"T" if tcp else b"U") + query[2:]] = answer[2:]


class Server:
    """Answers queries from zones, and forwards the rest to `upstreams` (addresses; none: such names are
    refused).
    """

    def __init__(self, folder: Path, upstreams: Sequence[str], port: int = 53) -> None:
        self.answers = Answers(folder)
        self._upstreams = tuple(upstreams)
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ from query to answer

    async def answer(self, query: bytes, tcp: bool) -> bytes:
        """The answer to one query in wire form; b"" for what deserves none."""
        found = self.answers.find(query, tcp) or self._own(query, tcp)
        return await self._forward(query, tcp) if found is None else found

    def _own(self, query: bytes, tcp: bool) -> bytes | None:
        """The answer when it needs nobody else: from the zones, or an error. None: it must be forwarded."""
        if len(query) < 12 or query[2] & 0x80:
            return b""
        try:
            asked = dns.message.from_wire(query)
        except dns.exception.DNSException:
            return query[:2] + bytes([0x80 | query[2] & 0x79, dns.rcode.FORMERR]) + bytes(8)
        reply = _reply_to(asked, bool(self._upstreams))
        code = _refusal(asked)
        if code is None:
            (question,) = asked.question
            kind = dns.rdatatype.to_text(question.rdtype)
            answer = evaluate(self.answers.zones, question.name.to_text(), kind)
            if (answer is None or answer.alias) and self._upstreams:
                return None
            if answer is None:
                code = dns.rcode.NXDOMAIN  # nobody to ask further: what is in no zone does not exist
            else:
                fill(reply, answer)
        if code is not None:
            reply.set_rcode(code)
        wire = to_wire(reply, asked, tcp)
        self.answers.keep(query, wire, tcp)
        return wire

    async def _forward(self, query: bytes, tcp: bool) -> bytes:
        """Ask upstream for a name outside our zones; an alias of ours is put before what is found for its
        target.
        """
        asked = dns.message.from_wire(query)
        (question,) = asked.question
        kind = dns.rdatatype.to_text(question.rdtype)
        answer = evaluate(self.answers.zones, question.name.to_text(), kind)
        reply = _reply_to(asked, recursion=True)
        target = dns.name.from_text(answer.alias) if answer else question.name
        found = await self._ask_upstream(dns.message.make_query(target, question.rdtype))
        if found is None:
            reply.set_rcode(dns.rcode.SERVFAIL)
        else:
            reply.set_rcode(found.rcode())
            reply.authority = found.authority
        if answer:
            fill(reply, Answer(dns.rcode.to_text(reply.rcode()), answer.records))
        if found is not None:
            reply.answer += found.answer
        return to_wire(reply, asked, tcp)

    async def _ask_upstream(self, query: dns.message.Message) -> dns.message.Message | None:
        """The first answer that an upstream server gives, over TCP where it does not fit; None when none
        answers.
        """
        for address in self._upstreams:
            for exchange in (_exchange_udp, _exchange_tcp):
                query.id = secrets.randbelow(65536)
                try:
                    wire = await asyncio.wait_for(exchange(address, query.to_wire()), UPSTREAM_WAIT)
                    found = dns.message.from_wire(wire)
                except (OSError, EOFError, TimeoutError, dns.exception.DNSException):
                    break
                if not query.is_response(found):
                    break
                if not found.flags & dns.flags.TC:
                    return found
        return None

    # ------------------------------------------------------------ sockets

    def receive(self, listener: socket.socket) -> None:
        """Answer the datagrams that wait; one that needs upstream gets a task of its own."""
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                query, client = listener.recvfrom(4096)
            except BlockingIOError:
                return
            except OSError:  # an earlier answer's ICMP error
                continue
            found = self.answers.find(query, tcp=False)
            if found is None:
                found = self._own(query, tcp=False)
            if found:
                _send(listener, found, client)
            elif found is None:
                task = asyncio.create_task(self._forward_to(listener, query, client))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _forward_to(self, listener: socket.socket, query: bytes, client: tuple[str, int]) -> None:
        _send(listener, await self._forward(query, tcp=False), client)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One TCP connection: queries and answers, each behind its length, until the client is silent or
        gone.
        """
        try:
            while True:
                async with asyncio.timeout(TCP_IDLE):
                    query = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                answer = await self.answer(query, tcp=True)
                if not answer:
                    return
                writer.write(len(answer).to_bytes(2) + answer)
                await writer.drain()
        except (OSError, EOFError, TimeoutError):
            return
        finally:
            writer.close()

    async def report(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """/health and /ready: 200 once the zones are there (what is asked for does not matter)."""
        self.answers.refresh()
        status = "200 OK" if self.answers.zones.records else "503 Service Unavailable"
        with contextlib.suppress(OSError, EOFError, TimeoutError, ValueError):
            async with asyncio.timeout(TCP_IDLE):
                await reader.readuntil(b"\r\n\r\n")
            body = status.split(" ", 1)[1]
            head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
            writer.write(f"{head}Connection: close\r\n\r\n{body}".encode())
            await writer.drain()
        writer.close()

    async def run(self, stop: asyncio.Event, report_ports: Sequence[int] = (8080, 8181)) -> None:
        """Serve until `stop` is set. Raises OSError when a port is taken."""
        loop = asyncio.get_running_loop()
        self.answers.refresh()
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


def _refusal(asked: dns.message.Message) -> dns.rcode.Rcode | None:
    """The error that a well-formed query gets whatever is in the zones; None when it may be answered."""
    if asked.opcode() != dns.opcode.QUERY:
        return dns.rcode.NOTIMP
    if len(asked.question) != 1:
        return dns.rcode.FORMERR
    if asked.edns > 0:
        return dns.rcode.BADVERS
    (question,) = asked.question
    transfers = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)
    return (
        dns.rcode.REFUSED if question.rdclass != dns.rdataclass.IN or question.rdtype in transfers else None
    )


def _reply_to(asked: dns.message.Message, recursion: bool) -> dns.message.Message:
    return dns.message.make_response(asked, recursion_available=recursion, our_payload=EDNS_UDP)


def fill(reply: dns.message.Message, answer: Answer) -> None:
    """Put an answer from the zones into a reply."""
    reply.flags |= dns.flags.AA
    reply.set_rcode(dns.rcode.from_text(answer.code))
    reply.answer = _rrsets(answer.records)
    reply.authority = _rrsets(answer.authority)


def _rrsets(records: Sequence[Record]) -> list[dns.rrset.RRset]:
    sets: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        sets.setdefault((record.name, record.type), []).append(record)
    return [
        dns.rrset.from_text(name, found[0].ttl, "IN", kind, *(record.data for record in found))
        for (name, kind), found in sets.items()
    ]


def to_wire(reply: dns.message.Message, asked: dns.message.Message, tcp: bool) -> bytes:
    """The reply in wire form, cut (with TC set) where it is longer than the client takes."""
    udp = min(max(asked.payload, PLAIN_UDP), EDNS_UDP) if asked.edns >= 0 else PLAIN_UDP
    return reply.to_wire(max_size=65535 if tcp else udp, prefer_truncation=True)


def _send(listener: socket.socket, answer: bytes, client: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):  # the client is gone, or its queue full: it asks again
        listener.sendto(answer, client)


async def _exchange_udp(address: str, query: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect((address, 53))
        await loop.sock_sendall(client, query)
        return await loop.sock_recv(client, 4096)


async def _exchange_tcp(address: str, query: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(address, 53)
    try:
        writer.write(len(query).to_bytes(2) + query)
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
    finally:
        writer.close()


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


def _log(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def system_nameservers(path: Path) -> list[str]:
    """The name servers that a resolv.conf names; none when there is no such file."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    return [line.split()[1] for line in lines if line.startswith("nameserver ") and len(line.split()) > 1]


def main(argv: Sequence[str]) -> int:
    """Serve the zones beside `-conf FILE` until SIGTERM or SIGINT; the exit status, 1 when a port is
    taken.
    """
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
        help="other names do not exist; default: ask resolv.conf's servers",
    )
    parser.add_argument(
        "--resolv", type=Path, default=Path("/etc/resolv.conf"), help="names the upstream servers"
    )
    parser.add_argument("--report-ports", type=int, nargs="*", default=(8080, 8181), metavar="PORT")
    options = parser.parse_args(argv[1:])
    upstreams = [] if options.no_forward else system_nameservers(options.resolv)
    try:
        asyncio.run(_serve(Server(options.conf.parent, upstreams, options.port), options.report_ports))
    except OSError as error:
        _log(f"dns: {error.strerror}: stop what listens there, or choose another port")
        return 1
    return 0


async def _serve(server: Server, report_ports: Sequence[int]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(signal.SIGTERM, loop.call_later, LAME_DUCK, stop.set)
    await server.run(stop, report_ports)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
