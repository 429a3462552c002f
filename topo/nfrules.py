"""Chains, sets and rules of nftables by raw netlink: the few forms that a change of NetworkPolicies is made of.

    add rule inet network-policy ingress/x/db tcp dport vmap { 5432 : jump from-3f0a }
         |  compile_text(text, type_of)
         v
    NEWSET       __map%d, anonymous: the braces
    NEWSETELEM   5432 : jump from-3f0a
    NEWRULE      compare the protocol, load the port into a register, look it up in the map, do what it says

Known: `add chain` (without a hook), `flush chain`, `delete chain`, `add set`, `add map` (of verdicts), `delete set`,
element commands (topo/nfnetlink.py), and `add rule` in a table `inet`, with at most one match and then a verdict:

    ip saddr @SET            ip6 daddr { fd00::1, fd00::10-fd00::1f }        ip daddr . meta l4proto . th dport @SET
    tcp dport vmap { 80 : accept, 5000-5010 : jump CHAIN }
    counter drop comment "OWNER"

A text with anything else in it is nft's as a whole (topo/nft.py). What is known here costs what it says, however
many rules there are: nft would fetch them all first.

Invariant: the kernel holds, and nft lists, what nft would have made of the same text (tests/kernel/test_nft.py).

Sources: linux/netfilter/nf_tables.h, of which all numbers here are; nft(8), "EXPRESSIONS", "STATEMENTS"; what goes
where can be watched by `nft --debug=netlink`.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from topo.nfnetlink import (
    CONSTANT,
    CREATE,
    FAMILIES,
    INTERVAL,
    MAP,
    NEW_ELEMENT,
    PROTOCOLS,
    REQUEST,
    SUBSYSTEM,
    TYPE_BITS,
    VERDICT_DATA,
    SetType,
    TypeOf,
    Unknown,
    attribute,
    element_messages,
    fields,
    message,
    nested,
    number,
    userdata,
    verdict,
)
from topo.nfspans import Span, in_order, members_of, spans_of

NEW_CHAIN, DELETE_CHAIN, NEW_RULE, DELETE_RULE, NEW_SET, DELETE_SET = (
    SUBSYSTEM << 8 | number for number in (3, 5, 6, 8, 9, 11)
)
APPEND = 0x800
ANONYMOUS = 0x1  # flag of a set
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
NFPROTO, L4PROTO = 15, 16  # keys of meta
EQUAL, AT_MOST, AT_LEAST = 0, 3, 5
VERDICT_REGISTER, FIRST, WORD = 0, 1, 8  # register 1 begins with the word of four bytes that is number 8
PORT_OFFSET = 2
BIG_ENDIAN = 2
SET_COMMENT = 7  # kinds of what a set's user data say
LONGEST_COMMENT = 127
MOST_MEMBERS = 500  # of braces; their message's attribute holds 64 KiB

TYPES = {"ipv4_addr": 7, "ipv6_addr": 8, "inet_proto": 12, "inet_service": 13}
LENGTHS = {7: 4, 8: 16, 12: 1, 13: 2}  # bytes of a type


class Header(NamedTuple):
    """Where a family's addresses are: its number (NFPROTO), offsets in its header, its type."""

    family: int
    offsets: dict[str, int]
    type: int

    @property
    def socket_family(self) -> socket.AddressFamily:
        """What inet_pton calls it."""
        return socket.AF_INET if self.type == TYPES["ipv4_addr"] else socket.AF_INET6


HEADERS = {
    "ip": Header(2, {"saddr": 12, "daddr": 16}, TYPES["ipv4_addr"]),
    "ip6": Header(10, {"saddr": 8, "daddr": 24}, TYPES["ipv6_addr"]),
}

