"""What is nftables' own: changes as differences, clients that keep their endpoint, large rulesets, refused texts."""

import re
import time
from dataclasses import replace

import pytest

from netfns import service, service_flows
from netfns.kernel import CommandError
from netfns.service_types import FAMILIES, Endpoint, Service
from tests.conformance.service import A1, A2, B1, BALANCED, ROWS, TWO, WEB, WORKER1, http, local, ranges
from tests.conformance.service import service as a_service
from tests.kernel.cluster import NODES, Machine
from tests.kernel.test_service import FEW, MANY, listen_everywhere, proxy

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def serving(cluster: dict[str, Machine]) -> dict[str, Machine]:
    listen_everywhere(cluster)
    for node in NODES:
        service.prepare(cluster[node])
        service.apply(cluster[node], service.render(proxy(node, ROWS[0])))
    return cluster


def held(machine: Machine, kind: str) -> set[str]:
    """The elements that the kernel holds: those of services by their comment, or the pickers."""
    blocks = re.findall(r"elements = \{([^{}]*)\}", service.observe(machine))
    elements = {element.strip() for block in blocks for element in block.split(",")}
    return {element for element in elements if kind in element}


STICKY = (a_service(http(A1, B1), affinity_timeout=60),)
CROWD = tuple(
    Endpoint(f"10.244.2.{n}", 8080, "worker2") for n in range(2, 22)
)  # more than chains are ready for
CHANGES = {
    "a crowd": (TWO, (a_service(replace(http(), endpoints=CROWD)),)),
    "one more in the crowd": (
        (a_service(replace(http(), endpoints=CROWD[1:])),),
        (a_service(replace(http(), endpoints=CROWD)),),
    ),
    "a sticky crowd": (STICKY, (a_service(replace(http(), endpoints=CROWD), affinity_timeout=60),)),
    "an endpoint more": (TWO, (a_service(http(A1, A2, B1)),)),
    "an endpoint less": (TWO, (a_service(http(B1)),)),
    "no endpoint left": (TWO, (a_service(http()),)),
    "first endpoint": ((a_service(http()),), TWO),
    "endpoint replaced": (TWO, (a_service(http(A2, B1)),)),
    "service added": (TWO, (*TWO, a_service(http(A1), name="api", cluster_ips=("10.96.0.21",)))),
    "service removed": (TWO, ()),
    "node port added": (TWO, (a_service(http(A1, B1, node_port=30080)),)),
    "renamed": (TWO, (replace(TWO[0], name="other"),)),
    "affinity begins": (TWO, (replace(TWO[0], affinity_timeout=60),)),
    "affinity ends": ((replace(TWO[0], affinity_timeout=60),), TWO),
    "affinity for longer": ((replace(TWO[0], affinity_timeout=60),), (replace(TWO[0], affinity_timeout=61),)),
    "affinity goes with its service": ((replace(TWO[0], affinity_timeout=60),), ()),
    "affinity, an endpoint less": (STICKY, (a_service(http(B1), affinity_timeout=60),)),
    "policy Local": (local(A1, B1), (replace(local(A1, B1)[0], external_traffic_policy="Cluster"),)),
    "policy Local, endpoint here gone": (local(A1, B1), local(B1)),
    "policy Local, all endpoints gone": (local(B1), local()),
    "policy Local with affinity": (local(A1), local(A1, A2, B1, affinity_timeout=60)),
    "other ranges": (ranges("203.0.113.0/24"), ranges("198.51.100.0/24", "203.0.113.0/25")),
    "ranges within ranges": (
        ranges("203.0.113.0/24"),
        ranges("203.0.113.0/25", "203.0.0.0/16", "203.0.113.9/8"),
    ),
    "no ranges any more": (ranges("203.0.113.0/24"), BALANCED),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_leaves_what_a_rebuild_would(
    kernel: Machine, change: tuple[tuple[Service, ...], ...]
) -> None:
    row = ROWS[0]
    old, new = (proxy("worker1", replace(row, given=services)) for services in change)
    service.apply(kernel, service.render(old))
    service.apply(kernel, service.render_change(old, new))
    changed, pickers = held(kernel, 'comment "'), held(kernel, ": goto pick-")
    service.apply(kernel, service.render(new))
    assert changed == held(kernel, 'comment "')
    assert pickers >= held(kernel, ": goto pick-")


def test_new_connections_go_only_to_the_endpoint_that_is_left(
    serving: dict[str, Machine],
) -> None:
    old = proxy("worker1", ROWS[0])
    new = replace(old, services=(a_service(http(B1)),))
    service.apply(serving["worker1"], service.render(old))
    service.apply(serving["worker1"], service.render_change(old, new))
    assert {serving["a2"].connect(WEB, 80) for _ in range(MANY)} == {f"b1 {A2}"}


def test_more_services_than_one_netlink_message_takes(kernel: Machine) -> None:
    many = tuple(a_service(http(A1, B1), cluster_ips=(f"10.96.{n // 250}.{n % 250}",)) for n in range(1000))
    desired = proxy("worker1", replace(ROWS[0], given=many))
    service.apply(kernel, service.render(desired))
    assert len(held(kernel, " : 10.244.")) == 2000


def test_a_refused_text_leaves_the_rules_in_force(serving: dict[str, Machine]) -> None:
    desired = proxy("worker1", ROWS[0])
    service.apply(serving["worker1"], service.render(desired))
    bad = replace(desired, services=(a_service(replace(http(A1), endpoints=(Endpoint("10.244.1.300", 1),))),))
    with pytest.raises(CommandError):
        service.apply(serving["worker1"], service.render(bad))
    assert serving["a2"].connect(WEB, 80).split()[0] in ("a1", "b1")


def load(cluster: dict[str, Machine], services: tuple[Service, ...]) -> None:
    for node in NODES:
        service.apply(cluster[node], service.render(proxy(node, replace(ROWS[0], given=services))))


def answering(sender: Machine, to: tuple[str, int], tries: int = FEW) -> set[str]:
    """The pods that answer."""
    return {sender.connect(*to).split()[0] for _ in range(tries)}


def clients(machine: Machine) -> str:
    return machine.run(["nft", "list", "map", "ip", "service", "affinity-default/web/http"])


def test_clients_keep_their_endpoint_through_rebuilds_and_changes(serving: dict[str, Machine]) -> None:
    load(serving, ())
    load(serving, STICKY)
    kept = answering(serving["a2"], (WEB, 80))
    assert len(kept) == 1
    load(serving, STICKY)
    assert answering(serving["a2"], (WEB, 80)) == kept, "a rebuild has made the kernel forget"
    old, new = (
        proxy("worker1", replace(ROWS[0], given=given))
        for given in (STICKY, (a_service(http(A1, A2, B1), affinity_timeout=60),))
    )
    service.apply(serving["worker1"], service.render_change(old, new))
    assert answering(serving["a2"], (WEB, 80)) == kept, (
        "another endpoint has come, which is no reason to move"
    )


@pytest.mark.parametrize("left", [A1, B1])
def test_a_client_whose_endpoint_is_gone_gets_a_live_one_and_keeps_that(
    serving: dict[str, Machine], left: str
) -> None:
    load(serving, ())
    load(serving, STICKY)
    answering(serving["a2"], (WEB, 80))
    one = (a_service(http(left), affinity_timeout=60),)
    load(serving, one)
    kept = answering(serving["a2"], (WEB, 80))
    assert kept == {"a1" if left == A1 else "b1"}
    load(serving, STICKY)
    assert answering(serving["a2"], (WEB, 80)) == kept, "it was not remembered with the new endpoint"


def test_a_client_keeps_its_endpoint_whichever_way_it_comes_in(serving: dict[str, Machine]) -> None:
    load(serving, ())
    load(serving, local(A1, B1, affinity_timeout=60))
    ways = [(WEB, 80), (WORKER1, 30080)]
    assert len({pod for way in ways for pod in answering(serving["a2"], way)}) == 1


def test_an_endpoint_elsewhere_is_not_kept_once_the_policy_is_local(serving: dict[str, Machine]) -> None:
    load(serving, ())
    load(serving, (replace(local(B1, affinity_timeout=60)[0], external_traffic_policy="Cluster"),))
    assert answering(serving["outside"], (WORKER1, 30080)) == {"b1"}
    load(serving, local(A1, B1, affinity_timeout=60))
    assert answering(serving["outside"], (WORKER1, 30080)) == {"a1"}


def test_a_client_is_forgotten_after_the_timeout(serving: dict[str, Machine]) -> None:
    load(serving, ())
    load(serving, (a_service(http(A1, B1), affinity_timeout=1),))
    serving["a2"].connect(WEB, 80)
    assert A2 in clients(serving["worker1"])
    deadline = time.monotonic() + 10
    while A2 in clients(serving["worker1"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_family_that_somebody_took_away_is_missed(kernel: Machine) -> None:
    desired = proxy("worker1", ROWS[0])
    service.apply(kernel, service.render(desired))
    assert service.intact(kernel, desired.families)
    kernel.nft("delete table ip6 service")
    assert not service.intact(kernel, desired.families)
    assert service.intact(kernel, ("ip",)), "a cluster without IPv6 misses nothing"


def test_what_stood_under_the_tables_name_does_not_stop_a_load(kernel: Machine) -> None:
    """A student's table, in which the sets are of other kinds."""
    kernel.nft(
        "table ip service {\nset services { type ipv4_addr; }\n"
        "chain translate { type filter hook input priority 0; }\n}"
    )
    service.apply(kernel, service.render(proxy("worker1", ROWS[0])))
    assert service.intact(kernel, FAMILIES)
    kernel.nft("flush ruleset")
    assert not service.intact(kernel, FAMILIES)
    service.apply(kernel, service.render(proxy("worker1", ROWS[0])))
    assert service.intact(kernel, FAMILIES)
    service.remove(kernel)
    assert service.observe(kernel) == ""


def test_a_flow_whose_endpoint_is_gone_is_forgotten_and_goes_to_a_live_one(
    serving: dict[str, Machine],
) -> None:
    udp = [(a_service(http(*endpoints, protocol="UDP")),) for endpoints in ((A1,), (B1,))]
    load(serving, udp[0])

    def ask(source_port: int) -> str:
        return serving["a2"].connect(WEB, 80, "UDP", source_port=source_port).split()[0]

    assert {ask(40001), ask(40002)} == {"a1"}
    before, now = (proxy("worker1", replace(ROWS[0], given=given)) for given in udp)
    service.apply(serving["worker1"], service.render_change(before, now))
    assert ask(40001) == "a1", "the flow is remembered: this test would prove nothing"
    service_flows.forget(serving["worker1"], service_flows.stale(before, now))
    assert {ask(40001), ask(40002)} == {"b1"}
    service_flows.forget(serving["worker1"], service_flows.stale(before, now))  # none is left, which is fine
