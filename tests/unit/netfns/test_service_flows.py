"""Which flows a change makes wrong: those of UDP and SCTP to endpoints that are gone, and no others."""

from dataclasses import replace

from netfns.service_flows import Flows, stale
from netfns.service_types import Endpoint, Service, ServicePort, ServiceProxy

FRAME = ServiceProxy("worker1", ("192.168.50.21",), ("10.244.0.0/16",), ("10.96.0.0/16",))
A, B = Endpoint("10.244.1.3", 5353, "worker1"), Endpoint("10.244.2.3", 5353, "worker2")
DNS = ("10.96.0.10", "UDP", 53)


def dns(
    *endpoints: Endpoint, protocol: str = "UDP", node_port: int = 0, ending: tuple[Endpoint, ...] = ()
) -> ServiceProxy:
    port = ServicePort("dns", protocol, 53, node_port, endpoints, ending_endpoints=ending)
    return replace(FRAME, services=(Service("kube-system", "kube-dns", ("10.96.0.10",), (port,)),))


def test_flows_to_an_endpoint_that_is_gone() -> None:
    assert stale(dns(A, B), dns(B)) == [Flows(*DNS, "10.244.1.3", 5353)]
    assert stale(dns(A, B), dns()) == [Flows(*DNS, A.address, 5353), Flows(*DNS, B.address, 5353)]


def test_flows_to_one_that_ends_but_serves_go_on_until_it_is_gone() -> None:
    assert stale(dns(A, B), dns(B, ending=(A,))) == []
    assert stale(dns(B, ending=(A,)), dns(B)) == [Flows(*DNS, "10.244.1.3", 5353)]


def test_flows_that_began_before_there_were_endpoints() -> None:
    assert stale(dns(), dns(A)) == [Flows(*DNS)]
    assert stale(FRAME, dns(A)) == [Flows(*DNS)]
    assert stale(dns(A), dns(A, B)) == []


def test_all_flows_of_a_frontend_that_goes() -> None:
    assert stale(dns(A, node_port=30053), dns(A)) == [Flows("192.168.50.21", "UDP", 30053)]
    assert stale(dns(A), FRAME) == [Flows(*DNS)]


def test_tcp_notices_by_itself_and_sctp_does_not() -> None:
    assert stale(dns(A, protocol="TCP"), dns(protocol="TCP")) == []
    assert [one.protocol for one in stale(dns(A, protocol="SCTP"), dns(protocol="SCTP"))] == ["SCTP"]


def test_the_command_that_forgets() -> None:
    assert " ".join(Flows(*DNS, "10.244.1.3", 5353).argv) == (
        "conntrack -D -f ipv4 -p udp --orig-dst 10.96.0.10 --orig-port-dst 53 "
        "--reply-src 10.244.1.3 --reply-port-src 5353"
    )
    assert Flows("fd00:96::a", "UDP", 53).argv[3] == "ipv6"
