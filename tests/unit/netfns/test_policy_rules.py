"""Policies as verdicts and policies as rules say the same; rules kept by changes are those made at once."""

from dataclasses import replace
from random import Random

import pytest

from agents.node_rules import NodeRules
from agents.policy_index import ClusterIndex
from netfns import policy
from netfns.policy_rules import Element, Gate, NamedPorts, Peers, PolicyRules
from netfns.policy_types import EGRESS, INGRESS, Block, Cluster, Packet, Pod, Policy
from netfns.policy_verdict import evaluate
from tests.conformance.policy_grid import GRID, NODES, PLACES, packets, pod, random_policies


def index_of(policies: list[Policy], cluster: Cluster = GRID) -> ClusterIndex:
    index = ClusterIndex()
    for name, labels in cluster.namespaces.items():
        index.set_namespace(name, labels)
    for one in cluster.pods:
        index.set_pod(one.owner, one)
    for wanted in policies:
        index.set_policy((wanted.namespace, wanted.name), wanted)
    return index


def lets_through(rules: PolicyRules, packet: Packet) -> bool:
    """What a kernel would do that holds these rules of one node: they are looked up as the chains would."""
    held = {(e.place, e.key): e for e in rules.elements}
    gates = {gate.name: gate for gate in rules.gates}
    family = "6" if ":" in packet.source else "4"
    if (f"itself{family}", f"{packet.source} . {packet.destination}") in held:
        return True

    def among(peers: Peers, address: str) -> bool:
        blocks = any(isinstance(m, Block) and m.contains(address) for m in peers.members)
        return peers.everyone or blocks or (f"peers{family}-{peers.id}", address) in held

    def passes(direction: str, subject: str, other: str) -> bool:
        element = held.get((f"{direction}{family}", subject))
        if element is None:
            return True
        gate: Gate = gates[element.value.removeprefix("jump ")]
        pieces = [
            p for p in gate.pieces if p.protocol == packet.protocol and p.first <= packet.port <= p.last
        ]
        assert len(pieces) <= 1, "pieces overlap"
        named = (
            f"named{family}-{gate.named.id}" if gate.named else "",
            f"{other} . {packet.protocol.lower()} . {packet.port}",
        )
        return named in held or any(among(p, other) for p in (gate.otherwise, *(p.peers for p in pieces)))

    return passes(EGRESS, packet.source, packet.destination) and passes(
        INGRESS, packet.destination, packet.source
    )


@pytest.mark.parametrize("seed", range(25))
def test_rules_of_both_nodes_together_are_the_verdict(seed: int) -> None:
    policies = random_policies(Random(seed))
    index = index_of(policies)
    rules = {node: NodeRules(node, index).everything() for node in NODES}
    for family in (0, 1):
        for sender, receiver, packet in packets(family):
            passed = {PLACES[sender][0], PLACES[receiver][0]}
            kernel = all(lets_through(rules[node], packet) for node in passed)
            assert kernel == evaluate(policies, GRID, packet).allowed, (seed, policies, packet)


def changed(rng: Random, index: ClusterIndex, cluster: dict[str, Pod]) -> None:
    """One change of a cluster by chance."""
    what = rng.choice(["policy", "policy", "no policy", "labels", "gone", "back", "namespace", "address"])
    name = rng.choice(sorted(cluster))
    if what == "policy":
        one = random_policies(rng, 1)[0]
        one = replace(one, name=rng.choice("pqr"))
        index.set_policy((one.namespace, one.name), one)
    elif what == "no policy" and index.policies:
        index.set_policy(rng.choice(sorted(index.policies)), None)
    elif what == "labels":
        labels = dict(rng.choice([{"pod": "a"}, {"pod": "b", "tier": "front"}, {"tier": "back"}]))
        cluster[name] = replace(cluster[name], labels=labels)
        index.set_pod(name, cluster[name])
    elif what == "gone":
        index.set_pod(name, None)
    elif what == "back":
        cluster[name] = pod(name)
        index.set_pod(name, cluster[name])
    elif what == "address":  # somebody else's, who is about to go
        cluster[name] = replace(cluster[name], addresses=pod(rng.choice(sorted(cluster))).addresses)
        index.set_pod(name, cluster[name])
    elif what == "namespace":
        index.set_namespace(rng.choice("xyz"), {"ns": rng.choice("xyz")})


def applied(held: PolicyRules, old: PolicyRules, new: PolicyRules) -> PolicyRules:
    """What a kernel holds after a change: what `old` and `new` both leave out stays as it was."""

    def keyed(rules: PolicyRules) -> dict[object, object]:
        gates: dict[object, object] = {gate.name: gate for gate in rules.gates}
        asked: dict[object, object] = {asked: asked for asked in (*rules.peers, *rules.named)}
        return {**gates, **asked, **{(e.place, e.key): e for e in rules.elements}}

    state, before, after = keyed(held), keyed(old), keyed(new)
    for key, thing in before.items():
        assert state.get(key) == thing, "the change starts from something that is not there"
    for key in after.keys() - before.keys():
        assert key not in state, "the change adds what is there"
    state = {key: thing for key, thing in state.items() if key not in before} | after
    found = list(state.values())
    return PolicyRules(
        tuple(sorted((f for f in found if isinstance(f, Gate)), key=lambda f: f.name)),
        tuple(sorted((f for f in found if isinstance(f, Peers)), key=lambda f: f.id)),
        tuple(sorted((f for f in found if isinstance(f, NamedPorts)), key=lambda f: f.id)),
        tuple(sorted((f for f in found if isinstance(f, Element)), key=lambda f: (f.place, f.key))),
    )


@pytest.mark.parametrize("seed", range(25))
def test_changes_lead_to_the_rules_that_a_rebuild_makes(seed: int) -> None:
    rng = Random(seed)
    index, cluster = index_of([]), {one.owner: one for one in GRID.pods}
    nodes = {node: NodeRules(node, index) for node in NODES}
    held = {node: PolicyRules() for node in NODES}
    for _ in range(60):
        changed(rng, index, cluster)
        for node, rules in nodes.items():
            if rng.random() < 0.7:
                held[node] = applied(held[node], *rules.take_change())
    for node, rules in nodes.items():
        held[node] = applied(held[node], *rules.take_change())
        fresh = NodeRules(node, index).everything()
        assert held[node] == fresh
        assert policy.render(held[node]) == policy.render(fresh)
        assert not rules.changed


def test_a_node_holds_nothing_of_what_its_pods_do_not_need() -> None:
    [one] = [Policy("x", "deny", ingress=())]
    index = index_of([one])
    elsewhere = Cluster((pod("y/a"),), GRID.namespaces)
    assert NodeRules("worker1", index).everything().gates
    assert NodeRules("worker1", index_of([one], elsewhere)).everything() == PolicyRules()


def test_one_label_changes_only_the_elements_of_its_pod() -> None:
    index = index_of([p for seed in range(30) for p in random_policies(Random(seed))])
    for number, label in ((8, "a"), (9, "b")):  # each is what x/a is before, or after
        twin = replace(pod("x/a"), addresses=(f"10.244.1.{number}",), labels={"pod": label}, name=label * 2)
        index.set_pod(twin.owner, twin)
    index.set_pod("x/a", replace(pod("x/a"), labels={"pod": "a"}))
    rules = NodeRules("worker1", index)
    rules.everything()
    index.set_pod("x/a", replace(pod("x/a"), labels={"pod": "b"}))
    old, new = rules.take_change()
    assert {e.owner for e in (*old.elements, *new.elements)} == {"x/a"}
