"""kube-proxy's iptables layout: names, chances, and that every text is whole in itself."""

from dataclasses import replace
from typing import Any

import pytest

from netfns import iptables, service_iptables
from netfns.service_iptables import render, render_change
from netfns.service_iptables_chains import chain_name
from netfns.service_types import Endpoint, Service, ServicePort, ServiceProxy
from tests.golden.cases import CHANGED, EVERYTHING, PROXY

TARGETS = {"ACCEPT", "REJECT", "DROP", "MARK", "RETURN", "DNAT", "MASQUERADE"}
# Chains of clusters in the world, with what they are made of.
NAMES = {
    "KUBE-SVC-NPX46M4PTMTKRN6Y": ("KUBE-SVC", "default/kubernetes:https", "tcp", ""),
    "KUBE-SEP-54IUPJM2TTG4TKF2": ("KUBE-SEP", "default/kubernetes:https", "tcp", "192.168.1.5:6443"),
    "KUBE-SVC-TCOU7JCQXEZGVUNU": ("KUBE-SVC", "kube-system/kube-dns:dns", "udp", ""),
    "KUBE-SVC-XPGD46QRK7WJZT7O": ("KUBE-SVC", "ns1/svc1:p80", "tcp", ""),
}


@pytest.mark.parametrize("name", NAMES)
def test_chains_have_the_names_that_kube_proxy_gives_them(name: str) -> None:
    assert chain_name(*NAMES[name]) == name


def of(*endpoints: Endpoint, **fields: Any) -> ServiceProxy:
    ports = (ServicePort("", "TCP", 80, 30080, endpoints),)
    return replace(PROXY, services=(Service("default", "hostnames", ("10.96.0.1",), ports, **fields),))


def test_each_rule_meets_what_the_ones_before_have_left() -> None:
    text = render(of(*(Endpoint(f"10.244.1.{number}", 9376) for number in (2, 3, 4))))
    chain = chain_name("KUBE-SVC", "default/hostnames", "tcp")
    rules = [line for line in text.splitlines() if line.startswith(f"-A {chain} ") and " -> " in line]
    chances = [line.partition("--probability ")[2].split(" ")[0] for line in rules]
    assert chances == ["0.33333333349", "0.50000000000", ""]
    assert '--comment "default/hostnames -> 10.244.1.2:9376"' in rules[0]


@pytest.mark.parametrize("desired", [PROXY, CHANGED, replace(PROXY, services=(EVERYTHING,)), of()])
def test_a_rule_jumps_only_to_what_stands_above_it(desired: ServiceProxy) -> None:
    for _, tables in iptables.sections(render(desired)):
        for lines in tables.values():
            known = set(TARGETS)
            for line in lines:
                if line.startswith(":"):
                    known.add(line[1:].split()[0])
                elif "-j " in line:
                    assert line.rpartition("-j ")[2].split()[0] in known


def test_every_rule_of_a_service_names_it() -> None:
    for line in render(replace(PROXY, services=(EVERYTHING,))).splitlines():
        if line.startswith("-A KUBE-S") and "NOTE" not in line:
            assert "default/web" in line, line


def test_what_has_no_endpoints_is_refused_and_what_has_them_elsewhere_is_dropped() -> None:
    elsewhere = Endpoint("10.244.2.2", 8080, "worker2")
    nobody, local = render(of()), render(of(elsewhere, external_traffic_policy="Local"))
    comment = '-m comment --comment "default/hostnames has no endpoints"'
    assert f"-d 10.96.0.1/32 -p tcp {comment} -m tcp --dport 80 -j REJECT" in nobody
    assert f"-p tcp {comment} -m addrtype --dst-type LOCAL -m tcp --dport 30080 -j REJECT" in nobody
    assert "DNAT" not in nobody
    assert '"default/hostnames has no local endpoints" -m addrtype --dst-type LOCAL' in local
    assert "--dport 30080 -j DROP" in local


def test_there_and_back_again_is_no_change() -> None:
    assert render_change(PROXY, PROXY) == ""
    there, back = render_change(PROXY, CHANGED), render_change(CHANGED, PROXY)

    def added(text: str) -> set[str]:
        return {line[3:] for line in text.splitlines() if line.startswith("-I ")}

    def deleted(text: str) -> set[str]:
        return {line[3:] for line in text.splitlines() if line.startswith("-D ")}

    assert added(there) == deleted(back)
    assert deleted(there) == added(back)


def test_one_endpoint_more_touches_its_service_alone() -> None:
    one, two = Endpoint("10.244.1.2", 80), Endpoint("10.244.1.3", 80)
    text = render_change(of(one), of(one, two))
    made = [line.split()[0][1:] for line in text.splitlines() if line.startswith(":")]
    assert made == [
        chain_name("KUBE-SEP", "default/hostnames", "tcp", "10.244.1.3:80"),
        chain_name("KUBE-SVC", "default/hostnames", "tcp"),
    ]
    assert "-I " not in text
    assert "-D " not in text


def test_sections_are_read_as_they_were_written() -> None:
    text = render(PROXY)
    found = list(iptables.sections(text))
    assert [family for family, _ in found] == ["ip", "ip6"]
    assert "".join(iptables.section(family, tables) for family, tables in found) == text


def test_a_long_text_is_cut_into_whole_parts() -> None:
    ((_, tables), *_) = iptables.sections(render(PROXY))
    parts = iptables.parts(tables, most=7)
    assert len(parts) > 3
    for part in parts:
        assert part.startswith("*")
        assert part.endswith("COMMIT\n")
        assert len([line for line in part.splitlines() if line[0] not in "*C"]) <= 7
    lines = [line for part in parts for line in part.splitlines() if line[0] not in "*C"]
    assert lines == [line for every in tables.values() for line in every]
    assert iptables.parts(tables) == [iptables.section("ip", tables).partition("\n")[2]]


def test_a_family_without_a_range_has_no_text() -> None:
    alone = replace(PROXY, pod_cidrs=("10.244.0.0/16",), service_cidrs=("10.96.0.0/16",))
    assert "ip6tables" not in service_iptables.render(alone)
