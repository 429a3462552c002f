"""NetworkPolicies, and the pods and namespaces that they speak about, as policy verdicts and rules know them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from agents.desired.nodes import node_addresses
from agents.desired.objects import Obj, namespaced_name
from netfns.policy_types import (
    Block,
    NamedPort,
    Peer,
    Pod,
    Pods,
    Policy,
    Port,
    Requirement,
    Rule,
    Selector,
)


def network_policy(obj: Obj) -> Policy:
    """One NetworkPolicy. A direction that its policyTypes do not name is None, whatever rules it has."""
    namespace, name = namespaced_name(obj)
    spec = obj.get("spec") or {}
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return Policy(
        namespace,
        name,
        selector(spec.get("podSelector")),
        _rules(spec.get("ingress"), "from", namespace) if "Ingress" in types else None,
        _rules(spec.get("egress"), "to", namespace) if "Egress" in types else None,
    )


def _rules(rules: Sequence[Obj] | None, side: str, namespace: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            tuple(_port(port) for port in rule.get("ports") or ()),
            tuple(_peer(peer, namespace) for peer in rule.get(side) or ()),
        )
        for rule in rules or ()
    )


def _port(port: Obj) -> Port:
    protocol, number = port.get("protocol") or "TCP", port.get("port")
    if number is None:
        return Port(protocol)
    if isinstance(number, str):
        return Port(protocol, name=number)
    return Port(protocol, number, port.get("endPort") or number)


def _peer(peer: Obj, namespace: str) -> Peer:
    """A peer without a namespaceSelector is in the policy's own namespace; one with an empty one is anywhere."""
    block = peer.get("ipBlock")
    if block is not None:
        return Block(block["cidr"], tuple(block.get("except") or ()))
    pods = selector(peer.get("podSelector"))
    if peer.get("namespaceSelector") is None:
        return Pods(namespace, pods=pods)
    return Pods(namespaces=selector(peer["namespaceSelector"]), pods=pods)


def selector(obj: Obj | None) -> Selector:
    """A LabelSelector; None selects everything here, for that is what it means where policies leave one out."""
    obj = obj or {}
    labels = [
        Requirement(key, "In", (value,)) for key, value in sorted((obj.get("matchLabels") or {}).items())
    ]
    expressions = [
        Requirement(e["key"], e["operator"], tuple(sorted(set(e.get("values") or ()))))
        for e in obj.get("matchExpressions") or ()
    ]
    return Selector((*labels, *expressions))


def policy_pod(obj: Obj, addresses: Sequence[str] = ()) -> Pod | None:
    """A pod that policies can speak about: on the node's network or ended, it is none; without an address,
    neither.

    `addresses`: those that its kubelet has given it and not taken back, so it is there whatever its status says:
    packets of a container that has ended may still be on their way. Otherwise its status tells.
    """
    spec, status, metadata = obj["spec"], obj.get("status") or {}, obj["metadata"]
    ended = not addresses and status.get("phase") in ("Succeeded", "Failed")
    addresses = addresses or [row["ip"] for row in status.get("podIPs") or ()]
    if spec.get("hostNetwork") or ended or not addresses:
        return None
    namespace, name = namespaced_name(obj)
    labels = metadata.get("labels") or {}
    return Pod(namespace, name, spec.get("nodeName", ""), tuple(addresses), labels, _named_ports(spec))


def _named_ports(spec: Obj) -> tuple[NamedPort, ...]:
    """The named ports of everything that runs as long as the pod does."""
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    return tuple(
        NamedPort(port["name"], port.get("protocol") or "TCP", port["containerPort"])
        for container in (*spec["containers"], *sidecars)
        for port in container.get("ports") or ()
        if port.get("name")
    )


def namespace_labels(obj: Obj) -> dict[str, str]:
    """A namespace's labels."""
    return dict(obj["metadata"].get("labels") or {})


def policy_nodes(nodes: Iterable[Obj]) -> dict[str, tuple[str, ...]]:
    """The addresses that each node speaks with to its own pods or to others': its own, and of each of its pod
    ranges the first two, the tunnel's and the bridge's.
    """
    return {
        node["metadata"]["name"]: (
            *node_addresses(node),
            *(
                str(ip_network(cidr)[i])
                for cidr in (node.get("spec") or {}).get("podCIDRs") or ()
                for i in (0, 1)
            ),
        )
        for node in nodes
    }
