"""What a Service does with a packet: one row a case, run through `evaluate` and, for every proxy mode,
through the kernel.

`given` are the services; `sender` a machine of tests/kernel/cluster.py; `to` an address and port. `want`
is refused, dropped, direct (the packet is not the Service's business) or the pods that may answer;
`source` is whom the pod sees: the sender's own address (kept) or a node's (masqueraded).

The node that decides is the one whose own address is asked for, else the sender's own; for the machine
`outside` it is worker1 when the address is no machine's. Endpoints of policy Local are written down for every
node: a node is given its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from netfns.proxy_mode import SOURCE_LOST
from netfns.service_types import LOCAL, Endpoint, Service, ServicePort

WEB, WEB6 = "10.96.0.20", "fd00:96::20"
WORKER1, WORKER2, WORKER1_6 = "192.168.50.21", "192.168.50.22", "fd00:50::21"
EXTERNAL, EXTERNAL6 = "192.0.2.7", "2001:db8:2::7"
A1, A2, B1 = "10.244.1.2", "10.244.1.3", "10.244.2.2"
A1_6, B1_6 = "fd00:244:0:1::2", "fd00:244:0:2::2"
PLACES = {A1: "worker1", A2: "worker1", B1: "worker2", A1_6: "worker1", B1_6: "worker2"}
VIPS = 'Kubernetes, "Virtual IPs and Service Proxies"'
SERVICE = 'Kubernetes, "Service"'
SOURCE_IP = 'Kubernetes, "Using Source IP"'
KUBE_PROXY = "kube-proxy, pkg/proxy/nftables"
INTERNAL_POLICY = 'Kubernetes, "Service Internal Traffic Policy"; KEP-2086'
# Rows that a proxy mode cannot do: mode -> row -> why.
_ACCEPTED = "the proxy accepts before it can look who comes: refused, not dropped"
NO_RULE = "kube-proxy's iptables mode has rules for what Services have, and none for what they do not have"
_NO_SOCKETS = (
    "the proxy has sockets for TCP and UDP only: such a Service is refused, as one without endpoints"
)
UNABLE: dict[str, dict[str, str]] = {
    "iptables": {
        "no such port": NO_RULE,
        "wrong protocol": NO_RULE,
        "no such service": NO_RULE,
    },
    "userspace": {
        **dict.fromkeys(("SCTP", "SCTP node port", "SCTP hairpin", "IPv6 SCTP"), _NO_SOCKETS),
        "balancer's address, sender not in the ranges": _ACCEPTED,
        "balancer's address, pod not in the ranges": _ACCEPTED,
    },
}


@dataclass(frozen=True)
class Row:
    """One case. `names` are the pods that may answer and `kept` tells whether each sees the sender's own
    address. Of a Service with affinity, one of them answers every time.
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

    def kept_by(self, mode: str) -> Mapping[str, bool]:
        """`kept`, as a proxy mode has it."""
        return (
            dict.fromkeys(self.kept, False) if mode in SOURCE_LOST and self.want == "answered" else self.kept
        )

    @property
    def sticky(self) -> bool:
        """Whether a client keeps its endpoint."""
        return any(service.affinity_timeout for service in self.given)


def service(
    *ports: ServicePort, cluster_ips: tuple[str, ...] = (WEB,), name: str = "web", **said: Any
) -> Service:
    return Service("default", name, cluster_ips, ports, **said)


def http(*endpoints: str, protocol: str = "TCP", port: int = 80, node_port: int = 0) -> ServicePort:
    """A port `http`, whose endpoints listen on 8080."""
    there = tuple(Endpoint(address, 8080, PLACES[address]) for address in endpoints)
    return ServicePort("http", protocol, port, node_port, there, there)


def on_node(service: Service, node: str) -> Service:
    """The Service as one node knows it: with the local endpoints that are its own."""
    if LOCAL not in (service.internal_traffic_policy, service.external_traffic_policy):
        ports = tuple(replace(port, local_endpoints=()) for port in service.ports)
    else:
        ports = tuple(
            replace(port, local_endpoints=tuple(e for e in port.local_endpoints if e.node == node))
            for port in service.ports
        )
    return replace(service, ports=ports)


