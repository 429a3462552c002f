"""Objects as the API hands them out, and what the network functions are told."""

from typing import Any

from agents import desired
from netfns.balancer_types import Server
from netfns.dns import NamedEndpoint, NamedPod, NamedPort
from netfns.overlay import Overlay, Vtep

Obj = dict[str, Any]


def node(name: str, address: str, *cidrs: str) -> Obj:
    status = {
        "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]
    }
    return {"metadata": {"name": name}, "spec": {"podCIDRs": list(cidrs)}, "status": status}


def service(name: str = "web", ports: list[Obj] | None = None, **spec: Any) -> Obj:
    ports = (
        ports if ports is not None else [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]
    )
    spec = {
        "type": "ClusterIP",
        "clusterIP": "10.96.0.20",
        "clusterIPs": ["10.96.0.20"],
        "ports": ports,
        **spec,
    }
    return {"metadata": {"namespace": "default", "name": name}, "spec": spec, "status": {"loadBalancer": {}}}


def endpoint(address: str, **conditions: bool) -> Obj:
    return {"addresses": [address], "conditions": conditions, "nodeName": "worker1"}


def endpoint_slice(*endpoints: Obj, port: int = 8080, name: str = "http", protocol: str = "TCP") -> Obj:
    return {
        "metadata": {"namespace": "default", "name": "web-1", "labels": {desired.SERVICE_NAME: "web"}},
        "ports": [{"name": name, "protocol": protocol, "port": port}],
        "endpoints": list(endpoints),
    }


HERE = desired.Place("worker1")
HTTP = {"name": "http", "protocol": "TCP", "port": 80}


def test_a_node_is_a_tunnel_end_once_it_has_address_and_range() -> None:
    whole, no_range, no_address = (
        node("worker1", "192.168.50.21", "10.244.1.0/24"),
        node("worker2", "192.168.50.22"),
        {"metadata": {"name": "worker3"}, "spec": {"podCIDR": "10.244.3.0/24"}},
    )
    peer = node("worker4", "192.168.50.24", "10.244.4.0/24")
    found = desired.overlay("worker1", [whole, no_range, no_address, peer])
    ends = [
        Vtep("worker1", "192.168.50.21", ("10.244.1.0/24",)),
        Vtep("worker4", "192.168.50.24", ("10.244.4.0/24",)),
    ]
    assert found == Overlay(ends[0], (ends[1],))
    assert desired.overlay("worker2", [whole, no_range]) is None


def test_all_nodes_are_inside() -> None:
    nodes = [node("worker1", "192.168.50.21"), node("worker2", "192.168.50.22")]
    assert desired.masquerade(["10.244.0.0/16"], nodes).node_addresses == ("192.168.50.21", "192.168.50.22")


def test_a_slice_of_names_has_no_named_endpoints() -> None:
    names = {**endpoint_slice(endpoint("db.example.org")), "addressType": "FQDN"}
    assert desired.named_service(service(clusterIP="None", clusterIPs=["None"]), [names]).endpoints == ()


def test_services_without_an_address_have_no_nat() -> None:
    assert desired.service(service(clusterIP="None", clusterIPs=["None"]), [], HERE) is None
    external = service(type="ExternalName", externalName="www.outside.example", clusterIP="", clusterIPs=[])
    assert desired.service(external, [], HERE) is None


def test_node_ports_are_taken_over() -> None:
    found = desired.service(service(type="NodePort", ports=[{**HTTP, "nodePort": 30080}]), [], HERE)
    assert found is not None
    assert found.ports[0].node_port == 30080


def test_all_that_a_service_says_is_taken_over() -> None:
    obj = service(
        type="LoadBalancer",
        externalIPs=["192.0.2.7"],
        loadBalancerSourceRanges=[" 203.0.113.0/24"],
        sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}},
        internalTrafficPolicy="Local",
        externalTrafficPolicy="Local",
        healthCheckNodePort=30100,
    )
    vip, proxy = {"ip": "192.0.2.8", "ipMode": "VIP"}, {"ip": "192.0.2.9", "ipMode": "Proxy"}
    obj["status"]["loadBalancer"] = {"ingress": [vip, proxy, {"ip": "192.0.2.10"}, {"hostname": "lb.test"}]}
    found = desired.service(obj, [], HERE)
    assert found is not None
    assert found.external_ips == ("192.0.2.7",)
    assert found.load_balancer_ips == ("192.0.2.8", "192.0.2.10"), "a proxy must see the traffic itself"
    assert found.load_balancer_source_ranges == ("203.0.113.0/24",)
    assert found.affinity_timeout == 60
    assert (found.internal_traffic_policy, found.external_traffic_policy) == ("Local", "Local")
    assert found.health_check_node_port == 30100


