"""minipod policy without a lab: what its words mean, how a matrix looks, how a trace is read."""

from xml.etree import ElementTree

import pytest

from labs.errors import LabError
from labs.policy import drawing
from labs.policy.matrix import Cell, Matrix
from labs.policy.scene import parse
from labs.policy.watch import Denied, Trace

CELLS = (
    Cell("x/a", "x/b", True, True),
    Cell("x/b", "x/a", False, False),
    Cell("x/a", "x/c", True, False),
    Cell("x/c", "x/a", False, True),
    Cell("x/b", "x/c", True, None),
    Cell("x/c", "x/b", True, True),
)
MATRIX = Matrix(("x/a", "x/b", "x/c"), 80, "TCP", {(c.sender, c.receiver): c for c in CELLS})
PACKET = (
    'trace id f1a8e2a5 inet network-policy forward packet: iif "cni0" oif "cni0" ip saddr 10.244.1.2 '
    "ip daddr 10.244.1.3 ip dscp cs0 ip ttl 64 ip protocol tcp ip length 60 tcp sport 41054 tcp dport 80 "
)
DROP = (
    "trace id f1a8e2a5 inet network-policy ingress/x/deny/web rule counter packets 3 bytes 9 drop "
    'comment "x/deny, x/web" (verdict drop)'
)


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("pod/a:80", ("pod", "a", 80, "TCP")),
        ("pod/a.b.c:53/udp", ("pod", "a.b.c", 53, "UDP")),
        ("svc/web", ("service", "web", 0, "TCP")),
        ("service/web.shop:80/SCTP", ("service", "web.shop", 80, "SCTP")),
        ("node/worker1:22", ("node", "worker1", 22, "TCP")),
        ("203.0.113.10:80", ("", "203.0.113.10", 80, "TCP")),
        ("[2001:db8::1]:443/tcp", ("", "2001:db8::1", 443, "TCP")),
        ("2001:db8::1", ("", "2001:db8::1", 0, "TCP")),
    ],
)
def test_words_of_a_question(words: str, meaning: tuple[str, str, int, str]) -> None:
    assert parse(words) == meaning


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        ("pod/a:0", "port: want 1-65535, got 0"),
        ("pod/a:http", "port: want 1-65535, got http"),
        ("pod/a:80/icmp", "icmp: want one of tcp, udp, sctp"),
        ("pod/:80", "want pod/NAME"),
    ],
)
def test_wrong_words(words: str, fact: str) -> None:
    with pytest.raises(LabError, match=fact):
        parse(words)


def test_a_matrix_marks_what_differs() -> None:
    assert not MATRIX.agrees
    text = drawing.text(MATRIX)
    rows = [line.split() for line in text.splitlines()[1:4]]
    assert rows == [["1", "x/a", "o", "!"], ["2", "x/b", ".", "o"], ["3", "x/c", "!", "o"]]
    assert "! x/a -> x/c: was to arrive, and did not" in text
    assert "! x/c -> x/a: was to be dropped, and arrived" in text
    assert "1 pairs were only predicted" in text


def test_a_picture_is_well_formed_and_has_every_cell() -> None:
    root = ElementTree.fromstring(drawing.svg(MATRIX))
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == len(CELLS)
    assert "x/b to x/a: dropped" in titles


def test_a_trace_is_put_together_from_its_lines() -> None:
    trace = Trace("worker1", str)
    assert (
        trace.take("trace id f1a8e2a5 inet policy-watch forward rule ct state new (verdict continue)") is None
    )
    assert trace.take(PACKET) is None
    assert (
        trace.take("trace id f1a8e2a5 inet network-policy forward rule goto ingress (verdict goto)") is None
    )
    wanted = Denied("worker1", "10.244.1.2", "10.244.1.3", "TCP", 80, "ingress", "x/deny, x/web")
    assert trace.take(DROP) == wanted
    assert trace.take(DROP) is None, "told once"


def test_who_dropped_a_packet_is_asked_where_the_rule_is_newer_than_the_watch() -> None:
    trace = Trace("worker1", {"ingress/x/deny/web": "x/deny, x/web"}.__getitem__)
    trace.take(PACKET)
    rule = "trace id f1a8e2a5 inet network-policy ingress/x/deny/web unknown rule handle 3"
    assert trace.take(f"{rule} (verdict continue)") is None
    denied = trace.take(f"{rule} (verdict drop)")
    assert denied == Denied("worker1", "10.244.1.2", "10.244.1.3", "TCP", 80, "ingress", "x/deny, x/web")


def test_a_packet_without_ports_is_denied_too() -> None:
    trace = Trace("worker1", str)
    trace.take(PACKET.replace("ip protocol tcp", "ip protocol icmp").partition(" tcp sport")[0])
    denied = trace.take(DROP)
    assert denied is not None
    assert (denied.protocol, denied.port) == ("ICMP", 0)
