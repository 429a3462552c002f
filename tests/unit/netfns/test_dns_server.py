"""The server, asked in wire form: the conformance table over real sockets of the loopback, the rest without."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfns import dns_answers
from netfns.dns import NamedService, render, render_change
from netfns.dns_answers import Ready, own
from netfns.dns_server import Server
from netfns.dns_upstream import system_nameservers
from netfns.dns_zones import parse
from tests.conformance.dns import CLUSTER, OTHERS, ROWS, SVC, WEB, WIRE, Row, WireRow

ZONES = parse(render(CLUSTER))
NEW = NamedService("default", "new", ("10.96.0.99",))


@pytest.fixture
def server(tmp_path: Path) -> Server:
    (tmp_path / "cluster.zone").write_text(render(CLUSTER))
    return Server(tmp_path, [])


def ask(server: Server, query: dns.message.Message, tcp: bool = False) -> dns.message.Message:
    return dns.message.from_wire(asyncio.run(server.answer(query.to_wire(), tcp)))


def question(name: str, kind: str = "A", edns: int = -1, payload: int = 1232) -> dns.message.Message:
    return dns.message.make_query(name, kind, use_edns=edns if edns >= 0 else False, payload=payload)


# ---------------------------------------------------------------- the table, over sockets


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """A real server in a thread; its port on the loopback, chosen where UDP and TCP are free in both families."""
    ready, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    port = _free_port()

    async def run() -> None:
        loop.call_soon(ready.set)
        await Server(folder, [], port).run(stop, report_ports=())

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def _free_port() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as one:
        one.bind(("::", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("zones")
    (folder / "cluster.zone").write_text(render(CLUSTER))
    with serving(folder) as found:
        yield found


@pytest.mark.parametrize("way", ["udp", "tcp"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.type} {row.question}"[:60])
def test_conformance_over_sockets(row: Row, way: str, port: int) -> None:
    query = question(row.question, row.type)
    for _ in range(2):  # made, then ready
        answer = getattr(dns.query, way)(query, "127.0.0.1", port=port, timeout=5)
        found = frozenset(record.to_text() for rrset in answer.answer for record in rrset)
        assert (dns.rcode.to_text(answer.rcode()), found) == (row.code, row.answers), row.why
        assert answer.flags & dns.flags.AA
        assert {rrset.ttl for rrset in answer.answer} <= {5}


@pytest.mark.parametrize("way", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
@pytest.mark.parametrize("row", WIRE, ids=lambda row: row.given)
def test_wire_over_sockets(row: WireRow, way: socket.SocketKind, port: int) -> None:
    wire = row.wire()
    frame = wire if way == socket.SOCK_DGRAM else len(wire).to_bytes(2) + wire
    with socket.socket(socket.AF_INET6, way) as client:
        client.settimeout(0.05 if row.code is None else 5)
        client.connect(("::1", port))
        client.send(frame)
        try:
            data = client.recv(4096)
        except TimeoutError:
            data = b""
        if data and way == socket.SOCK_STREAM:
            data = data[2:]
    if row.code is None:
        assert data == b"", row.why
        return
    assert data[:2] == wire[:2]
    assert dns.rcode.to_text(dns.message.from_wire(data, ignore_trailing=True).rcode()) == row.code, row.why
    assert data[2] & 0x78 == wire[2] & 0x78, "the opcode comes back"


# ---------------------------------------------------------------- ready answers


def test_the_second_equal_query_gets_the_ready_answer_under_its_own_id(server: Server) -> None:
    first, second = question(WEB), question(WEB)
    answers = [ask(server, first), ask(server, second)]
    assert [answer.id for answer in answers] == [first.id, second.id]
    assert answers[0].answer == answers[1].answer
    assert len(server.ready.answers) == 1
    assert server.ready.find(second.to_wire()) is not None


def test_letters_come_back_as_they_were_sent(server: Server) -> None:
    for name in ("wEb.DEFAULT.svc.cluster.local.", "web.default.SVC.cluster.local."):
        answer = ask(server, question(name))
        assert answer.question[0].name.to_text() == name
        assert answer.answer[0].name.to_text() == name
    assert len(server.ready.answers) == 1, "one ready answer for every spelling"


def test_types_that_differ_by_what_is_a_letters_case_are_apart(server: Server) -> None:
    """HTTPS is type 65, 0x41, the letter A; type 97 is 0x61."""
    for kind in ("HTTPS", "TYPE97"):
        assert ask(server, question(WEB, kind)).question[0].rdtype == dns.rdatatype.from_text(kind)
    assert len(server.ready.answers) == 2


def test_several_addresses_take_turns(server: Server) -> None:
    firsts = [ask(server, question(f"db.{SVC}")).answer[0][0].to_text() for _ in range(20)]
    assert {firsts.count(address) for address in ("10.244.1.5", "10.244.2.5")} <= {9, 10, 11}


def test_only_what_changed_is_made_again(server: Server, tmp_path: Path) -> None:
    for name in (WEB, f"new.{SVC}", f"alias.{SVC}", f"_http._tcp.web.{SVC}"):
        ask(server, question(name))
    held = set(server.ready.answers)
    with (tmp_path / "cluster.zone").open("a") as file:
        nothing = replace(CLUSTER, services=(), pods=())
        file.write(render_change(nothing, replace(nothing, services=(NEW,))))
    server.refresh()
    gone = held - set(server.ready.answers)
    assert len(gone) == 1
    assert b"\x03new" in gone.pop()
    assert ask(server, question(f"new.{SVC}")).answer[0][0].to_text() == "10.96.0.99"


def test_the_ready_answers_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netfns.dns_answers.MOST_READY", 10)
    for number in range(25):
        ask(server, question(f"n{number}.{SVC}"))
    assert len(server.ready.answers) <= 10


@given(st.data())
def test_a_ready_answer_is_what_would_be_made(data: st.DataObject) -> None:
    ready = Ready()
    names = st.sampled_from([row.question for row in ROWS])
    kinds = st.sampled_from(["A", "AAAA", "SRV", "PTR", "ANY"])
    for _ in range(3):
        query = question(data.draw(names), data.draw(kinds), data.draw(st.sampled_from([-1, 0]))).to_wire()
        made = own(ZONES, query, tcp=False, recursion=False, ready=ready)
        found = ready.find(query)
        assert made is not None
        assert found is not None
        assert dns.message.from_wire(found) == dns.message.from_wire(made)


# ---------------------------------------------------------------- form


@pytest.mark.parametrize("name", OTHERS)
def test_names_of_others_are_refused_when_there_is_nobody_to_ask(server: Server, name: str) -> None:
    answer = ask(server, question(name))
    assert answer.rcode() == dns.rcode.REFUSED
    assert not answer.flags & (dns.flags.AA | dns.flags.RA)


@pytest.mark.parametrize(
    ("edns", "payload", "most"), [(-1, 0, 512), (0, 100, 512), (0, 1000, 1000), (0, 65535, 1232)]
)
def test_an_answer_that_does_not_fit_is_cut_and_says_so(
    server: Server, edns: int, payload: int, most: int
) -> None:
    query = question(f"many.{SVC}", edns=edns, payload=payload)
    for _ in range(3):
        wire = asyncio.run(server.answer(query.to_wire(), tcp=False))
        assert len(wire) <= most
        assert dns.message.from_wire(wire).flags & dns.flags.TC
    whole = ask(server, query, tcp=True)
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 148


def test_edns_is_answered_with_edns_and_the_do_bit_comes_back(server: Server) -> None:
    assert ask(server, question(WEB)).edns == -1
    query = question(WEB, edns=0)
    assert not ask(server, query).ednsflags & dns.flags.DO
    query.want_dnssec()
    answer = ask(server, query)
    assert (answer.edns, answer.payload, answer.options) == (0, 1232, ())
    assert answer.ednsflags & dns.flags.DO
    refused = ask(server, question(WEB, edns=1))
    assert (refused.rcode(), refused.edns) == (dns.rcode.BADVERS, 0)


@given(st.binary(max_size=200))
def test_hostile_bytes_never_raise(data: bytes) -> None:
    ready = Ready()
    for tcp in (False, True):
        answer = own(ZONES, data, tcp, recursion=False, ready=ready)
        assert answer is not None
        assert answer == b"" or answer[:2] == data[:2]
    ready.find(data)


@given(st.data())
def test_damaged_queries_never_raise(data: st.DataObject) -> None:
    ready = Ready()
    wire = bytearray(question(WEB, edns=0).to_wire())
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(2, len(wire) - 1))] = data.draw(st.integers(0, 255))
    answer = own(ZONES, bytes(wire), tcp=False, recursion=False, ready=ready)
    assert answer is not None
    assert len(answer) <= 1232
    found = ready.find(bytes(wire))
    assert found is None or len(found) == len(answer)


# ---------------------------------------------------------------- files


def test_a_changed_file_is_seen_at_the_next_query(server: Server, tmp_path: Path) -> None:
    query = question(f"new.{SVC}")
    assert ask(server, query).rcode() == dns.rcode.NXDOMAIN
    new = replace(CLUSTER, services=(NEW,))
    (tmp_path / "cluster.new").write_text(render(new))
    (tmp_path / "cluster.new").rename(tmp_path / "cluster.zone")
    assert ask(server, query).answer[0][0].to_text() == "10.96.0.99"
    assert ask(server, question(WEB)).rcode() == dns.rcode.NXDOMAIN


def test_a_change_counts_when_its_empty_line_is_there(server: Server, tmp_path: Path) -> None:
    query, line = question(f"new.{SVC}"), f"+ new.{SVC} 5 IN A 10.96.0.99\n"
    for text, code in ((line[:20], "NXDOMAIN"), (line[20:], "NXDOMAIN"), ("\n", "NOERROR")):
        assert ask(server, query).rcode() == dns.rcode.NXDOMAIN
        with (tmp_path / "cluster.zone").open("a") as file:
            file.write(text)
        assert dns.rcode.to_text(ask(server, query).rcode()) == code


@pytest.mark.parametrize("append", [False, True])
def test_a_text_that_does_not_parse_leaves_the_old_zones(
    server: Server, tmp_path: Path, append: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(server, question(WEB)).answer
    if append:
        with (tmp_path / "cluster.zone").open("a") as file:
            file.write("nonsense\n\n")
    else:
        (tmp_path / "cluster.new").write_text("nonsense\n")
        (tmp_path / "cluster.new").rename(tmp_path / "cluster.zone")
    assert ask(server, question(f"plain.{SVC}")).answer
    assert "line 1: 'nonsense'" in capsys.readouterr().out


def test_a_folder_to_come_is_read_when_it_is_there(tmp_path: Path) -> None:
    server = Server(tmp_path / "zones", [])
    assert ask(server, question(WEB)).rcode() == dns.rcode.REFUSED
    (tmp_path / "zones").mkdir()
    (tmp_path / "zones" / "cluster.zone").write_text(render(CLUSTER))
    assert ask(server, question(WEB)).answer


def test_name_servers_are_read_from_resolv_conf(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("# told by the lab\nsearch cluster.local\nnameserver 203.0.113.10\nnameserver\n")
    assert system_nameservers(path) == ["203.0.113.10"]
    path.unlink()
    assert system_nameservers(path) == []


# ---------------------------------------------------------------- upstream


def upstream_answer(query: dns.message.Message, *records: str) -> dns.message.Message:
    reply = dns.message.make_response(query)
    for record in records:
        name, kind, data = record.split(maxsplit=2)
        reply.answer.append(dns.rrset.from_text(name, 60, "IN", kind, data))
    return reply


def test_an_alias_is_put_before_what_upstream_has_for_its_target() -> None:
    query = question(f"old.{SVC}").to_wire()
    assert own(ZONES, query, tcp=False, recursion=True) is None
    asked = dns_answers.upstream_question(ZONES, query)
    assert asked.question[0].name.to_text() == "www.outside.example."
    found = upstream_answer(asked, "www.outside.example. A 203.0.113.10")
    answer = dns.message.from_wire(dns_answers.merge(ZONES, query, found, tcp=False))
    assert [rrset.to_text() for rrset in answer.answer] == [
        f"old.{SVC} 5 IN CNAME www.outside.example.",
        "www.outside.example. 60 IN A 203.0.113.10",
    ]
    assert answer.flags & dns.flags.RA


def test_a_negative_answer_of_upstream_is_relayed() -> None:
    query = question("nope.outside.example.").to_wire()
    asked = dns_answers.upstream_question(ZONES, query)
    found = upstream_answer(asked)
    found.set_rcode(dns.rcode.NXDOMAIN)
    found.authority.append(dns.rrset.from_text(".", 60, "IN", "SOA", "a. b. 1 2 3 4 5"))
    answer = dns.message.from_wire(dns_answers.merge(ZONES, query, found, tcp=False))
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert answer.authority[0].name.to_text() == "."
    assert not answer.flags & dns.flags.AA
