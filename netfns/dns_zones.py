"""Zones: the text in which a cluster's names are written, how it changes, and what a question gets from it.

    cluster.zone   web.default.svc.cluster.local. 5 IN A 10.96.0.20 ; service default/web      the whole, then
                   …                                                                           what changed:
                   + web-0.db.default.svc.cluster.local. 5 IN A 10.244.1.5 ; service default/db
                   - web-0.db.default.svc.cluster.local. 5 IN A 10.244.2.7 ; service default/db
                                                                          an empty line ends each change
         |
      parse, change --> Zones --evaluate(name, type)--> Answer: code, records, the zone's SOA, an alias to follow

A line is a record in the form of a master file: an absolute name, its time to live in seconds, `IN`, a type, the
data, and after ` ; ` the object that it is there for. A `+` or a `-` before it adds or removes exactly this
line. So a change costs its own lines, however large the zone is, and `tail -f` shows it as it happens.

Invariants: the text alone decides; a name exists when it has records or stands above one that has (an empty
non-terminal: default.svc.cluster.local); a name that exists without the type asked for is NODATA (no error, no
answer), one that does not exist NXDOMAIN, and both carry the zone's SOA; changing zones step by step gives
the same answers as parsing the whole text.

Sources: RFC 1034 4.3.2, RFC 1035 5, RFC 2308, RFC 8020 (empty non-terminals), RFC 8482 (ANY), RFC 2782 (SRV).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

TTL = 5  # seconds, as CoreDNS's plugin kubernetes
MOST_ALIASES = 8  # CNAMEs followed in one answer
TARGETS = {"SRV": 3, "NS": 0}  # types whose data names another name, and which word of the data it is


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a zone: `name` is absolute, `data` as in a master file; `owner` names the object, as a comment."""

    name: str
    type: str
    data: str
    owner: str = ""
    ttl: int = TTL

    def __str__(self) -> str:
        line = f"{self.name} {self.ttl} IN {self.type} {self.data}"
        return f"{line} ; {self.owner}" if self.owner else line


@dataclass(frozen=True)
class Answer:
    """What a question gets. `code` is NOERROR or NXDOMAIN; `authority` the zone's SOA when there are no records.

    `additional` are the addresses of the names that the records point to, where they are ours. `alias` is a name
    outside our zones that the last CNAME points to: the rest of the answer is found upstream. `names` are all
    names that were looked at: while none of them changes, this stays the answer.
    """

    code: str
    records: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    alias: str = ""
    names: tuple[str, ...] = ()


@dataclass
class Zones:
    """Zones as they are looked up. `records` maps a name (in small letters) to type to its records; `below` a name
    to how many existing names stand directly below it.
    """

    records: dict[str, dict[str, tuple[Record, ...]]] = field(default_factory=dict)
    below: dict[str, int] = field(default_factory=dict)

    def exists(self, name: str) -> bool:
        """Whether a name (in small letters) has records, or a name below it has."""
        return name in self.records or name in self.below

    def zone_of(self, name: str) -> str:
        """The apex of the zone that a name is in, "" when it is in none of ours."""
        for above in and_above(name.lower()):
            if "SOA" in self.records.get(above, ()):
                return above
        return ""

    def add(self, record: Record) -> Iterator[str]:
        """Add a record, which may be there for another owner; yields the names that are different now."""
        name = record.name.lower()
        yield name
        known = self.exists(name)
        kinds = self.records.setdefault(name, {})
        kinds[record.type] = (*kinds.get(record.type, ()), record)
        while not known and name != ".":
            name = parent(name)
            known = self.exists(name)
            self.below[name] = self.below.get(name, 0) + 1
            if not known:
                yield name

    def remove(self, record: Record) -> Iterator[str]:
        """Remove a record; yields the names that are different now. Raises KeyError when it is not there."""
        name = record.name.lower()
        found = self.records.get(name, {}).get(record.type, ())
        if record not in found:
            raise KeyError(str(record))
        yield name
        kinds = self.records[name]
        kinds[record.type] = tuple(other for other in found if other != record)
        if not kinds[record.type]:
            del kinds[record.type]
        if not kinds:
            del self.records[name]
        while not self.exists(name) and name != ".":
            name = parent(name)
            self.below[name] -= 1
            if not self.below[name]:
                del self.below[name]
            if not self.exists(name):
                yield name


