"""Every row of the service table, through `evaluate` and through a real kernel by every proxy mode."""

from collections.abc import Iterator

import pytest

from netfns import PROXY_MODES, overlay, service_userspace
from netfns.kernel import CommandError
from netfns.proxy_mode import ProxyMode, proxy_mode
from netfns.service_types import FAMILIES, Packet, ServiceProxy
from netfns.service_verdict import evaluate
from tests.conformance.service import ROWS, UNABLE, Row, on_node
from tests.kernel.cluster import NODES, OUTSIDE, PODS, Machine, node_addresses, pod_addresses
from tests.kernel.test_balancer import until
from tests.kernel.test_overlay import desired as overlay_of

pytestmark = pytest.mark.kernel
MANY = 40  # connections; that one of two endpoints gets none of them has a chance of 2 ** -39
FEW = 30  # connections of a client that keeps its endpoint
CASES = [(mode, row) for mode in PROXY_MODES for row in ROWS if row.name not in UNABLE.get(mode, {})]


def proxy(node: str, row: Row) -> ServiceProxy:
    ranges = ("10.244.0.0/16", "fd00:244::/56"), ("10.96.0.0/16", "fd00:96::/112")
    services = tuple(on_node(service, node) for service in row.given)
    return ServiceProxy(node, node_addresses(node), *ranges, services)


def own_addresses(machine: str) -> tuple[str, ...]:
    if machine in PODS:
        return pod_addresses(machine)
    return OUTSIDE if machine == "outside" else node_addresses(machine)


def decider(row: Row) -> str:
    """The node whose rules decide: the one whose own address is asked for, else the sender's, else worker1."""
    asked = [node for node in NODES if row.to[0] in node_addresses(node)]
    here = PODS[row.sender][0] if row.sender in PODS else row.sender
    return next(iter(asked), here if here in NODES else "worker1")


def listen_everywhere(cluster: dict[str, Machine]) -> None:
    for node in NODES:
        overlay.prepare(cluster[node], overlay_of(node))
        overlay.apply(cluster[node], overlay.render(overlay_of(node)))
    for pod in PODS:
        for address in pod_addresses(pod):
            for protocol in ("TCP", "UDP", "SCTP"):
                for port in (8080, 8081):
                    cluster[pod].listen(address, port, protocol)


@pytest.fixture(scope="module")
def listening(cluster: dict[str, Machine]) -> dict[str, Machine]:
    listen_everywhere(cluster)
    return cluster


@pytest.fixture(scope="module")
def mode(request: pytest.FixtureRequest, listening: dict[str, Machine]) -> Iterator[ProxyMode]:
    """A proxy mode on both nodes; nothing of it is left for the next one."""
    found = proxy_mode(request.param)
    for node in NODES:
        found.prepare(listening[node])
    yield found
    for node in NODES:
        found.remove(listening[node])


@pytest.mark.parametrize(
    ("mode", "row"), CASES, ids=[f"{mode}-{row.name}" for mode, row in CASES], indirect=["mode"]
)
def test_kernel(
    listening: dict[str, Machine], mode: ProxyMode, row: Row, request: pytest.FixtureRequest
) -> None:
    wanted = row.kept_by(request.node.callspec.params["mode"])
    for node in NODES:
        mode.apply(listening[node], mode.render(proxy(node, row)))
    sender = listening[row.sender]
    if row.want == "dropped":
        assert sender.connect(*row.to, row.protocol, wait=0.5) == "timeout"
        return
    tries = 1 if len(row.kept) < 2 else FEW if row.sticky else MANY
    answers = {sender.connect(*row.to, row.protocol) for _ in range(tries)}
    if not row.kept:
        assert answers == {"refused"}
        return
    seen = {name: source in own_addresses(row.sender) for name, source in map(str.split, answers)}
    # A process of the node that decides, masqueraded, may keep the same address: it is the node's anyway.
    kept = {name: own and row.sender != decider(row) for name, own in seen.items()}
    if row.sticky:
        assert len(kept) == 1
        assert kept.items() <= wanted.items()
    else:
        assert kept == wanted


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_evaluate(row: Row) -> None:
    source = next(a for a in own_addresses(row.sender) if (":" in a) == (":" in row.to[0]))
    verdict = evaluate(proxy(decider(row), row), Packet(source, row.to[0], row.protocol, row.to[1]))
    actions = {"answered": "translate", "refused": "reject", "dropped": "drop", "direct": "pass"}
    assert verdict.action == actions[row.want]
    if row.want == "answered":
        names = {address: pod for pod in PODS for address in pod_addresses(pod)}
        assert {names[t.address]: not t.masquerade for t in verdict.targets} == row.kept
        assert row.sticky == bool(verdict.affinity_timeout)


def test_what_a_mode_cannot_do_is_a_row() -> None:
    names = {row.name for row in ROWS}
    assert all(mode in PROXY_MODES and names >= set(rows) for mode, rows in UNABLE.items())


def test_a_userspace_proxy_that_is_killed_is_replaced(cluster: dict[str, Machine]) -> None:
    node = cluster["worker1"]
    row = next(row for row in ROWS if row.name == "one endpoint here")
    service_userspace.apply(node, service_userspace.render(proxy("worker1", row)))
    told, before = service_userspace.observe(node), node.run([*service_userspace.ASK, "ping"])
    node.run(["kill", "-9", before.strip()])

    def replaced() -> bool:
        try:
            return node.run([*service_userspace.ASK, "ping"]) != before
        except CommandError:
            return False

    until(replaced)
    assert service_userspace.observe(node) == told
    assert service_userspace.intact(node, FAMILIES)
    node.nft(f"delete table ip6 {service_userspace.TABLE}")
    assert not service_userspace.intact(node, FAMILIES)
    assert service_userspace.intact(node, ("ip",))
    service_userspace.remove(node)
    assert service_userspace.observe(node) == ""
    assert not service_userspace.intact(node, FAMILIES)
