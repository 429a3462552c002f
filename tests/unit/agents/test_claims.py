"""An address that two Services want is one's alone, and goes to the other when it is free."""

from agents.claims import Claims
from netfns.service_types import Service, ServicePort

NODE = "192.168.50.21"


def service(name: str, cluster_ip: str, *external_ips: str, port: int = 80, node_port: int = 0) -> Service:
    ports = (ServicePort("http", "TCP", port, node_port),)
    return Service("default", name, (cluster_ip,), ports, external_ips=external_ips)


OLD = service("old", "10.96.0.20", "192.0.2.7", "192.0.2.8")
YOUNG = service("young", "10.96.0.21", "192.0.2.7")
OLD_KEY, YOUNG_KEY = ("default", "old"), ("default", "young")


def test_the_older_service_has_it_and_the_younger_one_is_told() -> None:
    found, refused = Claims().settle({YOUNG_KEY: ("2", YOUNG), OLD_KEY: ("1", OLD)})
    assert found[OLD_KEY] == OLD
    assert found[YOUNG_KEY].external_ips == ()
    assert found[YOUNG_KEY].cluster_ips == YOUNG.cluster_ips, "the rest of the Service works"
    assert refused == [
        (YOUNG_KEY, "192.0.2.7: port 80/TCP is default/old's: give one of them another address or port")
    ]


def test_it_falls_to_the_other_when_it_is_free() -> None:
    claims = Claims()
    claims.settle({YOUNG_KEY: ("2", YOUNG), OLD_KEY: ("1", OLD)})
    found, refused = claims.settle({OLD_KEY: ("1", None)})
    assert found == {YOUNG_KEY: YOUNG}
    assert refused == []


def test_another_port_of_the_same_address_is_another_place() -> None:
    other = service("young", "10.96.0.21", "192.0.2.7", port=81)
    found, refused = Claims().settle({YOUNG_KEY: ("2", other), OLD_KEY: ("1", OLD)})
    assert (found[YOUNG_KEY], refused) == (other, [])


def test_node_ports_and_cluster_addresses_come_first() -> None:
    claims = Claims((NODE,))
    given = service("given", "10.96.0.30", node_port=30080)
    wants = service("wants", "10.96.0.31", NODE, "10.96.0.30", port=30080)
    found, _ = claims.settle({("default", "given"): ("9", given), ("default", "wants"): ("1", wants)})
    assert found["default", "given"] == given
    assert found["default", "wants"].external_ips == ()
    freed, _ = claims.settle({("default", "given"): ("9", None)})
    assert freed["default", "wants"] == wants


def test_services_without_such_addresses_cost_nothing_of_the_others() -> None:
    claims = Claims()
    plain = service("plain", "10.96.0.40")
    assert claims.settle({("default", "plain"): ("1", plain)}) == ({("default", "plain"): plain}, [])
