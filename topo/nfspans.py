"""What is in the braces of a rule: single values and ranges of them, as members of a set of nftables.

    { 80 : accept, 81-90 : jump a, 100-65535 : drop }
      single values only    each is a member
      with ranges           0 end   80 accept   81 jump a   91 end   100 drop, open

A set of intervals holds where each begins, and where it is over.

Invariant: spans are in order and do not overlap.

Sources: linux/netfilter/nf_tables.h; what nft makes of it can be watched by `nft --debug=netlink`.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise, zip_longest

from topo.nfnetlink import Unknown, attribute, nested, number, userdata

Span = tuple[bytes, bytes]  # the first and the last of some values that follow each other


def spans_of(text: str, family: socket.AddressFamily) -> list[Span]:
    """Addresses and ranges of addresses, which must be in order, with a gap between each two."""
    spans = [_span(part, family) for part in text.split(", ")]
    if not in_order(spans) or any(_after(one) == other[0] for one, other in pairwise(spans)):
        raise Unknown(text)
    return spans


@lru_cache(maxsize=4096)  # the same blocks of addresses are in many policies
def _span(text: str, family: socket.AddressFamily) -> Span:
    first, _, last = text.strip().partition("-")
    try:
        return socket.inet_pton(family, first), socket.inet_pton(family, last or first)
    except OSError:
        raise Unknown(text) from None


def in_order(spans: Sequence[Span]) -> bool:
    """Whether spans do not overlap, and the lowest comes first."""
    return all(first <= last for first, last in spans) and all(
        one[1] < other[0] for one, other in pairwise(spans)
    )


@lru_cache(maxsize=4096)
def _after(span: Span) -> bytes | None:
    """The first value behind a span; None where there is none."""
    size, after = len(span[1]), int.from_bytes(span[1], "big") + 1
    return None if after >> 8 * size else after.to_bytes(size, "big")


def members_of(spans: Sequence[Span], data: Sequence[bytes]) -> tuple[bool, list[bytes]]:
    """Whether these are intervals, and the members of a set or map of them, each with its data.

    Of intervals: where each begins, and marked as an end where it is over, unless the next one begins there. What is
    before the first is an end too; what is open at the top has none.
    """
    if all(first == last for first, last in spans):
        return False, [_member(first, one) for (first, _), one in zip(spans, data, strict=True)]
    members = []
    if any(spans[0][0]):
        members.append(_end(bytes(len(spans[0][0]))))
    for span, one, following in zip_longest(spans, data, spans[1:]):
        after = _after(span)
        members.append(_member(span[0], one if after is not None else one + attribute(6, userdata(1, 1))))
        if after is not None and not (following and following[0] == after):
            members.append(_end(after))
    return True, members


@lru_cache(maxsize=8192)
def _member(value: bytes, data: bytes) -> bytes:
    return nested(1, [nested(1, [attribute(1, value)]), data])


@lru_cache(maxsize=8192)
def _end(value: bytes) -> bytes:
    """A member that ends an interval."""
    return nested(1, [number(3, 1), nested(1, [attribute(1, value)])])
