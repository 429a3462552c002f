"""What each golden file is made from: one call of a network function with one desired state, name -> text."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agents.node_rules import NodeRules
from agents.policy_index import ClusterIndex
from netfns import (
    balancer,
    dns,
    host_port,
    masquerade,
    overlay,
    policy,
    python_balancer_config,
    service,
    service_iptables,
    service_userspace,
)
from netfns.balancer import Balancer
from netfns.balancer_types import Frontend, Server
from netfns.dns import ClusterNames, NamedEndpoint, NamedPod, NamedPort, NamedService
from netfns.host_port import HostPort, HostPorts
from netfns.masquerade import Masquerade
from netfns.overlay import Overlay, Vtep
from netfns.policy_rules import PolicyRules
from netfns.policy_types import Block, Pod, Pods, Policy, Port, Requirement, Rule, Selector
from netfns.policy_types import NamedPort as PolicyNamedPort
from netfns.service_types import Endpoint, Service, ServicePort, ServiceProxy

FOLDER = Path(__file__).parent

WEB = Service(
    "default",
    "web",
    ("10.96.0.20", "fd00:96::20"),
    (
        ServicePort(
            "http",
            "TCP",
            80,
            30080,
            (
                Endpoint("10.244.1.2", 8080, "worker1"),
                Endpoint("10.244.2.2", 8080, "worker2"),
                Endpoint("fd00:244:0:2::2", 8080, "worker2"),
            ),
        ),
        ServicePort("metrics", "TCP", 9090, 0, (Endpoint("10.244.1.2", 9090, "worker1"),)),
    ),
)
DNS_PODS = (Endpoint("10.244.1.3", 53, "worker1"), Endpoint("10.244.2.3", 53, "worker2"))
KUBE_DNS = Service(
    "kube-system",
    "kube-dns",
    ("10.96.0.10",),
    (ServicePort("dns", "UDP", 53, 0, DNS_PODS), ServicePort("dns-tcp", "TCP", 53, 0, DNS_PODS)),
)
EMPTY = Service("default", "empty", ("10.96.0.30",), (ServicePort("", "TCP", 80, 30081),))
PROXY = ServiceProxy(
    "worker1",
    ("192.168.50.21", "fd00:50::21"),
    ("10.244.0.0/16", "fd00:244::/56"),
    ("10.96.0.0/16", "fd00:96::/112"),
    (EMPTY, WEB, KUBE_DNS),
)
FILLED = Service("default", "empty", ("10.96.0.30",), (ServicePort("", "TCP", 80, 30081, DNS_PODS[:1]),))
CHANGED = ServiceProxy(
    PROXY.node, PROXY.node_addresses, PROXY.pod_cidrs, PROXY.service_cidrs, (FILLED, KUBE_DNS)
)
# One Service that asks for everything: policies, affinity, addresses from outside, and SCTP.
EVERYTHING = replace(
    WEB,
    ports=(
        replace(WEB.ports[0], local_endpoints=WEB.ports[0].endpoints[:1]),
        ServicePort("signal", "SCTP", 3868, 30868, (Endpoint("10.244.1.2", 3868, "worker1"),)),
    ),
    external_ips=("192.0.2.7",),
    load_balancer_ips=("192.0.2.8", "2001:db8:2::8"),
    load_balancer_source_ranges=("203.0.113.0/24", "192.168.50.0/24"),
    affinity_timeout=10800,
    internal_traffic_policy="Local",
    external_traffic_policy="Local",
)

OVERLAY = Overlay(
    Vtep("worker1", "192.168.50.21", ("10.244.1.0/24", "fd00:244:0:1::/64")),
    (
        Vtep("control-plane", "192.168.50.10", ("10.244.0.0/24", "fd00:244::/64")),
        Vtep("worker2", "192.168.50.22", ("10.244.2.0/24", "fd00:244:0:2::/64")),
    ),
)
MASQUERADE = Masquerade(
    ("10.244.0.0/16", "fd00:244::/56"), ("192.168.50.10", "192.168.50.21", "fd00:50::10", "fd00:50::21")
)

HOST_PORTS = HostPorts(
    ("ip", "ip6"),
    (
        HostPort("default/web:http", "TCP", 8080, "10.244.1.2", 80),
        HostPort("default/web:http", "TCP", 8080, "fd00:244:0:1::2", 80),
        HostPort("default/dns:53", "UDP", 53, "10.244.1.3", 53, "192.168.50.21"),
    ),
)

NODE_PORTS = (Server("worker1", "192.168.50.21", 30080), Server("worker2", "192.168.50.22", 30080))
BALANCER = Balancer(
    "/run/haproxy.sock",
    (
        Frontend("kube-apiserver", "192.168.50.9", 6443, (Server("control-plane", "192.168.50.10", 6443),)),
        Frontend("default/web:http", "192.168.50.200", 80, NODE_PORTS),
        Frontend("default/web:http", "fd00:50::200", 80, (Server("worker1", "fd00:50::21", 30080),)),
    ),
    version=7,
)
# A Service with externalTrafficPolicy Local, for two ranges of senders only.
CHOOSY = Frontend(
    "default/local:http", "192.168.50.201", 80, NODE_PORTS, ("203.0.113.0/24", "10.0.0.0/8"), 30100
)
POSTGRES = (NamedPort("postgres", "TCP", 5432),)
NAMES = ClusterNames(
    "cluster.local",
    ("10.96.0.10", "fd00:96::a"),
    ("10.96.0.0/16", "fd00:96::/112", "10.244.0.0/16", "fd00:244::/56"),
    (
        NamedService("default", "web", ("10.96.0.20", "fd00:96::20"), (NamedPort("http", "TCP", 80),)),
        NamedService("default", "plain", ("10.96.0.30",), (NamedPort("", "TCP", 80),)),
        NamedService(
            "default",
            "db",
            endpoints=(
                NamedEndpoint(("10.244.1.5",), "db-0", POSTGRES),
                NamedEndpoint(("10.244.2.5", "fd00:244:0:2::5"), "", POSTGRES),
            ),
        ),
        NamedService(
            "default",
            "members",
            ("10.96.0.40",),
            POSTGRES,
            (
                NamedEndpoint(("10.244.1.6",), "members-0", POSTGRES),
                NamedEndpoint(("10.244.1.7",), "", POSTGRES),
            ),
        ),
        NamedService("default", "vm", endpoints=(NamedEndpoint(("192.168.50.100",), "vm1", POSTGRES),)),
        NamedService("default", "nobody"),
        NamedService("default", "old", external_name="www.outside.example"),
        NamedService("default", "alias", external_name="web.default.svc.cluster.local"),
        NamedService("default", "number", external_name="203.0.113.10"),
        NamedService("default", "loop", external_name="loop.default.svc.cluster.local"),
    ),
    (NamedPod("default", "web-1", ("10.244.1.2", "fd00:244:0:1::2")),),
)

API_PODS = Selector((Requirement("app", "In", ("api",)),))
OPEN_TO_API = Policy(
    "default",
    "api-only",
    ingress=(
        Rule((Port(name="http"), Port("UDP", 5000, 5010)), (Pods("default", pods=API_PODS),)),
        Rule((Port("TCP", 443, 443),)),
    ),
    egress=(
        Rule((Port("UDP", 53, 53), Port("TCP", 53, 53))),
        Rule((Port(name="http"),), (Pods(namespaces=Selector((Requirement("team", "Exists"),))),)),
        Rule((), (Block("203.0.113.0/24", ("203.0.113.128/25",)), Block("2001:db8:113::/64"))),
    ),
)
DENY_ALL = Policy("default", "deny-all", ingress=(), egress=())
HTTP = (PolicyNamedPort("http", "TCP", 8080),)
WEB_POD = Pod("default", "web-1", "worker1", ("10.244.1.2", "fd00:244:0:1::2"), {"app": "web"}, HTTP)
API_POD = Pod("default", "api-1", "worker2", ("10.244.2.3", "fd00:244:0:2::3"), {"app": "api"}, HTTP)


def policy_rules(*pods: Pod) -> PolicyRules:
    """The rules of worker1 with these pods under both policies."""
    index = ClusterIndex()
    index.set_namespace("default", {"team": "web"})
    for one in pods:
        index.set_pod(one.owner, one)
    for wanted in (OPEN_TO_API, DENY_ALL):
        index.set_policy((wanted.namespace, wanted.name), wanted)
    return NodeRules("worker1", index).everything()


GOLDEN: dict[str, Callable[[], str]] = {
    "service.nft": lambda: service.render(PROXY),
    "service-everything.nft": lambda: service.render_change(
        replace(PROXY, services=()), replace(PROXY, services=(EVERYTHING,))
    ),
    "service.iptables": lambda: service_iptables.render(
        replace(PROXY, services=(EMPTY, EVERYTHING, KUBE_DNS))
    ),
    "service-change.iptables": lambda: service_iptables.render_change(PROXY, CHANGED),
    "service-userspace.nft": lambda: service_userspace.render(PROXY),
    "service-change.nft": lambda: service.render_change(PROXY, CHANGED),
    "overlay.ip": lambda: overlay.render(OVERLAY).ip,
    "overlay.bridge": lambda: overlay.render(OVERLAY).bridge,
    "haproxy.cfg": lambda: balancer.render(replace(BALANCER, frontends=(*BALANCER.frontends, CHOOSY))),
    "balancer.cfg": lambda: python_balancer_config.render((*BALANCER.frontends, CHOOSY)),
    "cluster.zone": lambda: dns.render(NAMES),
    "policy.nft": lambda: policy.render(policy_rules(WEB_POD, API_POD)),
    "policy-change.nft": lambda: policy.render_change(
        policy_rules(WEB_POD, API_POD), policy_rules(WEB_POD, replace(API_POD, labels={}))
    ),
    "host-port.nft": lambda: host_port.render(HOST_PORTS),
    "masquerade.nft": lambda: masquerade.render(MASQUERADE),
}
