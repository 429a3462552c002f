"""A real kernel takes every golden text."""

import pytest

from netfns import service_iptables
from tests.golden.cases import FOLDER, PROXY
from tests.kernel.cluster import Machine

pytestmark = pytest.mark.kernel


def golden(name: str) -> str:
    return (FOLDER / name).read_text()


TABLES = {
    "table ip6 service": ["service.nft", "service-change.nft", "service-everything.nft"],
    "table ip6 masquerading": ["masquerade.nft"],
    "table ip6 host_port": ["host-port.nft"],
    "table inet network-policy": ["policy.nft", "policy-change.nft"],
}


@pytest.mark.parametrize("table", TABLES)
def test_nft(kernel: Machine, table: str) -> None:
    for name in TABLES[table]:
        kernel.nft(golden(name))
    assert table in kernel.run(["nft", "list", "ruleset"])


def test_iptables(kernel: Machine) -> None:
    service_iptables.apply(kernel, golden("service.iptables"))
    service_iptables.apply(kernel, service_iptables.render(PROXY))
    service_iptables.apply(kernel, golden("service-change.iptables"))
    assert '"default/empty cluster IP"' in service_iptables.observe(kernel)
    service_iptables.remove(kernel)


def test_overlay(kernel: Machine) -> None:
    kernel.ip(golden("overlay.ip"))
    kernel.bridge(golden("overlay.bridge"))
    assert "dst 192.168.50.22" in kernel.run(["bridge", "fdb", "show", "dev", "vxlan0"])