# ---------------------------------------------------------------- text


def parse(text: str) -> Zones:
    """Read a whole text, with the changes at its end. Raises ValueError naming the line that is none."""
    zones = Zones()
    change(zones, text)
    return zones


def change(zones: Zones, text: str) -> set[str]:
    """Take over the lines of a text, in order; the names that are different now.

    Raises ValueError naming the line that is none, or that removes what is not there; the lines before it are
    taken over by then.
    """
    changed: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(";"):
            continue
        record = _record(number, line.removeprefix("+ ").removeprefix("- "))
        try:
            changed.update(zones.remove(record) if line.startswith("- ") else zones.add(record))
        except KeyError:
            raise ValueError(f"line {number}: {line!r}: there is no such record to remove") from None
    return changed


def difference(old: Iterable[Record], new: Iterable[Record]) -> str:
    """The text that turns zones with the records `old` into zones with `new`; "" when they are the same."""
    before, after = dict.fromkeys(old), dict.fromkeys(new)
    lines = [f"- {record}" for record in before if record not in after]
    lines += [f"+ {record}" for record in after if record not in before]
    return "".join(f"{line}\n" for line in (*lines, "")) if lines else ""


def _record(number: int, line: str) -> Record:
    content, _, owner = line.partition(" ; ")
    parts = content.split(maxsplit=4)
    if len(parts) != 5 or parts[2] != "IN" or not parts[1].isdigit() or not parts[0].endswith("."):
        raise ValueError(f"line {number}: {content!r}: want NAME TTL IN TYPE DATA, the name ending in a dot")
    name, ttl, _, kind, data = parts
    return Record(name, kind, data, owner, int(ttl))


# ---------------------------------------------------------------- evaluate


def evaluate(zones: Zones, name: str, type_: str) -> Answer | None:
    """Answer a question; None when the name is in none of our zones.

    `name` is absolute, in any case of letters; `type_` a type's mnemonic. An alias (CNAME) is followed as far as
    our zones go, each name once. ANY gets the records of one type, which RFC 8482 allows.
    """
    if not zones.zone_of(name):
        return None
    found: list[Record] = []
    names: list[str] = []
    while True:
        names.append(name.lower())
        if not zones.exists(names[-1]):
            return Answer("NXDOMAIN", tuple(found), _soa(zones, name), names=tuple(names))
        kinds = zones.records.get(names[-1], {})
        here = kinds.get(type_ if type_ != "ANY" else next(iter(kinds), ""), ())
        if here:
            more = tuple(_additional(zones, here, names))
            return Answer("NOERROR", (*found, *here), (), more, names=tuple(names))
        if "CNAME" not in kinds:
            return Answer("NOERROR", tuple(found), _soa(zones, name), names=tuple(names))
        found.append(kinds["CNAME"][0])
        name = kinds["CNAME"][0].data
        if name.lower() in names or len(names) == MOST_ALIASES:
            return Answer("NOERROR", tuple(found), names=tuple(names))
        if not zones.zone_of(name):
            return Answer("NOERROR", tuple(found), alias=name, names=tuple(names))


def _additional(zones: Zones, records: Iterable[Record], names: list[str]) -> Iterator[Record]:
    """The addresses of the names that records point to; the names looked at are put to `names`."""
    for record in records:
        if record.type not in TARGETS:
            continue
        target = record.data.split()[TARGETS[record.type]].lower()
        if target not in names:
            names.append(target)
            kinds = zones.records.get(target, {})
            yield from (*kinds.get("A", ()), *kinds.get("AAAA", ()))


def _soa(zones: Zones, name: str) -> tuple[Record, ...]:
    return zones.records[zones.zone_of(name)]["SOA"][:1]


def parent(name: str) -> str:
    """The name one label up: b.c. of a.b.c., the root (".") of c."""
    return name.partition(".")[2] or "."


def and_above(name: str) -> Iterator[str]:
    """A name and the names above it, up to the root: a.b.c., b.c., c., ."""
    yield name
    while name != ".":
        name = parent(name)
        yield name
