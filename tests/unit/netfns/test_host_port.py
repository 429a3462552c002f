"""From pods to host ports, and what the table says of them."""

from typing import Any

import pytest

from agents.desired.host_ports import host_ports
from netfns.host_port import HostPort, HostPorts, evaluate, render

ADDRESSES = ("10.244.1.2", "fd00:244:0:1::2")


def pod(*ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "nginx", "ports": list(ports)}]
    return {"metadata": {"namespace": "default", "name": "web"}, "spec": {"containers": containers, **spec}}


def test_a_pod_without_host_ports_has_none() -> None:
    assert not list(host_ports(pod({"containerPort": 80}), ADDRESSES))
    assert not list(host_ports(pod({"containerPort": 80, "hostPort": 80}, hostNetwork=True), ADDRESSES))


def test_one_port_for_each_address_of_its_family() -> None:
    port = {"name": "http", "containerPort": 80, "hostPort": 8080, "protocol": "TCP"}
    found = list(host_ports(pod(port), ADDRESSES))
    assert [entry.address for entry in found] == list(ADDRESSES)
    assert found[0] == HostPort("default/web:http", "TCP", 8080, "10.244.1.2", 80)
    (only,) = host_ports(pod({**port, "hostIP": "192.168.50.21"}), ADDRESSES)
    assert (only.address, only.host_ip) == ("10.244.1.2", "192.168.50.21")
    (any4,) = host_ports(pod({**port, "hostIP": "0.0.0.0"}), ADDRESSES)
    assert (any4.address, any4.host_ip) == ("10.244.1.2", "")


def test_the_named_address_is_looked_up_first() -> None:
    desired = HostPorts(
        ("ip",),
        (
            HostPort("default/all:80", "TCP", 80, "10.244.1.2", 80),
            HostPort("default/one:80", "TCP", 80, "10.244.1.3", 80, "192.168.50.21"),
        ),
    )
    assert evaluate(desired, "192.168.50.21", "TCP", 80) == ("10.244.1.3", 80)
    assert evaluate(desired, "127.0.0.1", "TCP", 80) == ("10.244.1.2", 80)
    assert evaluate(desired, "127.0.0.1", "UDP", 80) is None
    text = render(desired)
    assert text.index("map @addressed") < text.index("map @ports")


@pytest.mark.parametrize("families", [("ip",), ("ip6",), ("ip", "ip6")])
def test_a_table_for_each_family_also_without_ports(families: tuple[str, ...]) -> None:
    text = render(HostPorts(families))
    assert [line for line in text.splitlines() if line.endswith("{") and line.startswith("table")] == [
        f"table {family} host_port {{" for family in families
    ]
    assert "elements" not in text
