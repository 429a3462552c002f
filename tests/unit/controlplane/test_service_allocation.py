from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.service_allocation import ServiceAllocation

Obj = dict[str, Any]
Make = Callable[..., Obj]


@pytest.fixture
def api(api: API) -> API:
    api.admit_with("Service", ServiceAllocation(("10.96.0.0/28",), (30000, 30003)))
    return api


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(StatusError) as caught:
        call()
    return caught.value.message


def test_addresses_are_never_given_twice_and_given_back(api: API, service: Make) -> None:
    taken = [api.create(service(f"s{i}"))["spec"]["clusterIP"] for i in range(14)]
    assert len(set(taken)) == 14
    assert "range 10.96.0.0/28 is full" in refused(lambda: api.create(service("more")))
    api.delete("Service", "s3", "default")
    assert api.create(service("more"))["spec"]["clusterIP"] == taken[3]


def test_static_address(api: API, service: Make) -> None:
    made = api.create(service("a", clusterIP="10.96.0.5"))
    assert made["spec"]["clusterIPs"] == ["10.96.0.5"]
    assert made["spec"]["ipFamilies"] == ["IPv4"]
    message = refused(lambda: api.create(service("b", clusterIP="10.96.0.5")))
    why = "failed to allocate IP 10.96.0.5: provided IP is already allocated"
    assert message.endswith(f'spec.clusterIPs: Invalid value: ["10.96.0.5"]: {why}')
    message = refused(lambda: api.create(service("b", clusterIP="10.97.0.1")))
    assert "is not in the valid range. The range of valid IPs is 10.96.0.0/28" in message
    assert "first value must match" in refused(
        lambda: api.create(service("b", clusterIP="10.96.0.6", clusterIPs=["10.96.0.7"]))
    )


def test_failed_and_dry_writes_hold_nothing(api: API, service: Make) -> None:
    bad = service("a", clusterIP="10.96.0.5", ports=[{"port": 0}])
    refused(lambda: api.create(bad))
    api.create(service("a", clusterIP="10.96.0.5"), dry_run=True)
    assert api.create(service("b", clusterIP="10.96.0.5"))


