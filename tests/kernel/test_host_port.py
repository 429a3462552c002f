"""A port of a node leads into one pod, whoever asks, and sees who asks."""

import pytest

from netfns import host_port, masquerade, overlay
from netfns.host_port import HostPort, HostPorts
from netfns.masquerade import Masquerade
from tests.kernel.cluster import NODES, OUTSIDE, Machine, node_addresses, pod_addresses
from tests.kernel.test_overlay import desired as overlay_of

pytestmark = pytest.mark.kernel
NODE = node_addresses("worker1")
DESIRED = HostPorts(
    ("ip", "ip6"),
    (
        *(HostPort("default/a1:web", "TCP", 8080, address, 80) for address in pod_addresses("a1")),
        *(HostPort("default/a1:dns", "UDP", 5353, address, 53) for address in pod_addresses("a1")),
        HostPort("default/a2:own", "TCP", 9090, pod_addresses("a2")[0], 80, NODE[0]),
        HostPort("default/a2:local", "TCP", 7070, pod_addresses("a2")[0], 80, "127.0.0.1"),
    ),
)


@pytest.fixture(scope="module")
def mapped(cluster: dict[str, Machine]) -> dict[str, Machine]:
    ranges = ("10.244.0.0/16", "fd00:244::/56")
    inside = Masquerade(ranges, tuple(address for node in NODES for address in node_addresses(node)))
    for node in NODES:
        overlay.prepare(cluster[node], overlay_of(node))
        overlay.apply(cluster[node], overlay.render(overlay_of(node)))
        masquerade.apply(cluster[node], masquerade.render(inside))
    host_port.prepare(cluster["worker1"], DESIRED.families)
    host_port.apply(cluster["worker1"], host_port.render(DESIRED))
    for pod in ("a1", "a2"):
        for address in pod_addresses(pod):
            cluster[pod].listen(address, 80)
            cluster[pod].listen(address, 53, "UDP")
    return cluster


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("sender", ["outside", "worker2", "b1", "a2"])
def test_who_comes_from_elsewhere_reaches_the_pod_and_keeps_its_address(
    mapped: dict[str, Machine], sender: str, family: int
) -> None:
    own = {
        "outside": OUTSIDE,
        "worker2": node_addresses("worker2"),
        "b1": pod_addresses("b1"),
        "a2": pod_addresses("a2"),
    }[sender][family]
    assert host_port.evaluate(DESIRED, NODE[family], "TCP", 8080) == (pod_addresses("a1")[family], 80)
    assert mapped[sender].connect(NODE[family], 8080) == f"a1 {own}"
    assert mapped[sender].connect(NODE[family], 5353, "UDP") == f"a1 {own}"


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_a_pod_reaches_itself_through_its_node(mapped: dict[str, Machine], family: int) -> None:
    name, seen = mapped["a1"].connect(NODE[family], 8080).split()
    assert name == "a1"
    assert seen != pod_addresses("a1")[family]


def test_the_node_itself_by_its_address_and_by_localhost(mapped: dict[str, Machine]) -> None:
    for address in (*NODE, "127.0.0.1"):
        assert mapped["worker1"].connect(address, 8080).startswith("a1 "), address
    assert mapped["worker1"].connect("127.0.0.1", 7070).startswith("a2 ")


def test_a_port_of_one_address_is_open_on_that_one_only(mapped: dict[str, Machine]) -> None:
    assert mapped["outside"].connect(NODE[0], 9090) == f"a2 {OUTSIDE[0]}"
    assert mapped["worker1"].connect("127.0.0.1", 9090) == "refused"
    assert mapped["outside"].connect(NODE[0], 7070) == "refused"
    assert host_port.evaluate(DESIRED, "127.0.0.1", "TCP", 9090) is None


def test_what_is_not_the_nodes_is_left_alone(mapped: dict[str, Machine]) -> None:
    assert mapped["a2"].connect(node_addresses("worker2")[0], 8080) == "refused"
    assert mapped["b1"].connect(pod_addresses("a1")[0], 8080) == "refused"


def test_a_neighbour_does_not_come_in_to_localhost(mapped: dict[str, Machine]) -> None:
    """A pod that routes 127.0.0.1 over the bridge would reach what listens on the node's lo, were it not for guard."""
    node, a2 = mapped["worker1"], mapped["a2"]
    node.nft(
        "table ip count { chain input { type filter hook input priority 0; tcp dport 6060 counter\n }\n }\n"
    )
    a2.sysctl("net.ipv4.conf.eth0.route_localnet", "1")
    a2.ip(
        "route del local 127.0.0.1 dev lo table local\nroute del local 127.0.0.0/8 dev lo table local\n"
        "route add 127.0.0.1 via 10.244.1.1 src 10.244.1.3\n"
    )

    def arrives() -> bool:
        a2.connect("127.0.0.1", 6060, wait=0.2)
        return "packets 0 " not in node.run(["nft", "list", "table", "ip", "count"])

    assert not arrives()
    node.run(["nft", "flush", "chain", "ip", host_port.TABLE, "guard"])
    assert arrives(), "so it is the guard that keeps it out"
    host_port.apply(node, host_port.render(DESIRED))


def test_what_is_closed_is_closed_and_a_flow_begins_anew(mapped: dict[str, Machine]) -> None:
    moved = HostPorts(("ip",), (HostPort("default/a2:dns", "UDP", 5353, pod_addresses("a2")[0], 53),))
    host_port.apply(mapped["worker1"], host_port.render(moved))
    host_port.forget(mapped["worker1"], "UDP", 5353)
    assert mapped["outside"].connect(NODE[0], 5353, "UDP") == f"a2 {OUTSIDE[0]}"
    assert mapped["outside"].connect(NODE[0], 8080) == "refused"
    host_port.apply(mapped["worker1"], host_port.render(DESIRED))
