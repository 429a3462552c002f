"""nslookup against a small server on loopback that knows a few names."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from agents.images import nslookup

CLUSTER = "svc.cluster.local"
RECORDS = [
    (f"kubernetes.default.{CLUSTER}.", "A", "10.96.0.1"),
    (f"web-0.nginx.default.{CLUSTER}.", "A", "10.244.1.2"),
    (f"web-0.nginx.default.{CLUSTER}.", "AAAA", "fd00:10:244:1::2"),
    (f"_http._tcp.web.default.{CLUSTER}.", "SRV", f"0 100 80 web.default.{CLUSTER}."),
    (f"out.default.{CLUSTER}.", "CNAME", "example.org."),
    ("1.0.96.10.in-addr.arpa.", "PTR", f"kubernetes.default.{CLUSTER}."),
]
BROKEN = "broken.default.svc.cluster.local."


def _reply(data: bytes) -> bytes:
    query = dns.message.from_wire(data)
    name, kind = query.question[0].name.to_text(), dns.rdatatype.to_text(query.question[0].rdtype)
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.AA
    for owner, has, text in RECORDS:
        if owner == name and has in (kind, "CNAME"):
            reply.answer.append(dns.rrset.from_text(owner, 5, "IN", has, text))
    if name == BROKEN:
        reply.set_rcode(dns.rcode.SERVFAIL)
    elif name not in {owner for owner, _, _ in RECORDS}:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    return reply.to_wire()


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The server's port; resolv.conf is a pod's."""
    conf = tmp_path / "resolv.conf"
    conf.write_text(
        f"nameserver 127.0.0.1\nsearch default.{CLUSTER} {CLUSTER} cluster.local\noptions ndots:5\n"
    )
    monkeypatch.setattr(nslookup, "RESOLV_CONF", conf)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            data, peer = sock.recvfrom(4096)
            if not data:
                return
            sock.sendto(_reply(data), peer)

    thread = threading.Thread(target=serve)
    thread.start()
    number = sock.getsockname()[1]
    yield number
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"", ("127.0.0.1", number))
    thread.join()
    sock.close()


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["kubernetes.default"], [f"Name:\tkubernetes.default.{CLUSTER}", "Address: 10.96.0.1"]),
        (
            ["web-0.nginx"],
            [
                f"Name:\tweb-0.nginx.default.{CLUSTER}",
                "Address: 10.244.1.2",
                f"Name:\tweb-0.nginx.default.{CLUSTER}",
                "Address: fd00:10:244:1::2",
            ],
        ),
        (
            ["-type=srv", "_http._tcp.web"],
            [f"_http._tcp.web.default.{CLUSTER}\tservice = 0 100 80 web.default.{CLUSTER}."],
        ),
        (["out"], [f"out.default.{CLUSTER}\tcanonical name = example.org."]),
        (["10.96.0.1"], [f"1.0.96.10.in-addr.arpa\tname = kubernetes.default.{CLUSTER}."]),
        (
            ["-query=A", f"web-0.nginx.default.{CLUSTER}.", "127.0.0.1"],
            [f"Name:\tweb-0.nginx.default.{CLUSTER}", "Address: 10.244.1.2"],
        ),
    ],
)
def test_answers(port: int, capfd: pytest.CaptureFixture[str], words: list[str], lines: list[str]) -> None:
    assert nslookup.main(["nslookup", f"-port={port}", *words]) == 0
    head = ["Server:\t\t127.0.0.1", f"Address:\t127.0.0.1#{port}", ""]
    assert capfd.readouterr().out == "\n".join([*head, *lines, "", ""])


@pytest.mark.parametrize(
    ("words", "last"),
    [
        (["nothing"], "** server can't find nothing: NXDOMAIN"),
        (["kubernetes.default."], "** server can't find kubernetes.default.: NXDOMAIN"),
        (["-nosearch", "kubernetes.default"], "** server can't find kubernetes.default: NXDOMAIN"),
        (["10.9.9.9"], "** server can't find 9.9.9.10.in-addr.arpa: NXDOMAIN"),
        (["-type=SRV", "kubernetes.default"], "*** Can't find kubernetes.default: No answer"),
        (["broken"], "** server can't find broken: SERVFAIL"),
        (["a..b"], "nslookup: 'a..b.default.svc.cluster.local.' is not a legal name"),
    ],
)
def test_failures(port: int, capfd: pytest.CaptureFixture[str], words: list[str], last: str) -> None:
    assert nslookup.main(["nslookup", f"-port={port}", *words]) == 1
    assert capfd.readouterr().out.splitlines()[-2:] == [last, ""]


def test_nobody_answers(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        flags = [f"-port={silent.getsockname()[1]}", "-timeout=0"]
        assert nslookup.main(["nslookup", *flags, "x."]) == 1
    assert capfd.readouterr().out == ";; connection timed out; no servers could be reached\n\n"


@pytest.mark.parametrize("words", [[], ["-type=nope", "x"], ["-what", "x"], ["a", "b", "c"]])
def test_bad_words(capfd: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert nslookup.main(["nslookup", *words]) == 1
    assert capfd.readouterr().err.startswith("nslookup: ")


def test_resolv_conf() -> None:
    text = (
        "# c\nnameserver 10.96.0.10\nnameserver fd00::a\ndomain x\nsearch a.b. c\noptions timeout:1 ndots:2\n"
    )
    conf = nslookup.parse_resolv_conf(text)
    assert conf == nslookup.ResolvConf(("10.96.0.10", "fd00::a"), ("a.b", "c"), 2)
    assert conf.candidates("n") == ["n.a.b.", "n.c.", "n."]
    assert conf.candidates("n.m.o") == ["n.m.o.", "n.m.o.a.b.", "n.m.o.c."]
    assert conf.candidates("n.") == ["n."]
    assert nslookup.parse_resolv_conf("").nameservers == ("127.0.0.1",)
