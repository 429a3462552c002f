r"""The ordinary question, answered without a library: what nearly every lookup of a pod is.

    | ID | RD, nothing else | 1 question | \3web\7default\3svc\7cluster\5local\0 | A, AAAA, PTR or SRV | IN |
      |                                      `- is written into the answer as it came; other names point into it
      v
    | ID | QR AA RD RA, code | 1, N, M, K | the question | records | the zone's SOA, when there are none | addresses

Everything else is the library's (dns_answers.py): EDNS, other types, letters that a host name does not have, aliases,
answers that are longer than a plain client takes. It would say the same as this file, and take longer; a test holds
both against each other.

Invariant: a query is answered here only when all of its bytes were looked at; when in doubt, None.

Sources: RFC 1035 4.1 (format; 4.1.4: a name may end in a pointer to an earlier one), RFC 2782 (SRV), RFC 3596 (AAAA).
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

from netfns.dns_zones import Answer, Record, Zones, evaluate

HEADER, PLAIN_UDP = 12, 512  # bytes of a header, and the most that a client takes which does not say
MOST_ORDERS = 8  # in which several addresses are given
Some = TypeVar("Some")
TYPES = {1: "A", 28: "AAAA", 12: "PTR", 33: "SRV"}
NUMBERS = {name: number for number, name in TYPES.items()} | {"SOA": 6}
IN = 1
ORDINARY = re.compile(rb"(?:[A-Za-z0-9_-]{1,63}\.)+")
COUNTS = b"\0\1\0\0\0\0\0\0"  # one question and nothing else
AUTHENTIC_DATA = 0x20  # a flag that some clients set, and that asks nothing of a server without signatures
QR_AA, RD, RA = 0x84, 0x01, 0x80
NXDOMAIN = 3


def answer(zones: Zones, query: bytes, recursion: bool) -> tuple[list[bytes], Answer] | None:
    """The answer to an ordinary query in wire form, in each order in which several records are to be given, and
    what it was made of; None when the library is to look at the query.
    """
    asked = _question(query)
    if asked is None:
        return None
    name, kind = asked
    found = evaluate(zones, name, kind)
    if found is None or found.alias:
        return None
    records = found.records
    if any(record.type != kind or record.name != records[0].name for record in records):
        return None
    try:
        answers = [_record(record, name) for record in records]
        rest = b"".join(_record(record, name) for record in (*found.authority, *found.additional))
    except (KeyError, OSError, ValueError):
        return None
    code = NXDOMAIN if found.code == "NXDOMAIN" else 0
    flags = bytes((QR_AA | query[2] & RD, (RA if recursion else 0) | code))
    counts = struct.pack("!HHHH", 1, len(records), len(found.authority), len(found.additional))
    head = query[:2] + flags + counts + query[HEADER:]
    orders = min(MOST_ORDERS, max(1, len(answers)))
    wires = [b"".join((head, *turned(answers, turn), rest)) for turn in range(orders)]
    return None if len(wires[0]) > PLAIN_UDP else (wires, found)


def turned(records: Sequence[Some], turn: int) -> Sequence[Some]:
    """Records in the order of a turn; the turns begin at places that are spread over all records."""
    if len(records) < 2:
        return records
    start = turn * max(1, len(records) // MOST_ORDERS) % len(records)
    return [*records[start:], *records[:start]]


def _question(query: bytes) -> tuple[str, str] | None:
    """The name and the type that an ordinary query asks for."""
    if query[2] & ~RD or query[3] & ~AUTHENTIC_DATA or query[4:HEADER] != COUNTS:
        return None
    position, labels = HEADER, []
    while position < len(query) and (length := query[position]):
        labels.append(query[position + 1 : position + 1 + length])
        position += 1 + length
    if position + 5 != len(query) or position - HEADER > 254:
        return None
    name = b".".join((*labels, b""))
    kind, group = struct.unpack_from("!HH", query, position + 1)
    whole = name.count(b".") == len(labels)  # no label has a dot in it
    if group != IN or kind not in TYPES or not whole or not ORDINARY.fullmatch(name):
        return None
    return name.decode(), TYPES[kind]


def _record(record: Record, question: str) -> bytes:
    """One record in wire form. Raises KeyError for a type, ValueError or OSError for data, that the library writes."""
    data = _data(record.type, record.data)
    head = struct.pack("!HHIH", NUMBERS[record.type], IN, record.ttl, len(data))
    return _owner(record.name, question) + head + data


def _owner(name: str, question: str) -> bytes:
    """A record's name: a pointer into the question where that ends in it. In both forms a label takes its length
    and one byte more, so places in the text are places in the question.
    """
    small, asked = name.lower(), question.lower()
    if asked == small or asked.endswith(f".{small}"):
        return struct.pack("!H", 0xC000 | HEADER + len(asked) - len(small))
    return _name(name)


@lru_cache(4096)  # the SOA of every negative answer is one of them
def _data(kind: str, text: str) -> bytes:
    match kind:
        case "A":
            return socket.inet_pton(socket.AF_INET, text)
        case "AAAA":
            return socket.inet_pton(socket.AF_INET6, text)
        case "PTR":
            return _name(text)
        case "SRV":
            priority, weight, port, target = text.split()
            return struct.pack("!HHH", int(priority), int(weight), int(port)) + _name(target)
        case "SOA":
            server, mailbox, *numbers = text.split()
            return _name(server) + _name(mailbox) + struct.pack("!5I", *map(int, numbers))
    raise KeyError(kind)


def _name(text: str) -> bytes:
    """A name in wire form. Raises ValueError for one that is not an ordinary one."""
    wire = text.encode()
    if not ORDINARY.fullmatch(wire) or len(wire) > 254:
        raise ValueError(text)
    return b"".join(bytes((len(label),)) + label for label in wire.split(b"."))
