"""The proxy mode iptables in a real kernel: loading, changing, looking, taking away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netfns import service_iptables
from netfns.kernel import CommandError
from netfns.service_types import FAMILIES, LOCAL, Endpoint, Service
from tests.conformance.service import A1, A1_6, A2, B1, ROWS, TWO, WEB, http
from tests.conformance.service import service as a_service
from tests.kernel.cluster import NODES, Machine
from tests.kernel.test_service import MANY, listen_everywhere, proxy
from tests.kernel.test_service_nftables import CHANGES

pytestmark = pytest.mark.kernel
EVERYTHING = (
    Service(
        "default",
        "all",
        (WEB, "fd00:96::20"),
        (replace(http(A1, B1, A1_6, node_port=30080), local_endpoints=(Endpoint(A1, 8080, "worker1"),)),),
        external_ips=("203.0.113.80", "2001:db8:113::80"),
        load_balancer_ips=("192.168.50.240", "fd00:50::240"),
        load_balancer_source_ranges=("203.0.113.0/24", "192.168.50.0/24", "2001:db8:113::/64"),
        affinity_timeout=10,
        external_traffic_policy=LOCAL,
        health_check_node_port=30100,
    ),
)


@pytest.fixture(scope="module")
def serving(cluster: dict[str, Machine]) -> dict[str, Machine]:
    listen_everywhere(cluster)
    for node in NODES:
        service_iptables.prepare(cluster[node])
    return cluster


def rules(machine: Machine) -> set[str]:
    """What the kernel holds, without order, counters and time; addresses of lists are none of ours."""
    lines = service_iptables.observe(machine).splitlines()
    return {line.removesuffix(" - [0:0]") for line in lines if line.startswith((":KUBE", "-A"))}


def test_the_dump_is_what_was_rendered(kernel: Machine) -> None:
    for services in (*(row.given for row in ROWS[::10]), EVERYTHING):
        text = service_iptables.render(proxy("worker1", replace(ROWS[0], given=services)))
        service_iptables.apply(kernel, text)
        wanted = {line.replace("-I ", "-A ", 1) for line in text.splitlines() if line.startswith((":", "-"))}
        assert {line.removesuffix(" - [0:0]") for line in wanted} == rules(kernel)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_leaves_what_a_rebuild_would(
    kernel: Machine, change: tuple[tuple[Service, ...], ...]
) -> None:
    old, new = (proxy("worker1", replace(ROWS[0], given=services)) for services in change)
    service_iptables.apply(kernel, service_iptables.render(old))
    service_iptables.apply(kernel, service_iptables.render_change(old, new))
    changed = rules(kernel)
    service_iptables.apply(kernel, service_iptables.render(new))
    assert changed == rules(kernel)


def test_loading_the_whole_twice_changes_nothing(kernel: Machine) -> None:
    text = service_iptables.render(proxy("worker1", replace(ROWS[0], given=EVERYTHING)))
    service_iptables.apply(kernel, text)
    first = service_iptables.observe(kernel)
    service_iptables.apply(kernel, text)
    assert service_iptables.observe(kernel).count("-A") == first.count("-A")
    assert "KUBE-FW-" in first


def test_other_peoples_rules_stay_and_ours_go(kernel: Machine) -> None:
    theirs = "-A FORWARD -s 192.0.2.1/32 -j DROP"
    kernel.run(["iptables-nft", "-t", "filter", *theirs.split()])
    service_iptables.apply(
        kernel, service_iptables.render(proxy("worker1", replace(ROWS[0], given=EVERYTHING)))
    )
    assert service_iptables.intact(kernel, FAMILIES)
    service_iptables.remove(kernel)
    assert not service_iptables.intact(kernel, FAMILIES)
    assert service_iptables.observe(kernel) == ""
    left = kernel.run(["iptables-nft-save"]) + kernel.run(["ip6tables-nft-save"])
    assert theirs in left
    assert "KUBE" not in left


def test_a_jump_that_somebody_took_away_is_missed_and_put_back(kernel: Machine) -> None:
    text = service_iptables.render(proxy("worker1", ROWS[0]))
    service_iptables.apply(kernel, text)
    kernel.run(["ip6tables-nft", "-t", "nat", "-F", "PREROUTING"])
    assert not service_iptables.intact(kernel, FAMILIES)
    service_iptables.apply(kernel, text)
    assert service_iptables.intact(kernel, FAMILIES)


@pytest.mark.parametrize(
    "tables", [("nat",), ("nat", "filter", "mangle")], ids=lambda tables: str(len(tables))
)
def test_a_family_that_somebody_took_away_is_missed(kernel: Machine, tables: tuple[str, ...]) -> None:
    service_iptables.apply(kernel, service_iptables.render(proxy("worker1", ROWS[0])))
    for table in tables:
        kernel.nft(f"delete table ip6 {table}")
    assert not service_iptables.intact(kernel, FAMILIES)
    assert service_iptables.intact(kernel, ("ip",)), "a cluster without IPv6 misses nothing"


def test_more_services_than_one_netlink_message_takes(kernel: Machine) -> None:
    many = tuple(
        a_service(http(A1, B1), name=f"s{n}", cluster_ips=(f"10.96.{n // 250}.{n % 250}",))
        for n in range(400)
    )
    service_iptables.apply(kernel, service_iptables.render(proxy("worker1", replace(ROWS[0], given=many))))
    assert service_iptables.observe(kernel).count("-j DNAT") == 800


def test_a_refused_text_leaves_the_rules_in_force(serving: dict[str, Machine]) -> None:
    desired = proxy("worker1", ROWS[0])
    service_iptables.apply(serving["worker1"], service_iptables.render(desired))
    bad = replace(desired, services=(a_service(replace(http(A1), endpoints=(Endpoint("10.244.1.300", 1),))),))
    with pytest.raises(CommandError):
        service_iptables.apply(serving["worker1"], service_iptables.render(bad))
    assert serving["a2"].connect(WEB, 80).split()[0] in ("a1", "b1")


def test_new_connections_go_only_to_the_endpoint_that_is_left(serving: dict[str, Machine]) -> None:
    old = proxy("worker1", ROWS[0])
    new = replace(old, services=(a_service(http(B1)),))
    service_iptables.apply(serving["worker1"], service_iptables.render(old))
    service_iptables.apply(serving["worker1"], service_iptables.render_change(old, new))
    assert {serving["a2"].connect(WEB, 80) for _ in range(MANY)} == {f"b1 {A2}"}


def test_a_client_keeps_its_endpoint_for_as_long_as_the_service_says(serving: dict[str, Machine]) -> None:
    sticky = replace(TWO[0], affinity_timeout=60)
    desired = proxy("worker1", replace(ROWS[0], given=(sticky,)))
    service_iptables.apply(serving["worker1"], service_iptables.render(desired))
    assert len({serving["a2"].connect(WEB, 80) for _ in range(MANY // 2)}) == 1
    service_iptables.apply(serving["worker1"], service_iptables.render(desired))
    kept = serving["a2"].connect(WEB, 80)
    more = replace(
        desired,
        services=(replace(sticky, name="web"), replace(sticky, name="other", cluster_ips=("10.96.0.9",))),
    )
    service_iptables.apply(serving["worker1"], service_iptables.render_change(desired, more))
    assert {serving["a2"].connect(WEB, 80) for _ in range(5)} == {kept}
