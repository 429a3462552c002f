"""A dump of rules taken apart: each rule and each element of a set by itself, with the place that it is in.

    table ip service {                          Item("ip service services",
        map services {                               '10.96.0.20 . tcp . 80 comment "default/web:http" : 2')
            elements = { 10.96.0.20 . …         Item("ip service pick-2", "goto translate")
        chain pick-2 { goto translate }
    # proxy 17321 TCP default/web:http -> …     Item("proxy", "17321 TCP default/web:http -> …")
    *nat                                        Item("nat KUBE-SERVICES", "-d 10.96.0.20/32 … -j KUBE-SVC-…")
    -A KUBE-SERVICES -d 10.96.0.20/32 …
    anything else                               Item("", the line)

What `render` writes and what the kernel's tool lists differ in form (numbers in hexadecimal, counters, blanks, several
elements a line) and not in sense: items are brought into one form, so that they can be compared.

Sources: nft(8), iptables-save(8).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

HEXADECIMAL = re.compile(r"\b0x0*([0-9a-f]+)\b")
COUNTER = re.compile(r"\bcounter(?: packets (\d+) bytes \d+)?\s*")
COMMENT = re.compile(r'comment (?:"([^"]*)"|(?!-)(\S+))')
TABLE = re.compile(r"^table (\S+ \S+) \{$(.*?)^\}$", re.MULTILINE | re.DOTALL)
PROXY = re.compile(r"^# proxy (.*)$", re.MULTILINE)  # proxy mode userspace
BLOCK = re.compile(r"^\t(set|map|chain) (\S+) \{$(.*?)^\t\}$", re.MULTILINE | re.DOTALL)
ELEMENTS = re.compile(r"elements = \{(.*?)\}", re.DOTALL)
SEPARATOR = re.compile(r',\s+(?=(?:[^"]*"[^"]*")*[^"]*$)')  # not within quotes


@dataclass(frozen=True)
class Item:
    """One rule, or one element of a set or map; `place` is its table and chain, set or map."""

    place: str
    text: str
    packets: int | None = field(default=None, compare=False)  # that its counter has seen

    @property
    def comment(self) -> str:
        """The comment, "" when there is none."""
        found = COMMENT.search(self.text)
        return (found[1] or found[2]) if found else ""

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text


def items(text: str) -> list[Item]:
    """Every item of a dump, in order."""
    if TABLE.search(text):
        return [*(_item("proxy", line) for line in PROXY.findall(text)), *_nft(text)]
    if re.search(r"^\*\w+$", text, re.MULTILINE):
        return list(_iptables(text))
    return [_item("", line) for line in text.splitlines() if line.strip()]


def of_owner(owner: str) -> Callable[[Item], bool]:
    """Whether an item says that it is there for an object: `default/web`, or a port of it, `default/web:http`."""
    word = re.compile(rf"(?<![\w./-]){re.escape(owner)}(?![\w./-])")
    return lambda item: bool(word.search(item.comment or item.text))


def _nft(text: str) -> Iterator[Item]:
    for table, body in TABLE.findall(text):
        for kind, name, block in BLOCK.findall(body):
            place = f"{table} {name}"
            if kind != "chain":
                for elements in ELEMENTS.findall(block):
                    yield from (_item(place, e) for e in SEPARATOR.split(elements.strip()) if e.strip())
                continue
            for line in block.splitlines():
                if line.strip() and not line.strip().startswith("type "):
                    yield _item(place, line)


def _iptables(text: str) -> Iterator[Item]:
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A "):
            _, chain, rule = line.split(maxsplit=2)
            yield _item(f"{table} {chain}", rule)


def _item(place: str, text: str) -> Item:
    """An item without its counter; numbers decimal, one blank between words."""
    counted = COUNTER.search(text)
    packets = int(counted[1]) if counted and counted[1] else None
    text = HEXADECIMAL.sub(lambda found: str(int(found[1], 16)), COUNTER.sub("", text))
    return Item(place, " ".join(text.rstrip(", ").split()), packets)