PLACE = r"(?P<family>\S+) (?P<table>\S+) (?P<name>\S+)"
ADD_CHAIN = re.compile(rf'add chain {PLACE} \{{ comment "(?P<comment>[^"]*)"; \}}')
CHAIN = re.compile(rf"(?P<verb>flush|delete) chain {PLACE}")
ADD_SET = re.compile(
    rf'add (?P<kind>set|map) {PLACE} \{{ type (?P<type>[^;"]+);(?: comment "(?P<comment>[^"]*)";)? \}}'
)
DELETE_THE_SET = re.compile(rf"delete set {PLACE}")
ADD_RULE = re.compile(rf"add rule {PLACE} (?P<rule>.+)")
RULE = re.compile(
    r"(?:(?P<ip>ip6?) (?P<side>[sd]addr)(?: (?P<ports>\. meta l4proto \. th dport))?"
    r" (?:@(?P<set>[^\s{}]+)|\{ (?P<spans>[^{}]+) \}) )?"
    r'(?P<counter>counter )?(?P<verdict>accept|drop|(?:jump|goto) [^\s;"]+)(?: comment "(?P<comment>[^"]*)")?'
)
PORTS_RULE = re.compile(r"(?P<protocol>tcp|udp|sctp) dport vmap \{ (?P<pieces>[^{}]+) \}")
PIECE = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))? : (?P<verdict>\S+(?: \S+)?)")


def compile_text(text: str, type_of: TypeOf) -> list[bytes] | None:
    """The messages of a text, one transaction without its batch; None for a text that is nft's.

    `type_of` tells what a set is made of that the text does not make itself.
    """
    try:
        return _Text(type_of).compile(text)
    except (Unknown, struct.error):
        return None


def _port(text: str) -> bytes:
    return fields(text, (TYPES["inet_service"],))


