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
from itertools import pairwise, zip_longest

from topo.nfnetlink import Unknown, attribute, nested, number, userdata

Span = tuple[bytes, bytes]  # the first and the last of some values that follow each other


def spans_of(text: str, family: socket.AddressFamily) -> list[Span]:
    """Addresses and ranges of addresses, which must be in order, with a gap between each two."""
    spans: list[Span] = []
    for part in text.split(", "):
        first, _, last = part.strip().partition("-")
        try:
            span = tuple(socket.inet_pton(family, one) for one in (first, last or first))
        except OSError:
            raise Unknown(part) from None
        spans.append((span[0], span[1]))
    if not in_order(spans) or any(_after(one) == other[0] for one, other in pairwise(spans)):
        raise Unknown(text)
    return spans


def in_order(spans: Sequence[Span]) -> bool:
    """Whether spans do not overlap, and the lowest comes first."""
    return all(first <= last for first, last in spans) and all(
        one[1] < other[0] for one, other in pairwise(spans)
    )


def _after(span: Span) -> bytes | None:
    """The first value behind a span; None where there is none."""
    size, after = len(span[1]), int.from_bytes(span[1], "big") + 1
    return None if after >> 8 * size else after.to_bytes(size, "big")


def bounds(spans: Sequence[Span], data: Sequence[bytes]) -> list[bytes]:
    """The members of a set or map of intervals: where each begins, with its data, and marked as an end where it is
    over, unless the next one begins there.

    What is before the first is an end too; what is open at the top has none.
    """
    ended = number(3, 1)
    members = []
    if any(spans[0][0]):
        members.append(ended + nested(1, [attribute(1, bytes(len(spans[0][0])))]))
    for span, one, following in zip_longest(spans, data, spans[1:]):
        begin, after = nested(1, [attribute(1, span[0])]) + one, _after(span)
        if after is None:
            begin += attribute(6, userdata(1, 1))
        members.append(begin)
        if after is not None and not (following and following[0] == after):
            members.append(ended + nested(1, [attribute(1, after)]))
    return members
