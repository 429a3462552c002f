"""Every row of the policy table through a real kernel; random policies, by changes; and what a table cannot show."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

import pytest

from agents import desired
from agents.node_rules import NodeRules
from agents.policy_index import ClusterIndex
from netfns import policy
from netfns.policy_rules import PolicyRules
from netfns.policy_types import Packet, Policy
from netfns.policy_verdict import evaluate
from tests.conformance.policy import ROWS
from tests.conformance.policy_grid import GRID, NODES, packets, random_policies
from tests.conformance.policy_row import Row
from tests.kernel.grid import Grid, Probe

pytestmark = pytest.mark.kernel
# Of random policies: a minute's worth where everything is tested.
SECONDS = float(os.environ.get("MINIPOD_POLICY_SECONDS") or (60 if os.environ.get("CI") == "true" else 20))
DENY = Policy("x", "deny", ingress=(), egress=())


@pytest.fixture(scope="module")
def grid() -> Iterator[Grid]:
    grid = Grid()
    yield grid
    grid.close()


def index_of(policies: Iterable[Policy]) -> ClusterIndex:
    index = ClusterIndex()
    for name, labels in GRID.namespaces.items():
        index.set_namespace(name, labels)
    for pod in GRID.pods:
        index.set_pod(pod.owner, pod)
    for one in policies:
        index.set_policy((one.namespace, one.name), one)
    return index


def rules_of(policies: Iterable[Policy]) -> dict[str, PolicyRules]:
    index = index_of(policies)
    return {node: NodeRules(node, index).everything() for node in NODES}


def probes(family: int) -> list[tuple[Probe, Packet]]:
    return [
        ((sender, receiver, packet.destination, packet.protocol, packet.port), packet)
        for sender, receiver, packet in packets(family)
    ]


def differences(grid: Grid, wanted: Sequence[tuple[Probe, bool]]) -> list[str]:
    found = grid.arrived(wanted)
    return [
        f"{one[0]} -> {one[1]} {one[4]}/{one[3]}: wanted {'to pass' if want else 'dropped'}"
        for (one, want), arrived in zip(wanted, found, strict=True)
        if want != arrived
    ]


@pytest.mark.parametrize("number", range(len(ROWS)), ids=lambda number: ROWS[number].name)
def test_kernel(grid: Grid, number: int) -> None:
    row: Row = ROWS[number]
    grid.load(rules_of(map(desired.network_policy, row.given)))
    wanted = [(one, row.passes(one[0], one[1], f"{one[4]}/{one[3]}")) for one, _ in probes(number % 2)]
    assert differences(grid, wanted) == []


def test_random_policies_agree_with_the_verdict_change_after_change(
    grid: Grid, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("MINIPOD_POLICY_SEED", "1"))
    end, rounds = time.monotonic() + SECONDS, 0
    index = index_of([])
    rules = {node: NodeRules(node, index) for node in NODES}
    grid.load({node: one.everything() for node, one in rules.items()})
    while time.monotonic() < end:
        rng = Random(seed + rounds)
        policies = random_policies(rng)
        gone = [key for key in index.policies if rng.random() < 0.7]
        for key in gone:
            index.set_policy(key, None)
        for wanted_policy in policies:
            index.set_policy((wanted_policy.namespace, wanted_policy.name), wanted_policy)
        for node, one in rules.items():
            policy.apply(grid.node(node), policy.render_change(*one.take_change()))
        grid.forget()
        now = list(index.policies.values())
        family = rounds % 2
        wanted = [(one, evaluate(now, GRID, packet).allowed) for one, packet in probes(family)]
        assert differences(grid, wanted) == [], (seed + rounds, now)
        rounds += 1
    assert rounds
    record_property("rounds", rounds)
