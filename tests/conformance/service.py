"""What a Service does with a packet: one row a case, run twice, through `evaluate` and through the kernel.

`given` are the services; `sender` a machine of tests/kernel/cluster.py; `to` an address and port. `want`
is refused, dropped, direct (the packet is not the Service's business) or the pods that may answer;
`source` is whom the pod sees: the sender's own address (kept) or a node's (masqueraded).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netfns.service_types import Endpoint, Service, ServicePort

WEB, WEB6 = "10.96.0.20", "fd00:96::20"
A1, A2, B1 = "10.244.1.2", "10.244.1.3", "10.244.2.2"
A1_6, B1_6 = "fd00:244:0:1::2", "fd00:244:0:2::2"
PLACES = {A1: "worker1", A2: "worker1", B1: "worker2", A1_6: "worker1", B1_6: "worker2"}
VIPS = 'Kubernetes, "Virtual IPs and Service Proxies"'
SERVICE = 'Kubernetes, "Service"'
KUBE_PROXY = "kube-proxy, pkg/proxy/nftables"


@dataclass(frozen=True)
class Row:
    """One case. `names` are the pods that may answer and `kept` tells whether each sees the sender's own
    address.
    """

    name: str
    given: tuple[Service, ...]
    sender: str
    to: tuple[str, int]
    why: str
    citation: str
    protocol: str = "TCP"
    want: str = "answered"
    kept: Mapping[str, bool] = field(default_factory=dict)


def service(*ports: ServicePort, cluster_ips: tuple[str, ...] = (WEB,), name: str = "web") -> Service:
    return Service("default", name, cluster_ips, ports)


def http(*endpoints: str, protocol: str = "TCP", port: int = 80, node_port: int = 0) -> ServicePort:
    """A port `http`, whose endpoints listen on 8080."""
    there = tuple(Endpoint(address, 8080, PLACES[address]) for address in endpoints)
    return ServicePort("http", protocol, port, node_port, there)


TWO = (service(http(A1, B1)),)
NODE_PORT = (service(http(A1, B1, node_port=30080)),)
NO_ENDPOINTS = (service(http()),)
DUAL = (service(http(A1, B1, A1_6, B1_6, node_port=30080), cluster_ips=(WEB, WEB6)),)

ROWS = (
    Row(
        "spread",
        TWO,
        "a2",
        (WEB, 80),
        "endpoints share the connections",
        VIPS,
        kept={"a1": True, "b1": True},
    ),
    Row(
        "one endpoint here",
        (service(http(A1)),),
        "a2",
        (WEB, 80),
        "same bridge",
        VIPS,
        kept={"a1": True},
    ),
    Row(
        "one endpoint there",
        (service(http(B1)),),
        "a2",
        (WEB, 80),
        "other node",
        VIPS,
        kept={"b1": True},
    ),
    Row(
        "second service",
        (service(http(A1)), service(http(B1), name="api", cluster_ips=("10.96.0.21",))),
        "a2",
        ("10.96.0.21", 80),
        "each address has its own endpoints",
        VIPS,
        kept={"b1": True},
    ),
    Row(
        "second port",
        (service(http(A1), ServicePort("admin", "TCP", 81, 0, (Endpoint(B1, 8080, "worker2"),))),),
        "a2",
        (WEB, 81),
        "each port has its own endpoints",
        f"{SERVICE}: Multi-port Services",
        kept={"b1": True},
    ),
    Row(
        "same port over UDP",
        (service(http(A1), http(B1, protocol="UDP")),),
        "a2",
        (WEB, 80),
        "the protocol is part of the key",
        f"{SERVICE}: Multi-port Services",
        protocol="UDP",
        kept={"b1": True},
    ),
    Row(
        "no endpoints",
        NO_ENDPOINTS,
        "a2",
        (WEB, 80),
        "refuse at once",
        KUBE_PROXY,
        want="refused",
    ),
    Row(
        "no endpoints, UDP",
        (service(http(protocol="UDP")),),
        "a2",
        (WEB, 80),
        "refuse at once",
        KUBE_PROXY,
        protocol="UDP",
        want="refused",
    ),
    Row(
        "no endpoints, from the node",
        NO_ENDPOINTS,
        "worker1",
        (WEB, 80),
        "as for pods",
        KUBE_PROXY,
        want="refused",
    ),
    Row(
        "no such port",
        TWO,
        "a2",
        (WEB, 81),
        "a cluster address has no other ports",
        KUBE_PROXY,
        want="refused",
    ),
    Row(
        "wrong protocol",
        TWO,
        "a2",
        (WEB, 80),
        "80/TCP is not 80/UDP",
        KUBE_PROXY,
        protocol="UDP",
        want="refused",
    ),
    Row(
        "no such service",
        TWO,
        "a2",
        ("10.96.7.7", 80),
        "nobody has this address",
        KUBE_PROXY,
        want="dropped",
    ),
    Row(
        "hairpin",
        (service(http(A1)),),
        "a1",
        (WEB, 80),
        "it must not answer itself",
        VIPS,
        kept={"a1": False},
    ),
    Row(
        "hairpin or not",
        TWO,
        "a1",
        (WEB, 80),
        "only the choice of itself is masqueraded",
        VIPS,
        kept={"a1": False, "b1": True},
    ),
    Row(
        "from the node",
        TWO,
        "worker1",
        (WEB, 80),
        "the node is no pod: masqueraded",
        f"{KUBE_PROXY}: off-cluster source",
        kept={"a1": False, "b1": False},
    ),
    Row(
        "node port from outside",
        NODE_PORT,
        "outside",
        ("192.168.50.21", 30080),
        "the answer must pass the node again",
        f"{SERVICE}: type NodePort",
        kept={"a1": False, "b1": False},
    ),
    Row(
        "node port without an endpoint here",
        (service(http(A1, node_port=30080)),),
        "outside",
        ("192.168.50.22", 30080),
        "every node answers",
        f"{SERVICE}: type NodePort",
        kept={"a1": False},
    ),
    Row(
        "node port from a pod",
        NODE_PORT,
        "a2",
        ("192.168.50.21", 30080),
        "masqueraded whoever comes",
        KUBE_PROXY,
        kept={"a1": False, "b1": False},
    ),
    Row(
        "node port from the node itself",
        NODE_PORT,
        "worker1",
        ("192.168.50.21", 30080),
        "the output hook does it",
        KUBE_PROXY,
        kept={"a1": False, "b1": False},
    ),
    Row(
        "node port without endpoints",
        (service(http(node_port=30080)),),
        "outside",
        ("192.168.50.21", 30080),
        "refuse at once",
        KUBE_PROXY,
        want="refused",
    ),
    Row(
        "cluster port at a node",
        NODE_PORT,
        "outside",
        ("192.168.50.21", 80),
        "80 is only the cluster address's",
        SERVICE,
        want="direct",
    ),
    Row(
        "a pod itself",
        TWO,
        "a2",
        (B1, 8080),
        "no service is asked for",
        VIPS,
        want="direct",
        kept={"b1": True},
    ),
    Row("IPv6", DUAL, "a2", (WEB6, 80), "both families alike", VIPS, kept={"a1": True, "b1": True}),
    Row(
        "IPv6 hairpin",
        (service(http(A1_6), cluster_ips=(WEB6,)),),
        "a1",
        (WEB6, 80),
        "as IPv4",
        VIPS,
        kept={"a1": False},
    ),
    Row(
        "IPv6 without endpoints of that family",
        (service(http(A1), cluster_ips=(WEB, WEB6)),),
        "a2",
        (WEB6, 80),
        "a family's frontend has that family's endpoints",
        "KEP-563 dual stack",
        want="refused",
    ),
    Row(
        "IPv6 node port",
        DUAL,
        "outside",
        ("fd00:50::21", 30080),
        "both families alike",
        SERVICE,
        kept={"a1": False, "b1": False},
    ),
)