def test_a_service_of_another_proxy_is_left_to_it() -> None:
    obj = service()
    obj["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": "other"}
    assert desired.service(obj, [], HERE) is None


def balanced(name: str, created: str, address: str = "", **spec: Any) -> Obj:
    ports = [{**HTTP, "nodePort": 30080}, {"name": "dns", "protocol": "UDP", "port": 53, "nodePort": 30053}]
    obj = service(name, ports, type="LoadBalancer", **spec)
    obj["metadata"]["creationTimestamp"] = created
    obj["status"]["loadBalancer"] = {"ingress": [{"ip": address}]} if address else {}
    return obj


def test_a_service_keeps_its_address_and_a_new_one_gets_the_first_that_is_free() -> None:
    services = [balanced("a", "2"), balanced("b", "1"), balanced("c", "0", "192.168.50.200")]
    pool = ["192.168.50.200", "192.168.50.201"]
    given = desired.assign(services, pool)
    assert given == {("default", "c"): ("192.168.50.200",), ("default", "b"): ("192.168.50.201",)}


def test_an_address_that_another_class_has_is_not_free() -> None:
    services = [
        balanced("a", "0", loadBalancerClass="minipod.dev/python"),
        balanced("b", "1"),
        balanced("c", "2", loadBalancerClass="minipod.dev/python", loadBalancerIP="192.168.50.200"),
    ]
    given = desired.assign(services, ["192.168.50.200", "192.168.50.201"], held={"192.168.50.200": ""})
    assert given == {("default", "a"): ("192.168.50.201",), ("default", "b"): ("192.168.50.200",)}


def test_an_address_that_two_claim_goes_to_one() -> None:
    services = [balanced("a", "0", "192.168.50.200"), balanced("b", "1", "192.168.50.200")]
    given = desired.assign(services, ["192.168.50.200", "192.168.50.201"])
    assert sorted(given.values()) == [("192.168.50.200",), ("192.168.50.201",)]


def test_a_service_gets_the_address_that_it_asks_for_or_none() -> None:
    services = [
        balanced("a", "0"),
        balanced("b", "1", loadBalancerIP="192.168.50.200"),
        balanced("c", "2", loadBalancerIP="192.168.50.200"),
        balanced("d", "3", loadBalancerIP="10.0.0.1"),
    ]
    given = desired.assign(services, ["192.168.50.200", "192.168.50.201"])
    assert given == {("default", "a"): ("192.168.50.201",), ("default", "b"): ("192.168.50.200",)}


BOTH: Obj = {"ipFamilies": ["IPv4", "IPv6"]}


def test_a_dual_stack_service_gets_an_address_of_each_family_in_its_order() -> None:
    services = [
        balanced("a", "0", **BOTH),
        balanced("b", "1", ipFamilies=["IPv6"]),
        balanced("c", "2", ipFamilies=["IPv6", "IPv4"], loadBalancerIP="fd00:50::200"),
        balanced("d", "3", ipFamilies=["IPv6"], loadBalancerIP="192.168.50.202"),
    ]
    pool = [
        "192.168.50.200",
        "192.168.50.201",
        "192.168.50.202",
        "fd00:50::200",
        "fd00:50::201",
        "fd00:50::202",
    ]
    given = desired.assign(services, pool)
    assert given == {
        ("default", "a"): ("192.168.50.200", "fd00:50::201"),
        ("default", "b"): ("fd00:50::202",),
        ("default", "c"): ("fd00:50::200", "192.168.50.201"),
    }


def test_a_service_that_becomes_dual_stack_keeps_its_address_and_gets_another() -> None:
    pool = ["192.168.50.200", "192.168.50.201", "fd00:50::200"]
    given = desired.assign([balanced("a", "0", "192.168.50.201", **BOTH)], pool)
    assert given == {("default", "a"): ("192.168.50.201", "fd00:50::200")}


