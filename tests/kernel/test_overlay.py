"""The overlay between two nodes of a real kernel."""

import pytest

from netfns import overlay
from netfns.overlay import Batches, Overlay, Vtep
from tests.kernel.cluster import NODES, Machine, node_addresses, pod_addresses, pod_cidrs

pytestmark = pytest.mark.kernel


def desired(node: str) -> Overlay:
    ends = {name: Vtep(name, node_addresses(name)[0], pod_cidrs(name)) for name in NODES}
    return Overlay(ends[node], tuple(end for name, end in ends.items() if name != node))


@pytest.fixture(scope="module")
def overlaid(cluster: dict[str, Machine]) -> dict[str, Machine]:
    for node in NODES:
        overlay.prepare(cluster[node], desired(node))
        overlay.apply(cluster[node], overlay.render(desired(node)))
    for pod in ("a1", "b1"):
        for address in pod_addresses(pod):
            cluster[pod].listen(address, 80)
    return cluster


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_pod_on_another_node_sees_the_senders_own_address(overlaid: dict[str, Machine], family: int) -> None:
    target, sender = pod_addresses("b1")[family], pod_addresses("a1")[family]
    assert overlaid["a1"].connect(target, 80) == f"b1 {sender}"


def test_node_reaches_a_pod_of_another_node(overlaid: dict[str, Machine]) -> None:
    assert overlaid["worker1"].connect(pod_addresses("b1")[0], 80) == "b1 10.244.1.0"


def test_outer_addresses_are_the_ones_that_evaluate_tells(overlaid: dict[str, Machine]) -> None:
    outer = overlay.evaluate(desired("worker1"), pod_addresses("b1")[0])
    assert outer is not None
    counter = f"udp dport 8472 ip saddr {outer.source} ip daddr {outer.destination} counter"
    overlaid["worker2"].nft(
        "table ip watch {\nchain input {\ntype filter hook input priority 0; policy accept;\n"
        + counter
        + "\n}\n}\n"
    )
    overlaid["a1"].connect(pod_addresses("b1")[0], 80)
    assert "packets 0" not in overlaid["worker2"].run(["nft", "list", "table", "ip", "watch"])


def test_observe_reads_what_render_wrote(overlaid: dict[str, Machine]) -> None:
    wanted = overlay.render(desired("worker1"))
    held = overlay.observe(overlaid["worker1"])
    assert sorted(held.ip.splitlines()) == sorted(wanted.ip.splitlines())
    assert held.bridge == wanted.bridge


def test_second_apply_changes_nothing(overlaid: dict[str, Machine]) -> None:
    wanted = overlay.render(desired("worker1"))
    assert overlay.render_change(overlay.observe(overlaid["worker1"]), wanted) == Batches()


@pytest.mark.parametrize(
    "damage",
    [
        ["bridge", "fdb", "del", overlay.vtep_mac("192.168.50.22"), "dev", "vxlan0", "dst", "192.168.50.22"],
        ["ip", "neigh", "del", "10.244.2.0", "dev", "vxlan0"],
        ["ip", "route", "del", "10.244.2.0/24"],
        ["ip", "link", "set", "vxlan0", "down"],
        ["ip", "link", "set", "vxlan0", "mtu", "1300"],
        ["ip", "link", "del", "vxlan0"],
    ],
    ids=lambda argv: " ".join(argv[:3]),
)
def test_apply_repairs(overlaid: dict[str, Machine], damage: list[str]) -> None:
    overlaid["worker1"].run(damage)
    overlay.apply(overlaid["worker1"], overlay.render(desired("worker1")))
    assert overlaid["a1"].connect(pod_addresses("b1")[0], 80) == "b1 10.244.1.2"


def test_a_node_that_left_is_forgotten(kernel: Machine) -> None:
    kernel.ip(
        "link add eth0 type veth peer name other\nlink set eth0 up\naddress add 192.168.50.21/24 dev eth0\n"
    )
    overlay.apply(kernel, overlay.render(desired("worker1")))
    alone = overlay.render(Overlay(desired("worker1").local))
    overlay.apply(kernel, alone)
    assert sorted(overlay.observe(kernel).ip.splitlines()) == sorted(alone.ip.splitlines())
    assert overlay.observe(kernel).bridge == ""
