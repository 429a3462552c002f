"""From a query to its answer, in wire form: what a DNS server says, without a socket.

    query --the same question before?--yes--> its ready answer, with this query's ID and spelling
              | no
            an ordinary question?--yes--> dns_plain.py: evaluate(zones, name, type) --> wire form, kept for next time
              | no                                                        |
            dnspython parses --> refused? --> evaluate, and wire form ----'
                                                 | a name, or an alias, outside our zones
                                                None: whoever has sockets asks upstream, and `merge` puts it together

What is no answer from the zones:

    shorter than a header, or itself a response    nothing at all: it would be answered for ever
    does not parse, no question or several         FORMERR
    another opcode than QUERY                      NOTIMP
    an EDNS version to come                        BADVERS
    a zone transfer, another class than IN         REFUSED; so is a name of others when nobody can be asked

Invariants: a ready answer is used only for a question that is equal but for its ID and its letters' case, and is
dropped when a name that it was made from changes; several addresses come in another order each time, so that
clients that take the first are spread; what is no query never raises; an answer that does not fit is cut and says
so (TC), and fits over TCP.

Sources: RFC 1035 4, RFC 2181 9 (TC), RFC 6891 (EDNS), RFC 3225 (DO), RFC 9619 (one question), RFC 8906; the draft
"0x20" (letters' case); CoreDNS's plugins kubernetes and loadbalance.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from netfns import dns_plain
from netfns.dns_plain import HEADER, MOST_ORDERS, PLAIN_UDP, turned
from netfns.dns_zones import Answer, Record, Zones, evaluate

MOST_READY = 65536  # answers kept, of some 600 bytes each
LONGEST_KEPT = 320  # bytes of a query; a question with EDNS fits
EDNS_UDP = 1232  # bytes: the most that is answered with EDNS

_TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)
_NO_QUESTIONS = (dns.rdatatype.OPT, dns.rdatatype.TSIG, dns.rdatatype.TKEY)


class Ready:
    """Answers in wire form, by question: header and rest of each order in which the records are given."""

    def __init__(self) -> None:
        self.answers: dict[bytes, tuple[bytes, tuple[bytes, ...]]] = {}
        self._keys: dict[str, list[bytes]] = {}  # name -> the questions whose answer it is in
        self._turn = 0

    def find(self, query: bytes) -> bytes | None:
        """The ready answer to a query, under its ID and with its question as it is spelled."""
        end = query.find(0, HEADER) + 1
        found = self.answers.get(query[2:HEADER] + query[HEADER:end].lower() + query[end:])
        if found is None:
            return None
        header, rests = found
        self._turn += 1
        return query[:2] + header + query[HEADER : end + 4] + rests[self._turn % len(rests)]

    def keep(self, query: bytes, answers: Sequence[bytes], names: Iterable[str]) -> None:
        """Keep the answer to a query, in several orders, until one of `names` changes."""
        end = query.find(0, HEADER) + 1
        question = slice(HEADER, end + 4)
        if len(query) > LONGEST_KEPT or any(a[question] != query[question] for a in answers):
            return
        if len(self.answers) >= MOST_READY:
            self.clear()
        key = query[2:HEADER] + query[HEADER:end].lower() + query[end:]
        self.answers[key] = answers[0][2:HEADER], tuple(answer[end + 4 :] for answer in answers)
        for name in names:
            self._keys.setdefault(name, []).append(key)

    def forget(self, names: Iterable[str]) -> None:
        """Drop the answers that names are in."""
        for name in names:
            for key in self._keys.pop(name, ()):
                self.answers.pop(key, None)

    def clear(self) -> None:
        """Drop all answers."""
        self.answers.clear()
        self._keys.clear()


def own(zones: Zones, query: bytes, tcp: bool, recursion: bool, ready: Ready | None = None) -> bytes | None:
    """The answer that needs nobody else: from the zones, an error, or b"" for what deserves none.

    None: it must be asked upstream, which happens only with `recursion`. What comes from the zones is kept in
    `ready`.
    """
    if len(query) < HEADER or query[2] & 0x80:
        return b""
    if not tcp and (plain := dns_plain.answer(zones, query, recursion)) is not None:
        wires, answer = plain
        if ready is not None:
            ready.keep(query, wires, answer.names)
        return wires[0]
    return by_library(zones, query, tcp, recursion, ready)


def by_library(
    zones: Zones, query: bytes, tcp: bool, recursion: bool, ready: Ready | None = None
) -> bytes | None:
    """What `own` says, for any query at all; ordinary ones need not come here."""
    if dns.opcode.from_flags(int.from_bytes(query[2:4])) != dns.opcode.QUERY:
        return _header(query, dns.rcode.NOTIMP)
    try:
        asked = dns.message.from_wire(query, keyring=False)
    except dns.exception.DNSException:
        return _header(query, dns.rcode.FORMERR)
    if len(asked.question) != 1:
        return _header(query, dns.rcode.FORMERR)
    code = _refusal(asked)
    if code is not None:
        return error(asked, code, tcp, recursion)
    answer = _evaluate(zones, asked)
    if answer is None or (answer.alias and recursion):
        return None if recursion else error(asked, dns.rcode.REFUSED, tcp, recursion)
    orders = 1 if tcp else min(MOST_ORDERS, max((len(s) for s in _rrsets(answer.records)), default=1))
    wires = [_wire(_filled(asked, answer, recursion, turn), asked, tcp) for turn in range(orders)]
    if ready is not None and not tcp:
        ready.keep(query, wires, answer.names)
    return wires[0]


def _evaluate(zones: Zones, asked: dns.message.Message) -> Answer | None:
    (question,) = asked.question
    return evaluate(zones, question.name.to_text(), dns.rdatatype.to_text(question.rdtype))


def _header(query: bytes, code: dns.rcode.Rcode) -> bytes:
    """An error that is a header and nothing more: ID, opcode and RD as in the query."""
    return query[:2] + bytes([0x80 | query[2] & 0x79, code]) + bytes(8)


def _refusal(asked: dns.message.Message) -> dns.rcode.Rcode | None:
    """The error that a well-formed query gets whatever is in the zones; None when it may be answered."""
    (question,) = asked.question
    if asked.edns > 0:
        return dns.rcode.BADVERS
    if question.rdtype in _NO_QUESTIONS:
        return dns.rcode.FORMERR
    if question.rdclass != dns.rdataclass.IN or question.rdtype in _TRANSFERS:
        return dns.rcode.REFUSED
    return None


def error(asked: dns.message.Message, code: dns.rcode.Rcode, tcp: bool, recursion: bool) -> bytes:
    """An answer that is an error code."""
    reply = _reply_to(asked, recursion)
    reply.set_rcode(code)
    return _wire(reply, asked, tcp)


def upstream_question(zones: Zones, query: bytes) -> dns.message.Message:
    """What is to be asked upstream for a query that `own` has no answer to: its own question, or for its alias."""
    asked = dns.message.from_wire(query, keyring=False)
    (question,) = asked.question
    answer = _evaluate(zones, asked)
    target = dns.name.from_text(answer.alias) if answer is not None and answer.alias else question.name
    return dns.message.make_query(target, question.rdtype, use_edns=0, payload=EDNS_UDP)


def merge(zones: Zones, query: bytes, found: dns.message.Message, tcp: bool) -> bytes:
    """The answer made of what was found upstream; an alias of ours is put before it."""
    asked = dns.message.from_wire(query, keyring=False)
    answer = _evaluate(zones, asked)
    if answer is None or not answer.alias:
        reply = _reply_to(asked, recursion=True)
    else:
        reply = _filled(asked, answer, recursion=True)
    reply.set_rcode(found.rcode())
    reply.answer += found.answer
    reply.authority = found.authority
    return _wire(reply, asked, tcp)


def _reply_to(asked: dns.message.Message, recursion: bool) -> dns.message.Message:
    reply = dns.message.make_response(asked, recursion_available=recursion, our_payload=EDNS_UDP, pad=0)
    if asked.edns >= 0:
        reply.ednsflags |= asked.ednsflags & dns.flags.DO
    return reply


def _filled(
    asked: dns.message.Message, answer: Answer, recursion: bool, turn: int = 0
) -> dns.message.Message:
    """The reply with an answer from the zones; `turn` chooses the order of several records."""
    reply = _reply_to(asked, recursion)
    reply.flags |= dns.flags.AA
    reply.set_rcode(dns.rcode.from_text(answer.code))
    reply.answer = _rrsets(answer.records, turn)
    reply.authority = _rrsets(answer.authority)
    reply.additional = _rrsets(answer.additional)
    return reply


def _rrsets(records: Sequence[Record], turn: int = 0) -> list[dns.rrset.RRset]:
    sets: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        sets.setdefault((record.name, record.type), []).append(record)
    return [_rrset(*turned(found, turn)) for found in sets.values()]


@functools.lru_cache(4096)  # the SOA of every negative answer is one of them
def _rrset(*records: Record) -> dns.rrset.RRset:
    first = records[0]
    return dns.rrset.from_text_list(first.name, first.ttl, "IN", first.type, [r.data for r in records])


def _wire(reply: dns.message.Message, asked: dns.message.Message, tcp: bool) -> bytes:
    """The reply in wire form, cut (with TC set) where it is longer than the client takes."""
    udp = min(max(asked.payload, PLAIN_UDP), EDNS_UDP) if asked.edns >= 0 else PLAIN_UDP
    return reply.to_wire(max_size=65535 if tcp else udp, prefer_truncation=True, want_shuffle=False)