TWO = (service(http(A1, B1)),)
NODE_PORT = (service(http(A1, B1, node_port=30080)),)
NO_ENDPOINTS = (service(http()),)
DUAL = (service(http(A1, B1, A1_6, B1_6, node_port=30080), cluster_ips=(WEB, WEB6)),)
EXTERNAL_IP = (service(http(A1, B1), external_ips=(EXTERNAL,)),)
BALANCED = (service(http(A1, B1), load_balancer_ips=(EXTERNAL,)),)


def local(*endpoints: str, **said: Any) -> tuple[Service, ...]:
    """A Service with node port 30080, an external address, and externalTrafficPolicy Local."""
    port = http(*endpoints, node_port=30080)
    return (service(port, external_ips=(EXTERNAL,), external_traffic_policy=LOCAL, **said),)


def internal(*endpoints: str) -> tuple[Service, ...]:
    """A Service with internalTrafficPolicy Local, and a node port with policy Cluster."""
    return (service(http(*endpoints, node_port=30080), internal_traffic_policy=LOCAL),)


def ranges(*allowed: str) -> tuple[Service, ...]:
    """A Service with a balancer's address for some senders only."""
    return (service(http(A1, B1), load_balancer_ips=(EXTERNAL,), load_balancer_source_ranges=tuple(allowed)),)


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
    Row(
        "named target ports differ by pod",
        (
            service(
                ServicePort(
                    "http", "TCP", 80, 0, (Endpoint(A1, 8080, "worker1"), Endpoint(B1, 8081, "worker2"))
                )
            ),
        ),
        "a2",
        (WEB, 80),
        "each pod has its own number",
        SERVICE,
        kept={"a1": True, "b1": True},
    ),
    Row(
        "same port on two protocols",
        (service(http(A1), http(B1, protocol="UDP")),),
        "a2",
        (WEB, 80),
        "TCP beside UDP",
        SERVICE,
        kept={"a1": True},
    ),
    Row(
        "cluster address from outside",
        TWO,
        "outside",
        (WEB, 80),
        "the answer must pass this node again",
        f"{KUBE_PROXY}: off-cluster source",
        kept={"a1": False, "b1": False},
    ),
    Row(
        "external address from outside",
        EXTERNAL_IP,
        "outside",
        (EXTERNAL, 80),
        "as a node port",
        f"{SERVICE}: External IPs",
        kept={"a1": False, "b1": False},
    ),
    Row(
        "external address from a pod",
        EXTERNAL_IP,
        "a2",
        (EXTERNAL, 80),
        "masqueraded whoever comes",
        KUBE_PROXY,
        kept={"a1": False, "b1": False},
    ),
    Row(
        "external address from the node itself",
        EXTERNAL_IP,
        "worker1",
        (EXTERNAL, 80),
        "masqueraded whoever comes",
        KUBE_PROXY,
        kept={"a1": False, "b1": False},
    ),
    Row(
        "external address without endpoints",
        (service(http(), external_ips=(EXTERNAL,)),),
        "outside",
        (EXTERNAL, 80),
        "refuse at once",
        KUBE_PROXY,
        want="refused",
    ),
    Row(
        "a node's own address as external one",
        (service(http(B1), external_ips=(WORKER1,)),),
        "outside",
        (WORKER1, 80),
        "any address that reaches the node will do",
        f"{SERVICE}: External IPs",
        kept={"b1": False},
    ),
    Row(
        "IPv6 external address",
        (service(http(A1_6, B1_6), cluster_ips=(WEB6,), external_ips=(EXTERNAL6,)),),
        "outside",
        (EXTERNAL6, 80),
        "both families alike",
        SERVICE,
        kept={"a1": False, "b1": False},
    ),
    Row(
        "balancer's address from outside",
        BALANCED,
        "outside",
        (EXTERNAL, 80),
        "the node answers for an address of mode VIP",
        KUBE_PROXY,
        kept={"a1": False, "b1": False},
    ),
    Row(
        "balancer's address, sender in the ranges",
        ranges("203.0.113.0/24"),
        "outside",
        (EXTERNAL, 80),
        "loadBalancerSourceRanges let it in",
        f"{SERVICE}: type LoadBalancer",
        kept={"a1": False, "b1": False},
    ),
    Row(
        "balancer's address, sender not in the ranges",
        ranges("198.51.100.0/24", "203.0.113.11/32"),
        "outside",
        (EXTERNAL, 80),
        "loadBalancerSourceRanges keep it out",
        f"{KUBE_PROXY}: firewall-ips",
        want="dropped",
    ),
    Row(
        "balancer's address, pod not in the ranges",
        ranges("203.0.113.0/24"),
        "a2",
        (EXTERNAL, 80),
        "pods are no exception",
        f"{KUBE_PROXY}: firewall-ips",
        want="dropped",
    ),
    Row(
        "balancer's address, node in the ranges",
        ranges("192.168.50.0/24"),
        "worker1",
        (EXTERNAL, 80),
        "a node that is let in",
        f"{KUBE_PROXY}: firewall-ips",
        kept={"a1": False, "b1": False},
    ),
    Row(
        "ranges do not bind the cluster address",
        ranges("198.51.100.0/24"),
        "a2",
        (WEB, 80),
        "they are about the balancer's address alone",
        f"{SERVICE}: type LoadBalancer",
        kept={"a1": True, "b1": True},
    ),
    Row(
        "Local node port, endpoint here",
        local(A1, B1),
        "outside",
        (WORKER1, 30080),
        "this node's endpoint, and it sees the client",
        f"{SOURCE_IP}: type NodePort",
        kept={"a1": True},
    ),
    Row(
        "Local node port, endpoint only elsewhere",
        local(B1),
        "outside",
        (WORKER1, 30080),
        "a balancer is to ask another node",
        f"{SOURCE_IP}: type NodePort",
        want="dropped",
    ),
    Row(
        "Local node port, no endpoint anywhere",
        local(),
        "outside",
        (WORKER1, 30080),
        "refuse at once",
        KUBE_PROXY,
        want="refused",
    ),
    Row(
        "Local node port from a pod",
        local(A1, B1),
        "a2",
        (WORKER1, 30080),
        "it never left the cluster: as if Cluster, and its source is kept",
        f"{KUBE_PROXY}: short-circuit pod traffic",
        kept={"a1": True, "b1": True},
    ),
    Row(
        "Local node port from a pod, endpoint only elsewhere",
        local(B1),
        "a2",
        (WORKER1, 30080),
        "as if Cluster",
        f"{KUBE_PROXY}: short-circuit pod traffic",
        kept={"b1": True},
    ),
    Row(
        "Local node port from the node itself",
        local(A1, B1),
        "worker1",
        (WORKER1, 30080),
        "as if Cluster",
        f"{KUBE_PROXY}: short-circuit local traffic",
        kept={"a1": False, "b1": False},
    ),
    Row(
        "Local node port, hairpin",
        local(A1),
        "a1",
        (WORKER1, 30080),
        "it must not answer itself",
        VIPS,
        kept={"a1": False},
    ),
    Row(
        "Local external address from outside",
        local(A1, B1),
        "outside",
        (EXTERNAL, 80),
        "the policy is for every external way in",
        KUBE_PROXY,
        kept={"a1": True},
    ),
    Row(
        "Local external address, endpoint only elsewhere",
        local(B1),
        "outside",
        (EXTERNAL, 80),
        "as a node port",
        KUBE_PROXY,
        want="dropped",
    ),
    Row(
        "external policy does not bind the cluster address",
        local(B1),
        "a2",
        (WEB, 80),
        "internal policy Cluster",
        f"{VIPS}: Traffic policies",
        kept={"b1": True},
    ),
    Row(
        "internal Local, endpoint here",
        internal(A1, B1),
        "a2",
        (WEB, 80),
        "only this node's",
        INTERNAL_POLICY,
        kept={"a1": True},
    ),
    Row(
        "internal Local, endpoint only elsewhere",
        internal(B1),
        "a2",
        (WEB, 80),
        "as if there were none, and dropped as kube-proxy drops",
        INTERNAL_POLICY,
        want="dropped",
    ),
    Row(
        "internal Local, no endpoint anywhere",
        internal(),
        "a2",
        (WEB, 80),
        "refuse at once",
        INTERNAL_POLICY,
        want="refused",
    ),
    Row(
        "internal Local from the node",
        internal(A1, B1),
        "worker1",
        (WEB, 80),
        "a process of the node is internal too",
        INTERNAL_POLICY,
        kept={"a1": False},
    ),
    Row(
        "internal policy does not bind the node port",
        internal(B1),
        "outside",
        (WORKER1, 30080),
        "external policy Cluster",
        INTERNAL_POLICY,
        kept={"b1": False},
    ),
    Row(
        "IPv6 Local node port",
        (service(http(A1_6, B1_6, node_port=30080), cluster_ips=(WEB6,), external_traffic_policy=LOCAL),),
        "outside",
        (WORKER1_6, 30080),
        "both families alike",
        SOURCE_IP,
        kept={"a1": True},
    ),
    Row(
        "SCTP",
        (service(http(A1, B1, protocol="SCTP")),),
        "a2",
        (WEB, 80),
        "for every protocol that a port may have",
        f"{SERVICE}: Supported protocols",
        protocol="SCTP",
        kept={"a1": True, "b1": True},
    ),
    Row(
        "SCTP node port",
        (service(http(A1, B1, protocol="SCTP", node_port=30080)),),
        "outside",
        (WORKER1, 30080),
        "masqueraded as the others are",
        f"{SERVICE}: Supported protocols",
        protocol="SCTP",
        kept={"a1": False, "b1": False},
    ),
    Row(
        "SCTP hairpin",
        (service(http(A1, protocol="SCTP")),),
        "a1",
        (WEB, 80),
        "it must not answer itself",
        f"{SERVICE}: Supported protocols",
        protocol="SCTP",
        kept={"a1": False},
    ),
    Row(
        "SCTP, no endpoints",
        (service(http(protocol="SCTP")),),
        "a2",
        (WEB, 80),
        "refuse at once",
        f"{SERVICE}: Supported protocols",
        protocol="SCTP",
        want="refused",
    ),
    Row(
        "IPv6 SCTP",
        (service(http(A1_6, B1_6, protocol="SCTP"), cluster_ips=(WEB6,)),),
        "a2",
        (WEB6, 80),
        "both families alike",
        f"{SERVICE}: Supported protocols",
        protocol="SCTP",
        kept={"a1": True, "b1": True},
    ),
    Row(
        "affinity",
        (service(http(A1, B1), affinity_timeout=600),),
        "a2",
        (WEB, 80),
        "a client keeps its endpoint",
        f"{VIPS}: Session affinity",
        kept={"a1": True, "b1": True},
    ),
    Row(
        "affinity, UDP",
        (service(http(A1, B1, protocol="UDP"), affinity_timeout=600),),
        "a2",
        (WEB, 80),
        "for every protocol",
        f"{VIPS}: Session affinity",
        protocol="UDP",
        kept={"a1": True, "b1": True},
    ),
    Row(
        "affinity at a node port",
        (service(http(A1, B1, node_port=30080), affinity_timeout=600),),
        "outside",
        (WORKER1, 30080),
        "for every way in",
        f"{VIPS}: Session affinity",
        kept={"a1": False, "b1": False},
    ),
    Row(
        "affinity at a Local node port",
        local(A1, A2, B1, affinity_timeout=600),
        "outside",
        (WORKER1, 30080),
        "among those that the policy allows",
        f"{VIPS}: Session affinity",
        kept={"a1": True, "a2": True},
    ),
    Row(
        "affinity at a Local node port, from a pod",
        local(A1, B1, affinity_timeout=600),
        "a2",
        (WORKER1, 30080),
        "among those that the policy allows",
        f"{VIPS}: Session affinity",
        kept={"a1": True, "b1": True},
    ),
    Row(
        "affinity, hairpin",
        (service(http(A1), affinity_timeout=600),),
        "a1",
        (WEB, 80),
        "it must not answer itself",
        VIPS,
        kept={"a1": False},
    ),
    Row(
        "IPv6 affinity",
        (service(http(A1_6, B1_6), cluster_ips=(WEB6,), affinity_timeout=600),),
        "a2",
        (WEB6, 80),
        "both families alike",
        f"{VIPS}: Session affinity",
        kept={"a1": True, "b1": True},
    ),
    Row(
        "another node's port from a pod",
        NODE_PORT,
        "a2",
        (WORKER2, 30080),
        "every node answers, and the answer must pass it again",
        f"{SERVICE}: type NodePort",
        kept={"a1": False, "b1": False},
    ),
    Row(
        "another node's Local port from a pod",
        local(B1),
        "a2",
        (WORKER2, 30080),
        "a pod's traffic never left the cluster, whichever node it asks",
        f"{KUBE_PROXY}: short-circuit pod traffic",
        kept={"b1": True},
    ),
    Row(
        "another node's Local port from a node",
        local(A1, B1),
        "worker1",
        (WORKER2, 30080),
        "for that node it comes from outside: its own endpoint alone",
        f"{SOURCE_IP}: type NodePort",
        kept={"b1": True},
    ),
)
