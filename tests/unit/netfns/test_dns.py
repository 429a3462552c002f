"""The names of a cluster, row by row of the DNS-based service discovery specification."""

from dataclasses import replace

import pytest

from netfns.dns import Zones, evaluate, parse, render, render_hosts, reverse_zone
from tests.golden.cases import NAMES

ZONES = parse(render(NAMES))
SVC = "default.svc.cluster.local."

# name, type, code, data of the answer, why
ROWS = [
    (f"web.{SVC}", "A", "NOERROR", {"10.96.0.20"}, "2.3.1 ClusterIP"),
    (f"web.{SVC}", "AAAA", "NOERROR", {"fd00:96::20"}, "2.3.1 ClusterIP"),
    (f"WEB.{SVC}", "A", "NOERROR", {"10.96.0.20"}, "RFC 4343: letters of any case"),
    (f"_http._tcp.web.{SVC}", "SRV", "NOERROR", {f"0 100 80 web.{SVC}"}, "2.3.2 SRV"),
    (f"_http._udp.web.{SVC}", "SRV", "NXDOMAIN", set(), "no such protocol"),
    (f"plain.{SVC}", "AAAA", "NOERROR", set(), "NODATA: the name is there, the family is not"),
    (f"db.{SVC}", "A", "NOERROR", {"10.244.1.5", "10.244.2.5"}, "2.4.1 headless"),
    (f"db.{SVC}", "AAAA", "NOERROR", {"fd00:244:0:2::5"}, "2.4.1 headless"),
    (f"db-0.db.{SVC}", "A", "NOERROR", {"10.244.1.5"}, "2.4.1 hostname"),
    (f"10-244-2-5.db.{SVC}", "A", "NOERROR", {"10.244.2.5"}, "2.4.1 an endpoint without hostname"),
    (
        f"_postgres._tcp.db.{SVC}",
        "SRV",
        "NOERROR",
        {
            f"0 100 5432 db-0.db.{SVC}",
            f"0 100 5432 10-244-2-5.db.{SVC}",
            f"0 100 5432 fd00-244-0-2--5.db.{SVC}",
        },
        "2.4.2 SRV of a headless service",
    ),
    (f"nobody.{SVC}", "A", "NXDOMAIN", set(), "2.4.1 a headless service without endpoints"),
    (f"old.{SVC}", "A", "NOERROR", {"www.outside.example."}, "2.5 ExternalName"),
    (f"old.{SVC}", "CNAME", "NOERROR", {"www.outside.example."}, "2.5 ExternalName"),
    (f"alias.{SVC}", "A", "NOERROR", {f"web.{SVC}", "10.96.0.20"}, "RFC 1034 4.3.2: an alias is followed"),
    (f"nope.{SVC}", "A", "NXDOMAIN", set(), "no such service"),
    (f"a.web.{SVC}", "A", "NXDOMAIN", set(), "nothing below a service with an address"),
    (SVC, "A", "NOERROR", set(), "NODATA: a name with names below it exists (RFC 8020)"),
    ("nothing.svc.cluster.local.", "A", "NXDOMAIN", set(), "no such namespace"),
    ("dns-version.cluster.local.", "TXT", "NOERROR", {'"1.1.0"'}, "2.2 schema version"),
    ("10-244-1-2.default.pod.cluster.local.", "A", "NOERROR", {"10.244.1.2"}, "a pod by its address"),
    (
        "fd00-244-0-1--2.default.pod.cluster.local.",
        "AAAA",
        "NOERROR",
        {"fd00:244:0:1::2"},
        "a pod by its address",
    ),
    ("10-244-1-3.default.pod.cluster.local.", "A", "NXDOMAIN", set(), "no such pod"),
    ("20.0.96.10.in-addr.arpa.", "PTR", "NOERROR", {f"web.{SVC}"}, "2.3.3 PTR"),
    ("5.1.244.10.in-addr.arpa.", "PTR", "NOERROR", {f"db-0.db.{SVC}"}, "2.4.3 PTR of an endpoint"),
    ("21.0.96.10.in-addr.arpa.", "PTR", "NXDOMAIN", set(), "nobody has this address"),
    ("cluster.local.", "NS", "NOERROR", {"ns.dns.cluster.local."}, "the zone's own records"),
]


@pytest.mark.parametrize(("name", "kind", "code", "data", "why"), ROWS, ids=lambda value: str(value)[:40])
def test_answer(name: str, kind: str, code: str, data: set[str], why: str) -> None:
    answer = evaluate(ZONES, name, kind)
    assert answer is not None
    assert (answer.code, {record.data for record in answer.records}) == (code, data), why
    negative = not answer.records
    assert bool(answer.authority) == negative, "RFC 2308: a negative answer carries the zone's SOA"


@pytest.mark.parametrize(
    "name", ["www.outside.example.", "local.", "xcluster.local.", "1.50.168.192.in-addr.arpa.", "."]
)
def test_names_of_others_are_not_ours(name: str) -> None:
    assert evaluate(ZONES, name, "A") is None


def test_an_alias_that_leads_out_tells_where() -> None:
    answer = evaluate(ZONES, f"old.{SVC}", "AAAA")
    assert answer is not None
    assert answer.alias == "www.outside.example."


def test_an_alias_of_itself_ends() -> None:
    answer = evaluate(ZONES, f"loop.{SVC}", "A")
    assert answer is not None
    assert {record.data for record in answer.records} == {f"loop.{SVC}"}


def test_a_negative_answer_has_the_soa_of_its_own_zone() -> None:
    answer = evaluate(ZONES, "9.9.96.10.in-addr.arpa.", "PTR")
    assert answer is not None
    assert [record.name for record in answer.authority] == ["96.10.in-addr.arpa."]


def test_equal_input_gives_equal_text() -> None:
    assert render(NAMES) == render(replace(NAMES))


def test_comments_name_the_owner() -> None:
    assert f"web.{SVC} 5 IN A 10.96.0.20 ; service default/web\n" in render(NAMES)


@pytest.mark.parametrize(
    ("cidr", "zone"),
    [
        ("10.96.0.0/16", "96.10.in-addr.arpa."),
        ("192.168.50.0/24", "50.168.192.in-addr.arpa."),
        ("fd00:244::/56", "0.0.0.0.0.0.4.4.2.0.0.0.d.f.ip6.arpa."),
    ],
)
def test_reverse_zone(cidr: str, zone: str) -> None:
    assert reverse_zone(cidr) == zone


def test_a_zone_of_hosts() -> None:
    zones = parse(
        render_hosts("outside.example.", {"www.outside.example.": ["203.0.113.10", "2001:db8:113::10"]})
    )
    answer = evaluate(zones, "www.outside.example.", "AAAA")
    assert answer is not None
    assert [record.data for record in answer.records] == ["2001:db8:113::10"]


@pytest.mark.parametrize(
    "line", ["web 5 IN A 10.96.0.20", "web. IN A 10.96.0.20", "web. 5 CH A 10.96.0.20", "web. 5 IN A"]
)
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        parse(f"; a comment\n{line}\n")


def test_no_zones_no_answers() -> None:
    assert evaluate(Zones(), f"web.{SVC}", "A") is None
