"""A node's bridge in a kernel."""

import json

import pytest

from netfns import bridge
from netfns.bridge import Bridge
from tests.kernel.cluster import Machine

pytestmark = pytest.mark.kernel


def hardware_address(machine: Machine) -> str:
    return str(json.loads(machine.run(["ip", "-json", "link", "show", "dev", bridge.DEVICE]))[0]["address"])


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
