"""Who sees whose address: out of the cluster the node's, inside it the pod's own."""

import pytest

from netfns import masquerade, overlay
from netfns.masquerade import Masquerade
from tests.kernel.cluster import NODES, OUTSIDE, Machine, node_addresses, pod_addresses
from tests.kernel.test_overlay import desired as overlay_of

pytestmark = pytest.mark.kernel
DESIRED = Masquerade(
    ("10.244.0.0/16", "fd00:244::/56"), tuple(address for node in NODES for address in node_addresses(node))
)


@pytest.fixture(scope="module")
def masqueraded(cluster: dict[str, Machine]) -> dict[str, Machine]:
    for node in NODES:
        overlay.prepare(cluster[node], overlay_of(node))
        overlay.apply(cluster[node], overlay.render(overlay_of(node)))
        masquerade.apply(cluster[node], masquerade.render(DESIRED))
    for machine, addresses in (
        ("outside", OUTSIDE),
        ("b1", pod_addresses("b1")),
        ("a2", pod_addresses("a2")),
    ):
        for address in addresses:
            cluster[machine].listen(address, 80)
    for address in node_addresses("worker2"):
        cluster["worker2"].listen(address, 80)
    return cluster


DESTINATIONS = {
    "outside": OUTSIDE,
    "b1": pod_addresses("b1"),
    "a2": pod_addresses("a2"),
    "worker2": node_addresses("worker2"),
}


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("to", DESTINATIONS)
def test_kernel_does_what_evaluate_tells(masqueraded: dict[str, Machine], to: str, family: int) -> None:
    source, destination = pod_addresses("a1")[family], DESTINATIONS[to][family]
    replaced = masquerade.evaluate(DESIRED, source, destination)
    assert replaced == (to == "outside")
    seen = node_addresses("worker1")[family] if replaced else source
    assert masqueraded["a1"].connect(destination, 80) == f"{to} {seen}"


def test_a_machine_that_is_no_node_is_outside() -> None:
    assert masquerade.evaluate(DESIRED, "10.244.1.2", "192.168.50.100")


def test_what_a_node_sends_is_left_alone() -> None:
    assert not masquerade.evaluate(DESIRED, "192.168.50.21", "203.0.113.10")


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_a_table_that_somebody_deleted_is_missed(kernel: Machine, family: str) -> None:
    masquerade.apply(kernel, masquerade.render(DESIRED))
    assert masquerade.intact(kernel, DESIRED)
    kernel.run(["nft", "delete", "table", family, masquerade.TABLE])
    assert not masquerade.intact(kernel, DESIRED)
