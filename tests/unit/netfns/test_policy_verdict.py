"""Every row of the policy table through `evaluate`, and the verdicts that the table cannot show."""

from dataclasses import replace

import pytest

from agents import desired
from netfns.policy_types import Block, Packet, Pods, Policy, Port, Rule
from netfns.policy_verdict import evaluate
from tests.conformance.policy import ROWS
from tests.conformance.policy_grid import GRID, addresses, packets
from tests.conformance.policy_row import Row

DENY = Policy("x", "deny", ingress=(), egress=())
A, B = addresses("x/a"), addresses("x/b")
NODE_OF_A, NODE_OF_B = "192.168.50.21", "192.168.50.22"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_evaluate(row: Row) -> None:
    policies = [desired.network_policy(obj) for obj in row.given]
    for family in (0, 1):
        for sender, receiver, packet in packets(family):
            want = row.passes(sender, receiver, f"{packet.port}/{packet.protocol}")
            assert evaluate(policies, GRID, packet).allowed == want, (sender, receiver, packet)


def test_the_table_has_its_rows_and_each_its_own_name() -> None:
    assert len(ROWS) >= 200
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    ("packet", "allowed", "why"),
    [
        (Packet(A[0], A[0], "TCP", 80), True, "a pod reaches itself"),
        (Packet(NODE_OF_A, A[0], "TCP", 80), True, "a pod and its own node reach each other"),
        (Packet("10.244.1.1", A[0], "TCP", 80), True, "a pod and its own node reach each other"),
        (Packet(A[0], NODE_OF_A, "TCP", 80), True, "a pod and its own node reach each other"),
        (Packet(NODE_OF_B, A[0], "TCP", 80), False, "isolated by 1, and no rule matches"),
        (Packet(A[0], NODE_OF_B, "TCP", 80), False, "isolated by 1, and no rule matches"),
        (Packet(B[0], A[0], "TCP", 80, reply=True), True, "part of a connection that was allowed"),
        (Packet(B[0], A[0], "ICMP"), False, "isolated by 1, and no rule matches"),
        (Packet(B[1], A[1], "UDP", 5), False, "isolated by 1, and no rule matches"),
    ],
)
def test_what_is_always_allowed(packet: Packet, allowed: bool, why: str) -> None:
    verdict = evaluate([DENY], GRID, packet)
    assert verdict.allowed == allowed
    assert why in (verdict.egress.why, verdict.ingress.why)


def test_a_node_is_named_by_blocks_only() -> None:
    packet = Packet(NODE_OF_B, A[0], "TCP", 80)
    by_pods = replace(DENY, ingress=(Rule(peers=(Pods(),)),))
    by_block = replace(DENY, ingress=(Rule(peers=(Block("192.168.50.22/32"),)),))
    assert not evaluate([by_pods], GRID, packet).allowed
    assert evaluate([by_block], GRID, packet).allowed


def test_only_a_rule_without_ports_lets_icmp_pass() -> None:
    packet = Packet(B[0], A[0], "ICMP")
    free = replace(DENY, ingress=(Rule(),), egress=None)
    ports = replace(free, ingress=(Rule((Port("TCP"), Port("UDP"), Port("SCTP"))),))
    from_b = Policy("x", "out", egress=(Rule(),))
    assert evaluate([free, from_b], GRID, packet).allowed
    assert not evaluate([ports, from_b], GRID, packet).allowed


def test_the_reasons_name_policies_and_rules() -> None:
    rules = (Rule((Port("TCP", 81, 81),)), Rule(peers=(Pods("y"),)))
    verdict = evaluate([Policy("x", "web", ingress=rules)], GRID, Packet(B[0], A[0], "TCP", 80))
    assert [(t.policy, t.rule, t.matched) for t in verdict.ingress.tried] == [
        ("x/web", "ingress[0]", False),
        ("x/web", "ingress[1]", False),
    ]
    assert verdict.ingress.tried[0].why == "80/TCP is none of 81/TCP"
    assert verdict.ingress.tried[1].why == "x/b is none of: pods any of namespace y"
    assert verdict.egress.why == "no policy isolates it for egress"
