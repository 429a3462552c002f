"""The names of a cluster: the conformance table through `evaluate`, and texts that change step by step."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfns.dns import (
    ClusterNames,
    NamedEndpoint,
    NamedPod,
    NamedPort,
    NamedService,
    render,
    render_change,
    render_hosts,
    reverse_zone,
)
from netfns.dns_zones import Zones, change, evaluate, parse
from tests.conformance.dns import CLUSTER, OTHERS, OUTSIDE_HOSTS, ROWS, SVC, Row

ZONES = parse(render(CLUSTER))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.type} {row.question}"[:60])
def test_conformance(row: Row) -> None:
    answer = evaluate(ZONES, row.question, row.type)
    assert answer is not None
    assert (answer.code, frozenset(record.data for record in answer.records)) == (row.code, row.answers), (
        row.why
    )
    assert answer.alias == row.alias
    types = {record.type for record in answer.records}
    negative = row.type not in types and row.type != "ANY" and not answer.alias and "loop" not in row.question
    assert bool(answer.authority) == (negative or not answer.records), "RFC 2308: the zone's SOA"


@pytest.mark.parametrize("name", OTHERS)
def test_names_of_others_are_not_ours(name: str) -> None:
    assert evaluate(ZONES, name, "A") is None


def test_targets_bring_their_addresses() -> None:
    answer = evaluate(ZONES, f"_http._tcp.web.{SVC}", "SRV")
    assert answer is not None
    assert {record.data for record in answer.additional} == {"10.96.0.20", "fd00:96::20"}


def test_a_negative_answer_has_the_soa_of_its_own_zone() -> None:
    answer = evaluate(ZONES, "9.9.96.10.in-addr.arpa.", "PTR")
    assert answer is not None
    assert [record.name for record in answer.authority] == ["96.10.in-addr.arpa."]


def test_equal_input_gives_equal_text() -> None:
    assert render(CLUSTER) == render(replace(CLUSTER))


def test_comments_name_the_owner() -> None:
    assert f"web.{SVC} 5 IN A 10.96.0.20 ; service default/web\n" in render(CLUSTER)


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


def test_the_root_zone_of_another_world() -> None:
    zones = parse(render_hosts(".", OUTSIDE_HOSTS))
    found, none, above = (
        evaluate(zones, *question)
        for question in (("www.outside.example.", "AAAA"), ("www.example.com.", "A"), ("example.", "A"))
    )
    assert found is not None
    assert none is not None
    assert above is not None
    assert [record.data for record in found.records] == ["2001:db8:113::10"]
    assert (none.code, above.code) == ("NXDOMAIN", "NOERROR")
    assert [record.name for record in none.authority] == ["."]


@pytest.mark.parametrize(
    "line",
    ["web 5 IN A 10.96.0.20", "web. IN A 10.96.0.20", "web. 5 CH A 10.96.0.20", "web. 5 IN A", "+ web."],
)
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        parse(f"; a comment\n{line}\n")


def test_what_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(ValueError, match=r"line 2.*no such record"):
        parse("web. 5 IN A 10.96.0.20\n- web. 5 IN A 10.96.0.21\n")


def test_no_zones_no_answers() -> None:
    assert evaluate(Zones(), f"web.{SVC}", "A") is None


# ---------------------------------------------------------------- changes

labels = st.sampled_from(["a", "b", "c"])
ipv4 = st.integers(1, 3).map(lambda n: f"10.244.0.{n}")
endpoints = st.builds(
    NamedEndpoint,
    st.tuples(ipv4),
    st.sampled_from(["", "h0", "h1"]),
    st.just((NamedPort("p", "TCP", 80), NamedPort("", "UDP", 1))),
)
services = st.builds(
    NamedService,
    labels,
    labels,
    st.sampled_from([(), ("10.96.0.1",), ("10.96.0.2", "fd00:96::2")]),
    st.just((NamedPort("p", "TCP", 80),)),
    st.lists(endpoints, max_size=3).map(tuple),
    st.sampled_from(["", "", "c.c.svc.cluster.local", "elsewhere.example"]),
)
pods = st.builds(NamedPod, labels, labels, st.tuples(ipv4))
clusters = st.builds(
    lambda s, p: replace(
        CLUSTER,
        services=tuple({(x.namespace, x.name): x for x in s}.values()),
        pods=tuple({(x.namespace, x.name): x for x in p}.values()),
    ),
    st.lists(services, max_size=4),
    st.lists(pods, max_size=3),
)


def everything(zones: Zones) -> dict[str, dict[str, frozenset[str]]]:
    """Every name that exists, and its records by type."""
    return {
        name: {kind: frozenset(map(str, found)) for kind, found in zones.records.get(name, {}).items()}
        for name in {*zones.records, *zones.below}
    }


@given(st.lists(clusters, min_size=2, max_size=4))
def test_changes_are_as_good_as_the_whole_text(steps: list[ClusterNames]) -> None:
    zones, text = parse(render(steps[0])), render(steps[0])
    for old, new in itertools.pairwise(steps):
        appended = render_change(old, new)
        assert appended == "" or appended.endswith("\n\n")
        before = everything(zones)
        changed = change(zones, appended)
        text += appended
        after = everything(zones)
        assert after == everything(parse(render(new))) == everything(parse(text))
        assert {n for n in {*before, *after} if before.get(n) != after.get(n)} <= changed, (
            "all that differs is named"
        )


def test_another_frame_is_no_change() -> None:
    with pytest.raises(ValueError, match="render the whole text"):
        render_change(CLUSTER, replace(CLUSTER, servers=("10.96.0.11",)))
