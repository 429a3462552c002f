"""A node's bridge in a kernel."""

import json
import re

import pytest

from netfns import bridge
from netfns.bridge import Bridge
from tests.e2e.waiting import wait_until
from tests.kernel.cluster import Machine

pytestmark = pytest.mark.kernel


def hardware_address(machine: Machine, device: str = bridge.DEVICE) -> str:
    return str(json.loads(machine.run(["ip", "-json", "link", "show", "dev", device]))[0]["address"])


@pytest.mark.parametrize("cidrs", [("10.244.1.0/24", "fd00:244:0:1::/64"), ("fd00:244:0:1::/64",)])
def test_the_gateway_keeps_its_hardware_address_when_pods_come_and_go(
    kernel: Machine, cidrs: tuple[str, ...]
) -> None:
    bridge.apply_bridge(kernel, Bridge(cidrs))
    before = hardware_address(kernel)
    kernel.ip("link add low address 02:00:00:00:00:01 master cni0 up type veth peer name far\n")
    assert hardware_address(kernel) == before
    kernel.ip("link del low\n")
    assert hardware_address(kernel) == before


def test_a_port_joins_no_group_that_it_would_report_to_all_other_ports(kernel: Machine) -> None:
    bridge.apply_bridge(kernel, Bridge(("10.244.1.0/24", "fd00:244:0:1::/64")))
    kernel.ip("link add port master cni0 up type veth peer name far\n")
    (port,) = json.loads(kernel.run(["ip", "-json", "-6", "maddress", "show", "dev", "port"]))
    assert {group["address"] for group in port["maddr"]} == {
        "ff01::1",
        "ff02::1",
    }  # never reported: RFC 3810, 6


def count_reports(pod: Machine, hook: str, whose: str = "") -> None:
    rule = f"type filter hook {hook} priority raw; {whose} icmpv6 type mld2-listener-report counter"
    pod.nft(f"table ip6 watch {{\nchain {hook} {{ {rule}; }}\n}}\n")


def reports(pod: Machine) -> int:
    found = re.search(r"counter packets (\d+)", pod.run(["nft", "list", "table", "ip6", "watch"]))
    assert found
    return int(found[1])


def test_a_pods_report_of_its_groups_goes_to_no_other_pod_and_neighbours_find_it_all_the_same(
    cluster: dict[str, Machine],
) -> None:
    cluster["a2"].listen("::", 8080)
    count_reports(cluster["a1"], "output")
    # The bridge reports groups of its own to all pods; it is one device, and does so when it is made.
    count_reports(cluster["a2"], "prerouting", f"ether saddr {hardware_address(cluster['a1'], 'eth0')}")
    cluster["a1"].ip("address add fd00:244:0:1::77 dev eth0 nodad\n")
    wait_until(lambda: reports(cluster["a1"]) > 0, 10.0)
    assert cluster["a1"].connect("fd00:244:0:1::3", 8080).startswith("a2 "), "by the same way, and later"
    assert reports(cluster["a2"]) == 0
