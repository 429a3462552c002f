"""A ruleset that is larger than one netlink message.

    text --small enough--> one transaction: all of it or nothing
      `----too large-----> tables, chains and empty sets | elements | elements | ...     one transaction each

nft sends a transaction as one message, and a message must fit into the socket's send buffer. The real root
may raise that buffer as it likes; root of a sandbox may not, and has room for some five hundred services.
What is larger goes in parts: first everything but the elements, then the elements of one set after the
other, in the order of the text.

Invariant: each part is a whole transaction, and all parts together are the text. Between two parts some
elements are missing, so the text must name its sets in an order that is right at every moment (what is
looked up first, last).

Sources: nft(8); socket(7), SO_SNDBUFFORCE; netlink(7).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import zip_longest

MOST = 128 * 1024  # characters of a transaction; its message is about as long
ELEMENTS = 500  # of one command
TABLE = re.compile(r"^table (\S+) (\S+) \{$", re.MULTILINE)
FILLED = re.compile(r"(?:map|set) (\S+) \{[^{}]*?(?=elements\s*=\s*\{)")  # a declaration up to its elements
COMMAND = re.compile(r"(add|delete) element (\S+) (\S+) (\S+) \{ (.*) \}")


def transactions(ruleset: str, most: int = MOST) -> list[str]:
    """Split an `nft -f` text (tables, or one command a line) into texts of about `most` characters; none
    for "".
    """
    if len(ruleset) <= most:
        return [ruleset] if ruleset else []
    skeleton, commands = _without_elements(ruleset)
    lines = [part for line in skeleton.splitlines() for part in _short(line)]
    return _packed(["\n".join(lines), *commands] if commands else lines, most)


def _without_elements(ruleset: str) -> tuple[str, list[str]]:
    """The text without the elements of its tables' sets and maps, and the commands that add them."""
    kept, commands = list[str](), list[str]()
    heads = [*TABLE.finditer(ruleset)]
    done = 0
    for table, following in zip_longest(heads, heads[1:]):
        end = following.start() if following else len(ruleset)
        for found in FILLED.finditer(ruleset, table.end(), end):
            opened, closed = ruleset.index("{", found.end()) + 1, ruleset.index("}", found.end())
            commands += _in_parts("add", f"{table[1]} {table[2]} {found[1]}", ruleset[opened:closed])
            kept.append(ruleset[done : found.end()])
            done = closed + 1
    return "".join((*kept, ruleset[done:])), commands


def _short(line: str) -> Iterable[str]:
    """A line that adds or deletes many elements, as several."""
    command = COMMAND.fullmatch(line)
    if command is None:
        return [line]
    verb, family, table, name, elements = command.groups()
    return _in_parts(verb, f"{family} {table} {name}", elements)


@lru_cache(maxsize=8)  # the nodes of a lab have most of their elements in common
def _in_parts(verb: str, place: str, elements: str) -> tuple[str, ...]:
    every = re.split(r",\s+", elements.strip())
    return tuple(
        f"{verb} element {place} {{ {', '.join(every[start : start + ELEMENTS])} }}"
        for start in range(0, len(every), ELEMENTS)
    )


def _packed(pieces: Iterable[str], most: int) -> list[str]:
    """Pieces put together in order, as many as fit into each text; one that is longer stands alone."""
    texts = [""]
    for piece in pieces:
        if texts[-1] and len(texts[-1]) + len(piece) > most:
            texts.append("")
        texts[-1] += f"{piece}\n"
    return texts