def test_a_family_whose_pool_is_used_up_leaves_a_service_without_any() -> None:
    pool = ["192.168.50.200", "192.168.50.201", "fd00:50::200"]
    given = desired.assign([balanced("a", "0", **BOTH), balanced("b", "1", **BOTH)], pool)
    assert given == {("default", "a"): ("192.168.50.200", "fd00:50::200")}


def test_a_load_balancer_class_is_someone_elses() -> None:
    assert desired.is_balanced(balanced("a", "0"))
    assert desired.is_balanced(balanced("a", "0", loadBalancerClass="minipod.dev/python"))
    assert not desired.is_balanced(balanced("a", "0", loadBalancerClass="example.com/other"))
    assert not desired.is_balanced(service())


def test_frontends_are_tcp_ports_with_all_nodes_behind_them() -> None:
    excluded = node("control-plane", "192.168.50.10")
    excluded["metadata"]["labels"] = {desired.EXCLUDED: ""}
    given = {("default", "a"): ("192.168.50.200",)}
    (found,) = desired.frontends([balanced("a", "0")], given, [node("worker1", "192.168.50.21"), excluded])
    assert (found.owner, found.address, found.port) == ("default/a:http", "192.168.50.200", 80)
    assert found.servers == (Server("worker1", "192.168.50.21", 30080),)


def test_a_frontend_knows_who_may_come_and_whom_to_ask() -> None:
    obj = balanced(
        "a", "0", loadBalancerSourceRanges=["203.0.113.0/24", "2001:db8::/32"], healthCheckNodePort=30100
    )
    given = {("default", "a"): ("192.168.50.200",)}
    (found,) = desired.frontends([obj], given, [node("worker1", "192.168.50.21")])
    assert (found.source_ranges, found.health_check_port) == (("203.0.113.0/24",), 30100)


def test_behind_a_frontend_are_the_nodes_addresses_of_its_family() -> None:
    given = {("default", "a"): ("192.168.50.200", "fd00:50::200")}
    nodes = [node("worker1", "192.168.50.21"), node("worker2", "192.168.50.22")]
    nodes[0]["status"]["addresses"].append({"type": "InternalIP", "address": "fd00:50::21"})
    ipv4, ipv6 = desired.frontends([balanced("a", "0")], given, nodes)
    assert [server.address for server in ipv4.servers] == ["192.168.50.21", "192.168.50.22"]
    assert [server.address for server in ipv6.servers] == ["fd00:50::21"]


def test_a_headless_service_has_the_names_of_its_ready_endpoints() -> None:
    ready = {**endpoint("10.244.1.2"), "hostname": "db-0"}
    slices = [endpoint_slice(ready, endpoint("10.244.1.3", ready=False))]
    found = desired.named_service(service(clusterIP="None", clusterIPs=["None"]), slices)
    assert found.cluster_ips == ()
    assert found.endpoints == (NamedEndpoint(("10.244.1.2",), "db-0", (NamedPort("http", "TCP", 8080),)),)


def test_a_service_with_an_address_has_the_names_of_endpoints_with_a_host_name() -> None:
    named = {**endpoint("10.244.1.3"), "hostname": "web-0"}
    found = desired.named_service(service(), [endpoint_slice(endpoint("10.244.1.2"), named)])
    assert [each.hostname for each in found.endpoints] == ["web-0"]


def test_a_port_without_a_number_has_no_name() -> None:
    every = endpoint_slice(endpoint("10.244.1.2"))
    every["ports"] = [{"name": "any", "port": None}]
    (found,) = desired.named_service(service(clusterIP="None", clusterIPs=["None"]), [every]).endpoints
    assert found.ports == ()


def test_pods_have_names_while_they_have_addresses() -> None:
    metadata = {"namespace": "default", "name": "web-1"}
    running: Obj = {"metadata": metadata, "status": {"phase": "Running", "podIPs": [{"ip": "10.244.1.2"}]}}
    assert desired.named_pod(running) == NamedPod("default", "web-1", ("10.244.1.2",))
    assert desired.named_pod({"metadata": metadata, "status": {"phase": "Pending"}}) is None
    assert desired.named_pod({**running, "status": {**running["status"], "phase": "Succeeded"}}) is None