class _Text:
    """One text: the sets that it has made until now, and the numbers of its anonymous ones."""

    def __init__(self, type_of: TypeOf) -> None:
        self._type_of = type_of
        self._made: dict[tuple[str, str, str], SetType] = {}
        self._sets = 0

    def compile(self, text: str) -> list[bytes]:
        """All messages."""
        return [one for line in text.splitlines() for one in self._line(line.strip())]

    def _line(self, line: str) -> Iterator[bytes]:
        """One command with a block, whose comment may hold anything, or several others."""
        if found := line.startswith("add chain ") and ADD_CHAIN.fullmatch(line):
            comment = attribute(12, _comment(found["comment"], 0))
            yield _command(NEW_CHAIN, CREATE, found, attribute(3, _word(found["name"])) + comment)
        elif found := line.startswith(("add set ", "add map ")) and ADD_SET.fullmatch(line):
            yield self._new_set(found)
        else:
            for command in line.split("; "):
                yield from self._command(command.strip())

    def _command(self, command: str) -> Iterator[bytes]:
        verb, what, _ = (*command.split(" ", 2), "", "")[:3]
        if what == "element":
            yield from element_messages(command, self._type)
        elif what == "rule" and (found := ADD_RULE.fullmatch(command)):
            yield from self._rule(found)
        elif what == "chain" and (found := CHAIN.fullmatch(command)):
            kind, place = (DELETE_RULE, 2) if verb == "flush" else (DELETE_CHAIN, 3)
            yield _command(kind, 0, found, attribute(place, _word(found["name"])))
        elif what == "set" and (found := DELETE_THE_SET.fullmatch(command)):
            self._made.pop((found["family"], found["table"], found["name"]), None)
            yield _command(DELETE_SET, 0, found, attribute(2, _word(found["name"])))
        else:
            raise Unknown(command)

    def _type(self, family: str, table: str, name: str) -> SetType:
        return self._made.get((family, table, name)) or self._type_of(family, table, name)

    # ---------------------------------------------------------------- sets

    def _new_set(self, found: re.Match[str]) -> bytes:
        """`add set` or `add map`; the data of a map are verdicts."""
        names, _, data = found["type"].partition(" : ")
        if (data == "verdict") != (found["kind"] == "map") or (data and data != "verdict"):
            raise Unknown(found[0])
        try:
            types = tuple(TYPES[name] for name in names.split(" . "))
        except KeyError:
            raise Unknown(found[0]) from None
        self._made[found["family"], found["table"], found["name"]] = SetType(types, (), bool(data))
        told = _order(types) + (userdata(1, 0) + userdata(6, 0) if data else b"")
        if found["comment"]:
            told += _comment(found["comment"], SET_COMMENT)
        body = self._set_body(found["name"], MAP if data else 0, types) + attribute(13, told)
        return _command(NEW_SET, CREATE, found, body)

    def _set_body(self, name: str, flags: int, types: Sequence[int]) -> bytes:
        """The attributes of a new set of this transaction; its number is the newest."""
        self._sets += 1
        key = 0
        for one in types:
            key = key << TYPE_BITS | one
        length = LENGTHS[types[0]] if len(types) == 1 else sum(-(-LENGTHS[one] // 4) * 4 for one in types)
        data = number(6, VERDICT_DATA) + number(7, 0) if flags & MAP else b""
        return (
            attribute(2, _word(name)) + number(3, flags) + number(4, key) + number(5, length) + data
            + number(10, self._sets)
        )  # fmt: skip

    def _braces(
        self, found: re.Match[str], flags: int, kind: int, spans: Sequence[Span], data: Sequence[bytes]
    ) -> tuple[str, list[bytes]]:
        """An anonymous set or map, with `data`, of what is in the spans, in order: the name that a rule asks for it
        by, and the messages.
        """
        intervals, members = members_of(spans, data)
        flags |= INTERVAL if intervals else 0
        if len(members) > MOST_MEMBERS:
            raise Unknown("too many for a message")
        name = "__map%d" if flags & MAP else "__set%d"  # the kernel puts a number into it
        body = self._set_body(name, flags | ANONYMOUS | CONSTANT, (kind,))
        body += nested(9, [number(1, len(members))]) + attribute(13, _order((kind,)))
        elements = attribute(2, _word(name)) + number(4, self._sets) + nested(3, members)
        return name, [
            _command(NEW_SET, CREATE, found, body), _command(NEW_ELEMENT, CREATE, found, elements)
        ]  # fmt: skip

    # ---------------------------------------------------------------- rules

    def _rule(self, found: re.Match[str]) -> Iterator[bytes]:
        text = found["rule"]
        if found["family"] != "inet":  # in others it goes without saying which protocol a packet is of
            raise Unknown(found[0])
        if ports := PORTS_RULE.fullmatch(text):
            messages, expressions = self._ports_map(found, ports["protocol"], ports["pieces"])
            comment = None
        elif rule := RULE.fullmatch(text):
            messages, expressions = self._match(found, rule) if rule["ip"] else ([], [])
            if rule["counter"]:
                expressions.append(_expression("counter"))
            expressions.append(
                _expression("immediate", number(1, VERDICT_REGISTER), nested(2, [verdict(rule["verdict"])]))
            )
            comment = rule["comment"]
        else:
            raise Unknown(text)
        yield from messages
        body = attribute(2, _word(found["name"])) + nested(4, expressions)
        if comment is not None:
            body += attribute(7, _comment(comment, 0))
        yield _command(NEW_RULE, CREATE | APPEND, found, body)

    def _ports_map(self, place: re.Match[str], protocol: str, text: str) -> tuple[list[bytes], list[bytes]]:
        """One protocol's ports in a map of verdicts."""
        pieces = [piece for piece in map(PIECE.fullmatch, text.split(", ")) if piece]
        spans = [(_port(piece["first"]), _port(piece["last"] or piece["first"])) for piece in pieces]
        if len(pieces) != text.count(", ") + 1 or not in_order(spans):
            raise Unknown(text)
        verdicts = [nested(2, [verdict(piece["verdict"])]) for piece in pieces]
        name, messages = self._braces(place, MAP, TYPES["inet_service"], spans, verdicts)
        return messages, [*_load_port(protocol), _lookup(name, self._sets, number(3, VERDICT_REGISTER))]

    def _match(self, found: re.Match[str], rule: re.Match[str]) -> tuple[list[bytes], list[bytes]]:
        """An address, or an address with protocol and port, that is in a set or among those in braces."""
        header = HEADERS[rule["ip"]]
        expressions = [*_load_address(rule["ip"], rule["side"])]
        if rule["ports"]:
            behind = WORD + LENGTHS[header.type] // 4
            expressions += _load_ports(behind, behind + 1)
        if rule["set"]:
            return [], [*expressions, _lookup(rule["set"], 0)]
        if rule["ports"]:
            raise Unknown(rule[0])
        spans = spans_of(rule["spans"], header.socket_family)
        if len(spans) == 1:
            first, last = spans[0]
            compared = [(EQUAL, first)] if first == last else [(AT_LEAST, first), (AT_MOST, last)]
            return [], [*expressions, *(_compare(*one) for one in compared)]
        name, messages = self._braces(found, 0, header.type, spans, [b""] * len(spans))
        return messages, [*expressions, _lookup(name, self._sets)]


# ---------------------------------------------------------------- messages


def _command(kind: int, flags: int, found: re.Match[str], body: bytes) -> bytes:
    """A message about something in a table; in all of them the table is the first attribute."""
    if found["family"] not in FAMILIES:
        raise Unknown(found[0])
    table = attribute(1, _word(found["table"]))
    return message(kind, REQUEST | flags, FAMILIES[found["family"]], table + body)


def _word(text: str) -> bytes:
    return f"{text}\0".encode()


def _order(types: Sequence[int]) -> bytes:
    """In which order a key's bytes are, for nft: a concatenation has none."""
    return userdata(0, BIG_ENDIAN if len(types) == 1 else 0)


def _comment(text: str, kind: int) -> bytes:
    encoded = _word(text)
    if len(encoded) > LONGEST_COMMENT:
        raise Unknown(text)
    return struct.pack("BB", kind, len(encoded)) + encoded


def _expression(name: str, *data: bytes) -> bytes:
    return nested(1, [attribute(1, _word(name)), nested(2, data)])


def _payload(register: int, base: int, offset: int, length: int) -> bytes:
    numbers = enumerate((register, base, offset, length), 1)
    return _expression("payload", *(number(kind, value) for kind, value in numbers))


@cache
def _load_ports(protocol: int, port: int) -> tuple[bytes, ...]:
    """`meta l4proto . th dport`, into two registers."""
    return (
        _expression("meta", number(2, L4PROTO), number(1, protocol)),
        _payload(port, TRANSPORT_HEADER, PORT_OFFSET, LENGTHS[TYPES["inet_service"]]),
    )


@cache
def _load_address(ip: str, side: str) -> tuple[bytes, ...]:
    """`ip saddr` and the like, of packets that are of that family."""
    header = HEADERS[ip]
    return (
        _expression("meta", number(2, NFPROTO), number(1, FIRST)),
        _compare(EQUAL, bytes([header.family])),
        _payload(FIRST, NETWORK_HEADER, header.offsets[side], LENGTHS[header.type]),
    )


@cache
def _load_port(protocol: str) -> tuple[bytes, ...]:
    """`tcp dport` and the like, of packets of that protocol."""
    return (
        _expression("meta", number(2, L4PROTO), number(1, FIRST)),
        _compare(EQUAL, bytes([PROTOCOLS[protocol]])),
        _payload(FIRST, TRANSPORT_HEADER, PORT_OFFSET, LENGTHS[TYPES["inet_service"]]),
    )


def _compare(operator: int, value: bytes) -> bytes:
    return _expression(
        "cmp", number(1, FIRST), number(2, operator), nested(3, [attribute(1, value)])
    )  # fmt: skip


def _lookup(name: str, place: int, *target: bytes) -> bytes:
    """`place`: the set's number in this transaction, if it has one."""
    numbered = [number(4, place)] if place else []
    return _expression("lookup", number(2, FIRST), *target, attribute(1, _word(name)), *numbered)
