"""The ordinary question, by hand and by the library: both say the same, or the library is asked."""

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfns import dns_plain
from netfns.dns import render
from netfns.dns_answers import Ready, by_library
from netfns.dns_zones import parse
from tests.conformance.dns import CLUSTER, OTHERS, ROWS, SVC, WEB

ZONES = parse(render(CLUSTER))
KINDS = [*dns_plain.TYPES.values(), "TXT", "ANY", "CNAME", "SOA", "AXFR"]


def query(name: str, kind: str, **options: object) -> bytes:
    return dns.message.make_query(name, kind, **options).to_wire()  # type: ignore[arg-type]


def said(ready: Ready, asked: bytes) -> list[str]:
    """What is answered in each of many turns."""
    found = [ready.find(asked) for _ in range(2 * dns_plain.MOST_ORDERS)]
    return [_text(wire) for wire in found if wire is not None]


def _text(wire: bytes) -> str:
    """An answer, in small letters: a name that points into the question has its spelling, one written out its own."""
    return dns.message.from_wire(wire).to_text().lower()


def agree(asked: bytes, recursion: bool) -> bool:
    """Whether the query is an ordinary one; then both must say the same."""
    plain = dns_plain.answer(ZONES, asked, recursion)
    if plain is None:
        return False
    by_hand, by_books = Ready(), Ready()
    wires, answer = plain
    by_hand.keep(asked, wires, answer.names)
    first = by_library(ZONES, asked, tcp=False, recursion=recursion, ready=by_books)
    assert first is not None
    assert _text(wires[0]) == _text(first)
    assert said(by_hand, asked) == said(by_books, asked)
    return True


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.type} {row.question}"[:60])
def test_both_agree_on_the_table(row: object) -> None:
    for kind in KINDS:
        asked = query(row.question, kind)  # type: ignore[attr-defined]
        for recursion in (False, True):
            agree(asked, recursion)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (WEB, "A"),
        (WEB, "AAAA"),
        (WEB, "SRV"),
        (f"nope.{SVC}", "A"),
        (f"db.{SVC}", "A"),
        (f"_http._tcp.web.{SVC}", "SRV"),
        ("20.0.96.10.in-addr.arpa.", "PTR"),
    ],
)
def test_what_pods_ask_is_ordinary(name: str, kind: str) -> None:
    for spelled in (name, name.upper(), name.title()):
        assert agree(query(spelled, kind), recursion=True)


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        (WEB, "TXT", {}),
        (WEB, "A", {"use_edns": 0}),
        (WEB, "A", {"rdclass": "CH"}),
        (f"old.{SVC}", "A", {}),
        (f"alias.{SVC}", "A", {}),
        (f"many.{SVC}", "A", {}),
        (f"w\\.eb.{SVC}", "A", {}),
        (f"w\\000.{SVC}", "A", {}),
        *((name, "A", {}) for name in OTHERS),
    ],
)
def test_everything_else_is_the_librarys(name: str, kind: str, options: dict[str, object]) -> None:
    assert dns_plain.answer(ZONES, query(name, kind, **options), recursion=False) is None


@given(st.data())
def test_damaged_queries_are_answered_as_the_library_answers_them(data: st.DataObject) -> None:
    wire = bytearray(query(data.draw(st.sampled_from([WEB, f"db.{SVC}", f"_http._tcp.web.{SVC}"])), "A"))
    for _ in range(data.draw(st.integers(0, 3))):
        wire[data.draw(st.integers(2, len(wire) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(dns_plain.HEADER, len(wire)) | st.just(len(wire)))
    if wire[2] & 0x80 == 0:  # another answer: it gets none
        agree(bytes(wire[:length]), recursion=False)
