"""What is written to plug a pod into its node's bridge, in one family and in two."""

from netfns import bridge
from netfns.bridge import Attachment, Bridge
from netfns.kernel import settings_for

BOTH = Bridge(("10.244.1.0/24", "fd00:244:0:1::/64"))
POD = Attachment("default/web", "uid-1", 7, ("10.244.1.2", "fd00:244:0:1::2"))


def test_a_second_family_costs_a_pod_one_address_and_one_route() -> None:
    both = bridge.render(BOTH, POD)
    one = bridge.render(Bridge(BOTH.pod_cidrs[:1]), Attachment("default/web", "uid-1", 7, POD.addresses[:1]))
    assert (both.node, both.port) == (one.node, one.port)
    assert set(both.pod.splitlines()) - set(one.pod.splitlines()) == {
        "addr add fd00:244:0:1::2/64 dev eth0 nodad",
        "route add default via fd00:244:0:1::1 dev eth0",
    }


def test_a_kernel_without_ipv6_is_asked_nothing_of_it() -> None:
    wired = bridge.render(Bridge(BOTH.pod_cidrs[:1], ipv6=False), Attachment("a/b", "u", 7, ("10.244.1.2",)))
    text = wired.node + wired.pod + wired.port + bridge.render_bridge(Bridge(BOTH.pod_cidrs[:1], ipv6=False))
    assert "addrgenmode" not in text
    assert not any(":" in line for line in text.splitlines() if line.startswith(("addr", "route")))
    assert not any("6" in key for key in settings_for(bridge.SYSCTLS, False) if "ipv4" not in key)


def test_only_a_bridge_that_forwards_ipv6_has_a_link_local_address() -> None:
    assert f"addr add {bridge.LINK_LOCAL} dev cni0 nodad" in bridge.render_bridge(BOTH)
    assert "fe80" not in bridge.render_bridge(Bridge(BOTH.pod_cidrs[:1]))
