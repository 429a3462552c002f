"""The server, asked in wire form without a socket; what needs sockets is in tests/kernel."""

import asyncio
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfns.dns import NamedEndpoint, NamedService, parse, render
from netfns.dns_server import Answers, Server, system_nameservers
from tests.golden.cases import NAMES

MANY = NamedService(
    "default", "many", endpoints=tuple(NamedEndpoint((f"10.244.9.{n}",), "", ()) for n in range(2, 150))
)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    text = render(NAMES.__class__(**{**NAMES.__dict__, "services": (*NAMES.services, MANY)}))
    (tmp_path / "cluster.zone").write_text(text)
    return Server(tmp_path, [])


def ask(server: Server, query: dns.message.Message, tcp: bool = False) -> dns.message.Message:
    return dns.message.from_wire(asyncio.run(server.answer(query.to_wire(), tcp)))


def question(name: str, kind: str = "A", edns: int = -1, payload: int = 1232) -> dns.message.Message:
    return dns.message.make_query(name, kind, use_edns=edns if edns >= 0 else False, payload=payload)


def test_the_second_equal_query_gets_the_ready_answer_under_its_own_id(server: Server) -> None:
    first, second = question("web.default.svc.cluster.local"), question("web.default.svc.cluster.local")
    answers = [ask(server, first), ask(server, second)]
    assert [answer.id for answer in answers] == [first.id, second.id]
    assert answers[0].answer == answers[1].answer
    assert len(server.answers.ready) == 1


def test_letters_come_back_as_they_were_sent(server: Server) -> None:
    answer = ask(server, question("wEb.DEFAULT.svc.cluster.local"))
    assert answer.question[0].name.to_text() == "wEb.DEFAULT.svc.cluster.local."
    assert answer.answer[0].name.to_text() == "wEb.DEFAULT.svc.cluster.local."


def test_answers_are_authoritative_and_negative_ones_carry_the_soa(server: Server) -> None:
    answer = ask(server, question("nope.default.svc.cluster.local"))
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert answer.flags & dns.flags.AA
    assert answer.authority[0].name.to_text() == "cluster.local."


def test_another_name_does_not_exist_when_there_is_no_upstream(server: Server) -> None:
    assert ask(server, question("www.outside.example")).rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize(("edns", "most"), [(-1, 512), (0, 1232)])
def test_an_answer_that_does_not_fit_is_cut_and_says_so(server: Server, edns: int, most: int) -> None:
    query = question("many.default.svc.cluster.local", edns=edns)
    wire = asyncio.run(server.answer(query.to_wire(), tcp=False))
    assert len(wire) <= most
    assert dns.message.from_wire(wire).flags & dns.flags.TC
    whole = ask(server, query, tcp=True)
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 148


def test_edns_is_answered_with_edns(server: Server) -> None:
    assert ask(server, question("web.default.svc.cluster.local", edns=0)).edns == 0
    assert ask(server, question("web.default.svc.cluster.local")).edns == -1


def test_an_edns_version_to_come_is_refused(server: Server) -> None:
    assert ask(server, question("web.default.svc.cluster.local", edns=1)).rcode() == dns.rcode.BADVERS


@pytest.mark.parametrize("kind", ["AXFR", "IXFR"])
def test_no_zone_transfers(server: Server, kind: str) -> None:
    wire = bytearray(question("cluster.local", "A").to_wire())
    wire[-4:-2] = {"AXFR": 252, "IXFR": 251}[kind].to_bytes(2)
    answer = asyncio.run(server.answer(bytes(wire), tcp=True))
    assert answer[3] & 0x0F == dns.rcode.REFUSED


def test_a_changed_file_is_seen_at_the_next_query(server: Server, tmp_path: Path) -> None:
    query = question("new.default.svc.cluster.local")
    assert ask(server, query).rcode() == dns.rcode.NXDOMAIN
    new = NAMES.__class__(
        **{**NAMES.__dict__, "services": (NamedService("default", "new", ("10.96.0.99",)),)}
    )
    (tmp_path / "cluster.new").write_text(render(new))
    (tmp_path / "cluster.new").rename(tmp_path / "cluster.zone")
    assert ask(server, query).answer[0][0].to_text() == "10.96.0.99"


def test_a_file_that_does_not_parse_leaves_the_old_zones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cluster.zone").write_text(render(NAMES))
    answers = Answers(tmp_path)
    answers.refresh()
    (tmp_path / "cluster.new").write_text("nonsense\n")
    (tmp_path / "cluster.new").rename(tmp_path / "cluster.zone")
    answers.refresh()
    assert answers.zones == parse(render(NAMES))
    assert "line 1: 'nonsense'" in capsys.readouterr().out


def test_a_response_gets_no_response(server: Server) -> None:
    query = question("web.default.svc.cluster.local")
    query.flags |= dns.flags.QR
    assert asyncio.run(server.answer(query.to_wire(), tcp=False)) == b""


@given(st.binary(max_size=200))
def test_hostile_bytes_never_raise(data: bytes) -> None:
    server = Server(Path("/nonexistent"), [])
    answer = asyncio.run(server.answer(data, tcp=False))
    assert answer == b"" or answer[:2] == data[:2]


@given(st.data())
def test_damaged_queries_never_raise(data: st.DataObject) -> None:
    server = Server(Path("/nonexistent"), [])
    server.answers.zones = parse(render(NAMES))
    wire = bytearray(question("web.default.svc.cluster.local", edns=0).to_wire())
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(2, len(wire) - 1))] = data.draw(st.integers(0, 255))
    answer = asyncio.run(server.answer(bytes(wire), tcp=False))
    assert len(answer) <= 1232


def test_the_ready_answers_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netfns.dns_server.MOST_READY", 10)
    for number in range(25):
        ask(server, question(f"n{number}.default.svc.cluster.local"))
    assert len(server.answers.ready) <= 10


def test_name_servers_are_read_from_resolv_conf(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("# told by the lab\nsearch cluster.local\nnameserver 203.0.113.10\nnameserver\n")
    assert system_nameservers(path) == ["203.0.113.10"]
    path.unlink()
    assert system_nameservers(path) == []
