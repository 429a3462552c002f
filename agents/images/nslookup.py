"""nslookup, with bind's output: `nslookup kubernetes.default`, `nslookup -type=srv _http._tcp.web`.

    NAME --resolv.conf: ndots, search--> candidates: web-0.nginx.default.svc.cluster.local, …, web-0.nginx
         --each in turn: A and AAAA, or -type--> the first that has records is printed
    ADDRESS --> its name under in-addr.arpa or ip6.arpa, PTR

Invariant: a candidate without an answer is no failure; only when none has records the exit status is 1.
A name with at least `ndots` dots is tried as it is first, one that ends with a dot only so.

dnspython is imported by the question: the warm parent of all containers stays small.
Sources: resolv.conf(5), nslookup(1) of bind9-dnsutils.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agents.images.process import SIGINT, STDERR, write

if TYPE_CHECKING:
    from dns.message import Message
    from dns.rrset import RRset

RESOLV_CONF = Path("/etc/resolv.conf")
_USAGE = "Usage: nslookup [-type=QUERY_TYPE] [-port=PORT] [-timeout=SECONDS] NAME [DNS_SERVER]\n"
_FLAGS = ("debug", "nodebug", "recurse", "norecurse", "vc", "novc", "search", "nosearch")
_WORDS = {
    "CNAME": "canonical name",
    "PTR": "name",
    "NS": "nameserver",
    "SRV": "service",
    "MX": "mail exchanger",
    "TXT": "text",
}


class NslookupError(Exception):
    """No answer; the message is the line to print."""


@dataclass(frozen=True)
class ResolvConf:
    """What resolv.conf(5) says: addresses of servers, domains to try, and from how many dots on a name is
    tried as it is first.
    """

    nameservers: tuple[str, ...] = ("127.0.0.1",)
    search: tuple[str, ...] = ()
    ndots: int = 1

    def candidates(self, name: str) -> list[str]:
        """The full names to ask for, in turn; each ends with a dot."""
        if name.endswith("."):
            return [name]
        searched = [f"{name}.{domain}." for domain in self.search if domain]
        return [f"{name}.", *searched] if name.count(".") >= self.ndots else [*searched, f"{name}."]


@dataclass(frozen=True)
class Question:
    """The command line: a name or address, the types to ask for (none: A and AAAA), and whom."""

    name: str
    types: tuple[str, ...]
    server: str
    port: int
    timeout: float
    search: bool


def parse_resolv_conf(text: str) -> ResolvConf:
    """The last `search` (or `domain`) line counts, and every `nameserver`; what is not understood is passed
    over.
    """
    servers: list[str] = []
    search: tuple[str, ...] = ()
    ndots = 1
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0].startswith(("#", ";")):
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = tuple(domain.rstrip(".") for domain in words[1:])
        elif words[0] == "options":
            dots = [word[6:] for word in words[1:] if word.startswith("ndots:") and word[6:].isdigit()]
            ndots = min(int(dots[-1]), 15) if dots else ndots
    return ResolvConf(tuple(servers) or ("127.0.0.1",), search, ndots)


def main(argv: Sequence[str]) -> int:
    """Ask and print. Exit status 0 with records, 1 without."""
    try:
        question = parse(argv[1:])
    except ValueError as error:
        write(f"nslookup: {error}\n{_USAGE}", STDERR)
        return 1
    try:
        conf = parse_resolv_conf(RESOLV_CONF.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        conf = ResolvConf()
    try:
        for line in answer(question, conf):
            write(f"{line}\n")
    except NslookupError as error:
        write(f"{error}\n\n")
        return 1
    except KeyboardInterrupt:
        return 128 + SIGINT
    return 0


def parse(words: Sequence[str]) -> Question:
    """The question of a command line. Raises ValueError."""
    from dns.rdatatype import UnknownRdatatype, from_text

    types: tuple[str, ...] = ()
    named = {"port": "53", "timeout": "5"}
    arguments, search = [], True
    for word in words:
        name, equals, value = word.lstrip("-").lower().partition("=")
        if not word.startswith("-"):
            arguments.append(word)
        elif equals and name in ("type", "querytype", "query", "q"):
            try:
                types = (from_text(value).name,)
            except (UnknownRdatatype, ValueError):
                raise ValueError(f"unknown query type: {value}") from None
        elif equals and value.isdigit() and name in named | {"retry": ""}:
            named[name] = value
        elif name in _FLAGS:
            search = search and name != "nosearch"
        else:
            raise ValueError(f"invalid option: {word}")
    if len(arguments) not in (1, 2):
        raise ValueError("want a name")
    server = arguments[1] if len(arguments) == 2 else ""
    return Question(arguments[0], types, server, int(named["port"]), float(named["timeout"]), search)


def answer(question: Question, conf: ResolvConf) -> Iterator[str]:
    """The lines of the output. Raises NslookupError."""
    import dns.exception
    import dns.reversename

    servers = [_address(question.server)] if question.server else list(conf.nameservers)
    names = conf.candidates(question.name) if question.search else [question.name.rstrip(".") + "."]
    types = question.types or ("A", "AAAA")
    try:
        names, types = [dns.reversename.from_address(question.name).to_text()], ("PTR",)
    except dns.exception.SyntaxError:
        pass  # it is a name
    failure = "NXDOMAIN"
    for index, name in enumerate(names):
        server, replies = ask(name, types, servers, question)
        if not index:
            yield from (f"Server:\t\t{server}", f"Address:\t{server}#{question.port}", "")
        lines = list(show(replies))
        if lines:
            yield from (*lines, "")
            return
        words = {_rcode(reply) for reply in replies}
        failure = next(iter(words - {"NXDOMAIN"}), failure)
    shown = names[0].rstrip(".") if types == ("PTR",) else question.name
    if failure == "NOERROR":
        raise NslookupError(f"*** Can't find {shown}: No answer")
    raise NslookupError(f"** server can't find {shown}: {failure}")


def _address(server: str) -> str:
    """The address of a server that is given by name."""
    try:
        return str(socket.getaddrinfo(server, 53, type=socket.SOCK_DGRAM)[0][4][0])
    except (OSError, UnicodeError):
        raise NslookupError(f"nslookup: couldn't get address for '{server}': not found") from None


def ask(
    name: str, types: Sequence[str], servers: Sequence[str], question: Question
) -> tuple[str, list[Message]]:
    """The first server that answers, and its replies, one for each type; over TCP when one does not fit a
    datagram. Raises NslookupError.
    """
    import dns.exception
    import dns.message
    import dns.name
    import dns.query

    try:
        dns.name.from_text(name)
    except dns.exception.DNSException:
        raise NslookupError(f"nslookup: '{name}' is not a legal name") from None
    for server in servers:
        try:
            replies = [
                dns.query.udp_with_fallback(
                    dns.message.make_query(name, kind, use_edns=False),
                    server,
                    question.timeout,
                    question.port,
                )[0]
                for kind in types
            ]
        except (OSError, dns.exception.DNSException):
            continue  # the next server
        return server, replies
    raise NslookupError(";; connection timed out; no servers could be reached")


def _rcode(reply: Message) -> str:
    from dns.rcode import to_text

    return to_text(reply.rcode())


def show(replies: Sequence[Message]) -> Iterator[str]:
    """The records of the answers, an alias once; nothing when there are none."""
    from dns.flags import AA

    sets: list[RRset] = []
    for reply in replies:
        sets += (rrset for rrset in reply.answer if rrset not in sets)
    if sets and not any(reply.flags & AA for reply in replies):
        yield "Non-authoritative answer:"
    for rrset in sets:
        name, kind = rrset.name.to_text(omit_final_dot=True), rrset.rdtype.name
        for record in rrset:
            if kind in ("A", "AAAA"):
                yield f"Name:\t{name}"
                yield f"Address: {record.to_text()}"
            else:
                yield f"{name}\t{_WORDS.get(kind, f'rdata_{int(rrset.rdtype)}')} = {record.to_text()}"
