"""Elements of nftables sets and maps by raw netlink: what must be fast is a few numbers in one message.

    add element inet network-policy peers4-3f0a { 10.244.1.5 comment "x/a" }      text, as students see it
         |  compile_elements(text, type_of)      type_of asks the kernel once for the set's key and data
         v
    BATCH_BEGIN | NEWSETELEM … | BATCH_END       one transaction: all of it or nothing
         |  Nfnetlink.send
         v
    acknowledged, or an error

nft itself fetches every table's chains and sets before it adds one element, so its cost grows with the ruleset;
the kernel's does not. Only element commands of sets without intervals are known here, of the types that
Minipod's tables use. Chains and rules are compiled by topo/nfrules.py; everything else is nft's (topo/nft.py).

Sources: linux/netfilter/nf_tables.h, nfnetlink.h; netlink(7); nft(8), "DATA TYPES" (`nft describe`), whose numbers are
in a set's key type, six bits a field.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

NETLINK_NETFILTER = 12
SUBSYSTEM = 10  # nf_tables
BATCH_BEGIN, BATCH_END = 0x10, 0x11
NEW_ELEMENT, GET_SET, DELETE_ELEMENT, GET_GENERATION = (
    SUBSYSTEM << 8 | number for number in (12, 10, 14, 16)
)
REQUEST, ACKNOWLEDGE, CREATE = 0x1, 0x4, 0x400
ERROR = 2  # NLMSG_ERROR
FAMILIES = {"inet": 1, "ip": 2, "ip6": 10, "bridge": 7}
MOST_ELEMENTS = 300  # of one message: an attribute holds 64 KiB
WAIT = 30.0  # seconds for an answer
NESTED = 0x8000
INTERVAL, CONSTANT, MAP = 0x4, 0x2, 0x8  # flags of a set
VERDICT_DATA = 0xFFFFFF00
TYPE_BITS = 6
VERDICTS = {"drop": 0, "accept": 1, "continue": -1, "jump": -3, "goto": -4, "return": -5}
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "icmpv6": 58}

HEAD = re.compile(r"(add|delete) element (\S+) (\S+) (\S+) \{ ")


class Unknown(Exception):
    """A text that is nft's business, not ours."""


@dataclass(frozen=True)
class SetType:
    """What a set's keys and data are made of: numbers of nft's data types. `verdict`: its data are verdicts."""

    key: tuple[int, ...]
    data: tuple[int, ...] = ()
    verdict: bool = False


TypeOf = Callable[[str, str, str], SetType]  # family, table, set; raises Unknown


def compile_elements(text: str, type_of: TypeOf) -> list[bytes] | None:
    """The messages of a text that consists of element commands only, without their batch; None for any other."""
    try:
        return [
            one
            for line in text.splitlines()
            for command in line.split("; ")
            for one in element_messages(command, type_of)
        ]
    except Unknown:
        return None


def element_messages(command: str, type_of: TypeOf) -> tuple[bytes, ...]:
    """The messages of one element command. Raises Unknown for any other."""
    command = command.strip()
    found = HEAD.match(command)
    if found is None or found[2] not in FAMILIES or not command.endswith(" }"):
        raise Unknown(command)
    return _messages(command, type_of(*found.groups()[1:]))


@lru_cache(maxsize=64)  # the nodes of a lab are given many of the same commands, one after the other
def _messages(command: str, kind: SetType) -> tuple[bytes, ...]:
    """The messages of one command, at most MOST_ELEMENTS elements in each."""
    found = HEAD.match(command)
    assert found is not None
    verb, family, table, name = found.groups()
    elements = command[found.end() : -2]
    messages = []
    encoded = [_element(text, kind, verb) for text in elements.split(", ")]
    number, flags = (NEW_ELEMENT, CREATE) if verb == "add" else (DELETE_ELEMENT, 0)
    for start in range(0, len(encoded), MOST_ELEMENTS):
        body = (
            attribute(1, f"{table}\0".encode())
            + attribute(2, f"{name}\0".encode())
            + nested(3, (nested(1, [one]) for one in encoded[start : start + MOST_ELEMENTS]))
        )
        messages.append(message(number, REQUEST | flags, FAMILIES[family], body))
    return tuple(messages)


def _element(text: str, kind: SetType, verb: str) -> bytes:
    """`key comment "owner" : value`; comment and value may be absent, and mean nothing to a deletion."""
    key, commented, rest = text.strip().partition(' comment "')
    if commented:
        comment, closed, rest = rest.partition('"')
        if not closed or (rest and not rest.startswith(" : ")):
            raise Unknown(text)
        value = rest.removeprefix(" : ")
    else:
        key, _, value = key.partition(" : ")
    encoded = nested(1, [attribute(1, fields(key, kind.key))])
    if verb == "delete":
        return encoded
    if bool(value) != (kind.verdict or bool(kind.data)):
        raise Unknown(text)
    if value:
        data = verdict(value) if kind.verdict else attribute(1, fields(value, kind.data))
        encoded += nested(2, [data])
    if commented:
        owner = comment.encode() + b"\0"
        encoded += attribute(6, struct.pack("BB", 0, len(owner)) + owner)
    return encoded


def fields(text: str, types: Sequence[int]) -> bytes:
    """A key or a value; each field of a concatenation takes whole words of four bytes."""
    parts = text.strip().split(" . ")
    if len(parts) != len(types):
        raise Unknown(text)
    encoded = [_field(part.strip(), kind) for part, kind in zip(parts, types, strict=True)]
    if len(encoded) == 1:
        return encoded[0]
    return b"".join(one + bytes(-len(one) % 4) for one in encoded)