def test_address_stays_for_life(api: API, service: Make) -> None:
    made = api.create(service("a"))
    again = api.replace({**service("a"), "metadata": {"name": "a", "namespace": "default"}})
    assert again["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    message = refused(lambda: api.patch("Service", "a", "default", {"spec": {"clusterIP": "10.96.0.9"}}))
    assert "spec.clusterIPs[0]" in message
    assert "may not change once set" in message


def test_headless(api: API, service: Make) -> None:
    spec = api.create(service("a", clusterIP="None"))["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])


def test_external_name_gives_its_address_back(api: API, service: Make) -> None:
    held = api.create(service("a", type="NodePort"))["spec"]
    patch = {"spec": {"type": "ExternalName", "externalName": "example.com"}}
    spec = api.patch("Service", "a", "default", patch)["spec"]
    assert "clusterIP" not in spec
    assert "nodePort" not in spec["ports"][0]
    other = api.create(service("b", clusterIP=held["clusterIP"], type="NodePort", ports=held["ports"]))
    assert other["spec"]["clusterIP"] == held["clusterIP"]
    back = api.patch("Service", "a", "default", {"spec": {"type": "ClusterIP", "externalName": None}})
    assert back["spec"]["clusterIP"] not in (None, held["clusterIP"])


def test_node_ports(api: API, service: Make) -> None:
    numbers = {
        api.create(service(f"s{i}", type="NodePort"))["spec"]["ports"][0]["nodePort"] for i in range(4)
    }
    assert numbers == {30000, 30001, 30002, 30003}
    assert "range is full" in refused(lambda: api.create(service("more", type="NodePort")))
    message = refused(
        lambda: api.create(service("more", type="NodePort", ports=[{"port": 1, "nodePort": 30001}]))
    )
    assert "spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated" in message
    message = refused(
        lambda: api.create(service("more", type="NodePort", ports=[{"port": 1, "nodePort": 80}]))
    )
    assert "provided port is not in the valid range. The range of valid ports is 30000-30003" in message
    api.patch("Service", "s0", "default", {"spec": {"type": "ClusterIP"}})
    assert api.create(service("more", type="NodePort"))["spec"]["ports"][0]["nodePort"] in numbers


def test_node_port_stays_when_the_manifest_is_applied_again(api: API, service: Make) -> None:
    made = api.create(service("a", type="NodePort"))
    again = api.patch("Service", "a", "default", {"spec": {"ports": [{"port": 80}]}})
    assert again is made


def test_one_service_shares_a_node_port_between_protocols(api: API, service: Make) -> None:
    ports = [
        {"name": "t", "port": 53},
        {"name": "u", "port": 53, "protocol": "UDP"},
        {"name": "v", "port": 54},
    ]
    given = [
        port["nodePort"] for port in api.create(service("a", type="NodePort", ports=ports))["spec"]["ports"]
    ]
    assert given[0] == given[1]
    assert given[2] != given[0]


def test_load_balancer_without_node_ports(api: API, service: Make) -> None:
    spec = api.create(service("a", type="LoadBalancer", allocateLoadBalancerNodePorts=False))["spec"]
    assert "nodePort" not in spec["ports"][0]


def test_health_check_port_of_local_load_balancers(api: API, service: Make) -> None:
    spec = api.create(service("a", type="LoadBalancer", externalTrafficPolicy="Local"))["spec"]
    assert spec["healthCheckNodePort"] not in (None, spec["ports"][0]["nodePort"])
    spec = api.patch("Service", "a", "default", {"spec": {"externalTrafficPolicy": "Cluster"}})["spec"]
    assert "healthCheckNodePort" not in spec


def test_a_health_check_port_may_not_change(api: API, service: Make) -> None:
    api.create(service("a", type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30001))
    assert "cannot change healthCheckNodePort" in refused(
        lambda: api.patch("Service", "a", "default", {"spec": {"healthCheckNodePort": 30002}})
    )


def test_the_external_policy_goes_with_the_way_in_from_outside(api: API, service: Make) -> None:
    api.create(service("a", type="NodePort", externalTrafficPolicy="Local"))
    spec = api.patch("Service", "a", "default", {"spec": {"type": "ClusterIP"}})["spec"]
    assert "externalTrafficPolicy" not in spec
    assert "may only be set for externally-accessible services" in refused(
        lambda: api.patch("Service", "a", "default", {"spec": {"externalTrafficPolicy": "Local"}})
    )


def test_a_load_balancers_class_may_not_be_set_later(api: API, service: Make) -> None:
    api.create(service("a", type="LoadBalancer"))
    assert 'spec.loadBalancerClass: Invalid value: "x.y/z": may not change once set' in refused(
        lambda: api.patch("Service", "a", "default", {"spec": {"loadBalancerClass": "x.y/z"}})
    )


def test_single_family_cluster_refuses_dual_stack(api: API, service: Make) -> None:
    assert "not configured for dual-stack" in refused(
        lambda: api.create(service("a", ipFamilyPolicy="RequireDualStack"))
    )
    assert 'spec.ipFamilies[0]: Invalid value: "IPv6": not configured' in refused(
        lambda: api.create(service("a", ipFamilies=["IPv6"]))
    )
    assert api.create(service("a", ipFamilyPolicy="PreferDualStack"))["spec"]["ipFamilies"] == ["IPv4"]


def test_dual_stack(service: Make) -> None:
    api = API()
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    api.admit_with("Service", ServiceAllocation(("10.96.0.0/16", "fd00:96::/112")))
    spec = api.create(service("a", ipFamilyPolicy="RequireDualStack"))["spec"]
    assert spec["ipFamilies"] == ["IPv4", "IPv6"]
    assert spec["clusterIPs"][1].startswith("fd00:96::")
    spec = api.create(service("b", ipFamilies=["IPv6"]))["spec"]
    assert spec["clusterIP"].startswith("fd00:96::")
    spec = api.create(service("c", clusterIP="fd00:96::7"))["spec"]
    assert (spec["clusterIP"], spec["ipFamilies"]) == ("fd00:96::7", ["IPv6"])
