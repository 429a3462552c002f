"""The network functions: desired state in, kernel configuration out. One concept a file.

    service.py     Services in nftables                      dns.py         the cluster's names, as a zone
    overlay.py     VXLAN between the nodes                   dns_server.py  the server that answers from it
    bridge.py      a node's bridge and its pods' veth pairs  balancer.py    HAProxy for LoadBalancer services
    ipam.py        which address the next pod gets           masquerade.py  the way out of the cluster
    policy.py      NetworkPolicies: a verdict, and nftables rules that agree
    python_balancer.py         a balancer's decisions: round robin, health checks, draining
    python_balancer_server.py  the loop that acts on them, with relay.py and python_balancer_control.py
    host_port.py   ports of a node that lead into one pod

Every file has the same verbs: `render` (desired state -> text) and `evaluate` (desired state + packet ->
verdict) are pure; `observe` reads the kernel; `apply` makes it match. `SEATS` is the table of the
functions that can be swapped for a student's: `minipod netfn service=./my_service.py` puts a file in that
seat. `PROXY_MODES` are the ways to carry out Services: `minipod up --proxy-mode NAME` picks one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Seat:
    """One network function that can be swapped.

    `module` is the reference; `lab` the lab in which students write it ("" when none asks for it);
    `stands_for` the component of a real cluster that does this job.
    """

    name: str
    module: str
    lab: str
    stands_for: str


SEATS: dict[str, Seat] = {
    seat.name: seat
    for seat in (
        Seat("bridge", "netfns.bridge", "", "CNI plugin bridge"),
        Seat("ipam", "netfns.ipam", "", "CNI plugin host-local"),
        Seat("host_port", "netfns.host_port", "", "CNI plugin portmap"),
        Seat("overlay", "netfns.overlay", "03-across-nodes", "flannel"),
        Seat("service", "netfns.service", "06-cluster-ip", "kube-proxy"),
        Seat("masquerade", "netfns.masquerade", "", "ip-masq-agent"),
        Seat("policy", "netfns.policy", "", "a policy controller (Calico's Felix)"),
        Seat("balancer", "netfns.balancer", "", "cloud load balancer"),
        Seat("python_balancer", "netfns.python_balancer", "09-load-balancer", "cloud load balancer"),
        Seat("dns", "netfns.dns", "", "CoreDNS"),
    )
}

PROXY_MODES: dict[str, str] = {
    "nftables": "netfns.service",
    "iptables": "netfns.service_iptables",
    "userspace": "netfns.service_userspace",
}
"""Proxy modes by name: the module of each, which has the functions of `netfns.proxy_mode.ProxyMode`.

A new mode is one file and one row here. `ebpf` will be one: it would render a program's maps as text, load
them in `apply`, and pass the same conformance table.
"""
