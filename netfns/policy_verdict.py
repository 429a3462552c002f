"""NetworkPolicy as a function: policies, a cluster and a packet give a verdict and its reasons.

    packet 10.244.1.5 -> 10.244.2.7 TCP 80
      egress of the sender    does a policy isolate it? no: allowed; yes: does a rule of any of them match?
      ingress of the receiver the same, from the other side
      allowed = both

This is the specification written as code, for people: it looks at every policy each time. What the kernel
does (policy.py) is made in another way, and tests hold the two against each other, packet by packet.

Rules of the house, where the API leaves room:
- a pod can always reach itself, and its own node and it can always reach each other (so probes work);
- pods on a node's network are the node: policies do not isolate them, and only a block of addresses names them;
- protocols without ports (ICMP) are isolated too: only a rule without ports lets them pass;
- a named port is looked up in the pod that receives; a block of addresses matches pods' addresses too.

Source: Kubernetes documentation, "Network Policies"; API reference, NetworkPolicy v1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netfns.policy_types import EGRESS, INGRESS, Block, Cluster, Packet, Peer, Pod, Policy, Port, Rule


@dataclass(frozen=True)
class Tried:
    """One rule of one policy, held against the packet. `rule`: `ingress[0]`, or "" for a policy without rules."""

    policy: str
    rule: str
    matched: bool
    why: str


@dataclass(frozen=True)
class Judgement:
    """One direction. `subject`: the pod whose policies were asked, "" when no pod is there. `tried`: every
    rule of every policy that isolates it.
    """

    direction: str
    subject: str
    allowed: bool
    why: str
    tried: tuple[Tried, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Whether the packet arrives, and why: allowed when both directions are."""

    egress: Judgement
    ingress: Judgement

    @property
    def allowed(self) -> bool:
        """Whether the packet arrives."""
        return self.egress.allowed and self.ingress.allowed


def evaluate(policies: Sequence[Policy], cluster: Cluster, packet: Packet) -> Verdict:
    """Tell whether a packet arrives, from the policies themselves.

    A pod is isolated in a direction when at least one policy selects it for that direction; then only what
    some rule of some such policy matches is allowed: the rules add up, and nothing can be forbidden again.
    A rule matches when one of its ports matches (or it has none) and one of its peers (or it has none).
    """
    sender, receiver = pod_at(cluster, packet.source), pod_at(cluster, packet.destination)
    return Verdict(
        _judge(policies, cluster, packet, EGRESS, sender, receiver),
        _judge(policies, cluster, packet, INGRESS, receiver, sender),
    )


def pod_at(cluster: Cluster, address: str) -> Pod | None:
    """The pod that has an address."""
    return next((pod for pod in cluster.pods if address in pod.addresses), None)


def _judge(
    policies: Sequence[Policy],
    cluster: Cluster,
    packet: Packet,
    direction: str,
    subject: Pod | None,
    other: Pod | None,
) -> Judgement:
    if subject is None:
        return Judgement(direction, "", True, "no pod, so no policy")
    other_address = packet.destination if direction == EGRESS else packet.source
    isolating = [policy for policy in policies if policy.selects(subject, direction)]
    free = _always_allowed(cluster, packet, subject, other_address)
    if not free and not isolating:
        free = f"no policy isolates it for {direction}"
    if free:
        return Judgement(direction, subject.owner, True, free)
    receiver = other if direction == EGRESS else subject
    tried = tuple(
        attempt
        for policy in isolating
        for attempt in _try_policy(policy, direction, cluster, packet, other, other_address, receiver)
    )
    allowed = any(attempt.matched for attempt in tried)
    why = "a rule matches" if allowed else f"isolated by {len(isolating)}, and no rule matches"
    return Judgement(direction, subject.owner, allowed, why, tried)


def _always_allowed(cluster: Cluster, packet: Packet, subject: Pod, other_address: str) -> str:
    """Why policies have no say, "" when they do."""
    if packet.reply:
        return "part of a connection that was allowed"
    if packet.source == packet.destination:
        return "a pod reaches itself"
    if other_address in cluster.nodes.get(subject.node, ()):
        return "a pod and its own node reach each other"
    return ""


def _try_policy(
    policy: Policy,
    direction: str,
    cluster: Cluster,
    packet: Packet,
    other: Pod | None,
    other_address: str,
    receiver: Pod | None,
) -> Iterable[Tried]:
    rules = policy.rules(direction) or ()
    if not rules:
        yield Tried(policy.owner, "", False, "has no rules: nobody")
    for index, rule in enumerate(rules):
        fault = _port_fault(rule, packet, receiver) or _peer_fault(rule, cluster, other, other_address)
        yield Tried(policy.owner, f"{direction}[{index}]", not fault, fault or "ports and peers match")


def _port_fault(rule: Rule, packet: Packet, receiver: Pod | None) -> str:
    """Why the ports of a rule do not match, "" when they do."""
    if not rule.ports or any(_port_matches(port, packet, receiver) for port in rule.ports):
        return ""
    seen = f"{packet.port}/{packet.protocol}" if packet.port else packet.protocol
    return f"{seen} is none of {', '.join(map(str, rule.ports))}"


def _port_matches(port: Port, packet: Packet, receiver: Pod | None) -> bool:
    if port.protocol != packet.protocol:
        return False
    if port.name:
        return receiver is not None and packet.port in receiver.ports_named(port)
    return port.first <= packet.port <= port.last


def _peer_fault(rule: Rule, cluster: Cluster, other: Pod | None, address: str) -> str:
    """Why the peers of a rule do not match, "" when they do."""
    if not rule.peers or any(_peer_matches(peer, cluster, other, address) for peer in rule.peers):
        return ""
    return f"{other.owner if other else address} is none of: {'; '.join(map(str, rule.peers))}"


def _peer_matches(peer: Peer, cluster: Cluster, pod: Pod | None, address: str) -> bool:
    if isinstance(peer, Block):
        return peer.contains(address)
    if pod is None or not peer.pods.matches(pod.labels):
        return False
    if peer.namespace:
        return pod.namespace == peer.namespace
    return peer.namespaces.matches(cluster.namespaces.get(pod.namespace, {}))
