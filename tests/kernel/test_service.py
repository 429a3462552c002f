"""Every row of the service table, through `evaluate` and through a real kernel; and changes as
differences.
"""

from dataclasses import replace

import pytest

from netfns import overlay, service
from netfns.kernel import CommandError
from netfns.service_types import Endpoint, Packet, Service, ServiceProxy
from netfns.service_verdict import evaluate
from tests.conformance.service import A1, A2, B1, ROWS, TWO, WEB, Row, http
from tests.conformance.service import service as a_service
from tests.kernel.cluster import NODES, OUTSIDE, PODS, Machine, node_addresses, pod_addresses
from tests.kernel.test_overlay import desired as overlay_of

pytestmark = pytest.mark.kernel
MANY = 40  # connections; that one of two endpoints gets none of them has a chance of 2 ** -39


def proxy(node: str, row: Row) -> ServiceProxy:
    ranges = ("10.244.0.0/16", "fd00:244::/56"), ("10.96.0.0/16", "fd00:96::/112")
    return ServiceProxy(node, node_addresses(node), *ranges, row.given)


def own_addresses(machine: str) -> tuple[str, ...]:
    if machine in PODS:
        return pod_addresses(machine)
    return OUTSIDE if machine == "outside" else node_addresses(machine)


def decider(row: Row) -> str:
    """The node whose rules the packet meets first: the sender's, or the one that it is sent to."""
    if row.sender == "outside":
        return next(node for node in NODES if row.to[0] in node_addresses(node))
    return PODS[row.sender][0] if row.sender in PODS else row.sender


@pytest.fixture(scope="module")
def serving(cluster: dict[str, Machine]) -> dict[str, Machine]:
    for node in NODES:
        overlay.prepare(cluster[node], overlay_of(node))
        overlay.apply(cluster[node], overlay.render(overlay_of(node)))
        service.prepare(cluster[node])
    for pod in PODS:
        for address in pod_addresses(pod):
            for protocol in ("TCP", "UDP"):
                cluster[pod].listen(address, 8080, protocol)
    return cluster


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_kernel(serving: dict[str, Machine], row: Row) -> None:
    for node in NODES:
        service.apply(serving[node], service.render(proxy(node, row)))
    sender = serving[row.sender]
    if row.want == "dropped":
        assert sender.connect(*row.to, row.protocol, wait=0.5) == "timeout"
        return
    tries = MANY if len(row.kept) > 1 else 1
    answers = {sender.connect(*row.to, row.protocol) for _ in range(tries)}
    if not row.kept:
        assert answers == {"refused"}
        return
    seen = {name: source in own_addresses(row.sender) for name, source in map(str.split, answers)}
    # A process of the node that is masqueraded may keep the same address: it is the node's anyway.
    kept = {name: own and row.sender not in NODES for name, own in seen.items()}
    assert kept == row.kept


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_evaluate(row: Row) -> None:
    source = next(a for a in own_addresses(row.sender) if (":" in a) == (":" in row.to[0]))
    verdict = evaluate(proxy(decider(row), row), Packet(source, row.to[0], row.protocol, row.to[1]))
    actions = {"answered": "translate", "refused": "reject", "dropped": "drop", "direct": "pass"}
    assert verdict.action == actions[row.want]
    if row.want == "answered":
        names = {address: pod for pod in PODS for address in pod_addresses(pod)}
        assert {names[t.address]: not t.masquerade for t in verdict.targets} == row.kept


def held(machine: Machine, kind: str) -> set[str]:
    """The elements that the kernel holds: those of services by their comment, or the pickers."""
    lines = (
        service.observe(machine)
        .replace("elements = {", "\n")
        .replace(",", "\n")
        .replace(" }", "\n")
        .splitlines()
    )
    return {line.strip() for line in lines if kind in line and "meta mark" not in line}


CHANGES = {
    "an endpoint more": (TWO, (a_service(http(A1, A2, B1)),)),
    "an endpoint less": (TWO, (a_service(http(B1)),)),
    "no endpoint left": (TWO, (a_service(http()),)),
    "first endpoint": ((a_service(http()),), TWO),
    "endpoint replaced": (TWO, (a_service(http(A2, B1)),)),
    "service added": (TWO, (*TWO, a_service(http(A1), name="api", cluster_ips=("10.96.0.21",)))),
    "service removed": (TWO, ()),
    "node port added": (TWO, (a_service(http(A1, B1, node_port=30080)),)),
    "renamed": (TWO, (replace(TWO[0], name="other"),)),
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