@lru_cache(maxsize=8192)  # addresses and ports come again and again
def _field(text: str, kind: int) -> bytes:
    try:
        match kind:
            case 7:
                return socket.inet_pton(socket.AF_INET, text)
            case 8:
                return socket.inet_pton(socket.AF_INET6, text)
            case 12:
                return bytes([PROTOCOLS[text]])
            case 13:
                return struct.pack("!H", int(text))
            case 19:
                return struct.pack("=I", int(text, 0))
    except (ValueError, KeyError, OSError, struct.error):
        pass
    raise Unknown(text)


def verdict(text: str) -> bytes:
    """The attribute of `accept`, `jump CHAIN` and the like."""
    word, _, chain = text.strip().partition(" ")
    if word not in VERDICTS or bool(chain) != (word in ("jump", "goto")):
        raise Unknown(text)
    parts = [attribute(1, struct.pack("!i", VERDICTS[word]))]
    if chain:
        parts.append(attribute(2, f"{chain}\0".encode()))
    return nested(2, parts)


# ---------------------------------------------------------------- messages


_ATTRIBUTE, _FILLING = struct.Struct("=HH").pack, (b"", bytes(3), bytes(2), bytes(1))


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, filled up to whole words."""
    length = 4 + len(data)
    return _ATTRIBUTE(length, kind) + data + _FILLING[length % 4]


def nested(kind: int, parts: Iterable[bytes]) -> bytes:
    """An attribute that holds others."""
    return attribute(kind | NESTED, b"".join(parts))


def number(kind: int, value: int) -> bytes:
    """An attribute that is a number, as the kernel reads it."""
    return attribute(kind, struct.pack("!I", value))


def userdata(kind: int, value: int) -> bytes:
    """A number that the kernel keeps for nft and does not look at: in the machine's order."""
    return struct.pack("=BBI", kind, 4, value)


def message(kind: int, flags: int, family: int, body: bytes = b"", resource: int = 0) -> bytes:
    """A netlink message with nfgenmsg; its sequence number is put in when it is sent."""
    head = struct.pack("=IHHII", 20 + len(body), kind, flags, 0, 0)
    return head + struct.pack("=BB", family, 0) + struct.pack("!H", resource) + body


def _numbered(one: bytes, number: int) -> bytes:
    return one[:8] + struct.pack("=I", number) + one[12:]


def _acknowledged(one: bytes) -> bytes:
    (flags,) = struct.unpack_from("=H", one, 6)
    return one[:6] + struct.pack("=H", flags | ACKNOWLEDGE) + one[8:]


class Nfnetlink:
    """A netlink socket in one network namespace: make it there, use it anywhere, from one thread at a time."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)  # as much as is allowed
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.settimeout(WAIT)
        self._socket.bind((0, 0))
        self._number = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, messages: Sequence[bytes]) -> None:
        """Send messages as one transaction. Raises OSError with the first error, and then nothing has changed."""
        first = self._number + 1
        self._number += len(messages) + 2
        last = self._number - 1
        numbered = [_numbered(one, number) for number, one in enumerate(messages, first + 1)]
        numbered[-1] = _acknowledged(numbered[-1])
        begin, end = (message(kind, REQUEST, 0, resource=SUBSYSTEM) for kind in (BATCH_BEGIN, BATCH_END))
        self._socket.send(b"".join((_numbered(begin, first), *numbered, _numbered(end, self._number))))
        failure = 0
        for kind, number, payload in self._answers():
            if kind == ERROR and first <= number <= self._number:
                failure = failure or -int(struct.unpack_from("=i", payload)[0])
                if number == last or (failure and number == first):
                    break
        if failure:
            raise OSError(failure, f"nfnetlink: error {failure}")

    def type_of(self, family: str, table: str, name: str) -> SetType:
        """What a set is made of. Raises Unknown for one that is not there, or not of a kind that is known here."""
        self._number += 1
        body = attribute(1, f"{table}\0".encode()) + attribute(2, f"{name}\0".encode())
        request = message(GET_SET, REQUEST | ACKNOWLEDGE, FAMILIES[family], body)
        self._socket.send(_numbered(request, self._number))
        found: dict[int, bytes] = {}
        for kind, number, payload in self._answers():
            if number == self._number:
                if kind == ERROR:
                    break
                found = dict(_attributes(payload[4:]))
        flags, key, data = (struct.unpack("!I", found.get(k, bytes(4)))[0] for k in (3, 4, 6))
        if not key or flags & (INTERVAL | CONSTANT):
            raise Unknown(name)
        verdict = bool(flags & MAP) and data == VERDICT_DATA
        return SetType(_types(key), _types(data) if flags & MAP and not verdict else (), verdict)

    def generation(self) -> int:
        """How many transactions this network namespace has seen, whoever's they were."""
        self._number += 1
        self._socket.send(_numbered(message(GET_GENERATION, REQUEST, 0), self._number))
        for _, number, payload in self._answers():
            if number == self._number:
                found = dict(_attributes(payload[4:]))
                return int(struct.unpack("!I", found[1])[0])
        raise AssertionError("answers do not end")

    def _answers(self) -> Iterator[tuple[int, int, bytes]]:
        """(kind, number, payload) of whatever comes, until the reader has enough."""
        while True:
            received, position = self._socket.recv(1 << 16), 0
            while position + 16 <= len(received):
                length, kind, _, number = struct.unpack_from("=IHHI", received, position)
                yield kind, number, received[position + 16 : position + length]
                position += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, position)
        yield kind & ~NESTED, data[position + 4 : position + length]
        position += max(4, (length + 3) & ~3)


def _types(number: int) -> tuple[int, ...]:
    """The types of a concatenation, the first in the highest bits."""
    types: tuple[int, ...] = ()
    while number:
        types = (number & ((1 << TYPE_BITS) - 1), *types)
        number >>= TYPE_BITS
    return types
