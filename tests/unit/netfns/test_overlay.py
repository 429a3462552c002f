import pytest

from netfns.overlay import Batches, Encapsulation, Overlay, evaluate, render, render_change, vtep_mac
from tests.golden.cases import OVERLAY


def test_a_mac_address_is_made_from_the_nodes_address() -> None:
    assert vtep_mac("192.168.50.22") == "02:00:c0:a8:32:16"


@pytest.mark.parametrize("destination", ["10.244.2.7", "fd00:244:0:2::7"])
def test_a_peers_pod_is_behind_its_tunnel_end(destination: str) -> None:
    outer = Encapsulation(1, "192.168.50.21", "192.168.50.22", "02:00:c0:a8:32:16")
    assert evaluate(OVERLAY, destination) == outer


@pytest.mark.parametrize("destination", ["10.244.1.7", "192.168.50.22", "203.0.113.10", "10.96.0.1"])
def test_nothing_else_takes_the_tunnel(destination: str) -> None:
    assert evaluate(OVERLAY, destination) is None


def test_no_difference_no_commands() -> None:
    assert render_change(render(OVERLAY), render(OVERLAY)) == Batches()


def test_a_node_that_joins_costs_its_own_lines_only() -> None:
    alone = render(Overlay(OVERLAY.local, OVERLAY.peers[:1]))
    change = render_change(alone, render(OVERLAY))
    assert len(change.ip.splitlines()) == 4
    assert change.bridge == "fdb replace 02:00:c0:a8:32:16 dev vxlan0 dst 192.168.50.22\n"


def test_a_node_that_leaves_is_taken_out_in_the_opposite_order() -> None:
    alone = render(Overlay(OVERLAY.local, OVERLAY.peers[:1]))
    change = render_change(render(OVERLAY), alone)
    assert change.ip.splitlines()[:2] == [
        "route del fd00:244:0:2::/64 via fd00:244:0:2:: dev vxlan0 onlink",
        "neigh del fd00:244:0:2:: lladdr 02:00:c0:a8:32:16 dev vxlan0",
    ]
    assert change.bridge == "fdb del 02:00:c0:a8:32:16 dev vxlan0 dst 192.168.50.22\n"


def test_the_same_said_otherwise_never_takes_the_device_away() -> None:
    held = render(OVERLAY)
    wanted = Batches(held.ip.replace("link set vxlan0 up", "link set dev vxlan0 up"), held.bridge)
    assert render_change(held, wanted) == Batches("link set dev vxlan0 up\n")


def test_a_device_that_is_wrong_is_made_anew() -> None:
    wrong = Batches(render(OVERLAY).ip.replace("dstport 8472", "dstport 4789"), render(OVERLAY).bridge)
    change = render_change(wrong, render(OVERLAY))
    assert change == Batches("link del vxlan0\n" + render(OVERLAY).ip, render(OVERLAY).bridge)
