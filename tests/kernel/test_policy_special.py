"""What a table of pods cannot show of policies: refusals, large rulesets, services, the world outside, ICMP."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from netfns import policy, service
from netfns.kernel import CommandError
from netfns.policy_rules import Element, PolicyRules
from netfns.policy_types import Block, Pods, Policy, Port, Requirement, Rule, Selector
from netfns.service_types import Endpoint, Service, ServicePort, ServiceProxy
from tests.conformance.policy_grid import NODES, addresses
from tests.kernel.cluster import OUTSIDE, Machine, node_addresses
from tests.kernel.grid import Grid
from tests.kernel.test_policy import rules_of

pytestmark = pytest.mark.kernel
DENY = Policy("x", "deny", ingress=(), egress=())
A, B = addresses("x/a")[0], addresses("x/b")[0]
WEB, NODE_PORT = "10.96.0.20", 30080
QUICKLY = 1.0  # seconds in which something that is dropped does not come


@pytest.fixture(scope="module")
def grid() -> Iterator[Grid]:
    grid = Grid()
    yield grid
    grid.close()


@pytest.fixture
def open_grid(grid: Grid) -> Grid:
    for node in NODES:
        policy.remove(grid.node(node))
    grid.forget()
    return grid


def one(sender: str, receiver: str, port: int = 80) -> tuple[str, str, str, str, int]:
    return sender, receiver, addresses(receiver)[0], "TCP", port


def passes(grid: Grid, sender: str, receiver: str, *, want: bool) -> bool:
    return grid.arrived([(one(sender, receiver), want)], deadline=QUICKLY)[0]


def test_a_refused_ruleset_leaves_the_one_before_in_force(open_grid: Grid) -> None:
    rules = rules_of([DENY])
    open_grid.load(rules)
    bad = replace(rules["worker1"], elements=(Element("ingress4", A, "x/a", "jump nowhere"),))
    with pytest.raises(CommandError):
        policy.load(open_grid.node("worker1"), bad)
    with pytest.raises(CommandError):
        policy.apply(open_grid.node("worker1"), policy.render_change(PolicyRules(), bad))
    assert not passes(open_grid, "y/a", "x/a", want=False)


class Watched:
    """A machine that looks, after each text that it loads, whether a denied packet passes."""

    def __init__(self, machine: Machine, grid: Grid) -> None:
        self.machine = machine
        self.grid = grid
        self.leaks: list[str] = []
        self.texts = 0

    def nft(self, ruleset: str) -> None:
        self.machine.nft(ruleset)
        self.texts += 1
        if self.grid.arrived([(one("y/a", "x/a"), False)], deadline=QUICKLY)[0]:
            self.leaks.append(ruleset[:200])


def many() -> list[Policy]:
    """Policies whose rules take several transactions."""
    return [
        Policy(
            "y",
            f"p{n}",
            ingress=(Rule((Port("TCP", 1000 + n, 1000 + n),), (Block(f"10.9.{n % 250}.0/24"),)),),
        )
        for n in range(600)
    ]


def test_a_large_ruleset_that_is_refused_leaves_the_one_before_in_force(open_grid: Grid) -> None:
    open_grid.load(rules_of([DENY]))
    rules = rules_of([DENY, *many()])["worker1"]
    bad = replace(
        rules, elements=(*rules.elements, Element("ingress4", "10.244.1.99", "y/q", "jump nowhere"))
    )
    before = policy.observe(open_grid.node("worker1"))
    with pytest.raises(CommandError):
        policy.load(open_grid.node("worker1"), bad)
    assert policy.observe(open_grid.node("worker1")) == before
    assert "trial" not in open_grid.node("worker1").run(["nft", "list", "tables"])
    assert not passes(open_grid, "y/a", "x/a", want=False)
    assert passes(open_grid, "x/b", "y/a", want=False) is False, "x/b may not leave"
    assert passes(open_grid, "z/b", "y/a", want=True)


def test_a_ruleset_in_parts_never_opens_anything(open_grid: Grid) -> None:
    rules = rules_of([DENY, *many()])["worker1"]
    policy.load(open_grid.node("worker1"), rules_of([DENY])["worker1"])
    watched = Watched(open_grid.node("worker1"), open_grid)
    policy.load(watched, rules)  # type: ignore[arg-type] # only nft is asked of it
    assert watched.texts > 3, "it was to take several transactions"
    assert watched.leaks == []
    assert "loading" not in policy.observe(open_grid.node("worker1"))
    assert passes(open_grid, "z/b", "y/a", want=False) is False
    policy.load(open_grid.node("worker1"), PolicyRules())
    assert passes(open_grid, "z/b", "y/a", want=True)


def test_icmp_passes_only_by_a_rule_without_ports(open_grid: Grid) -> None:
    def pings(sender: str, address: str) -> bool:
        machine = open_grid.machines[sender.replace("/", "-")]
        try:
            machine.run(["ping", "-c", "1", "-W", "1", address])
        except CommandError:
            return False
        return True

    assert pings("y/a", A)
    open_grid.load(rules_of([replace(DENY, egress=None)]))
    assert not pings("y/a", A)
    assert not pings("y/a", addresses("x/a")[1])
    open_grid.load(rules_of([replace(DENY, egress=None, ingress=(Rule((Port("TCP"), Port("UDP"))),))]))
    assert not pings("y/a", A)
    open_grid.load(rules_of([replace(DENY, egress=None, ingress=(Rule(),))]))
    assert pings("y/a", A)


def proxy(node: str, *endpoints: Endpoint) -> ServiceProxy:
    port = ServicePort("http", "TCP", 8080, NODE_PORT, endpoints)
    ranges = ("10.244.0.0/16", "fd00:244::/56"), ("10.96.0.0/16", "fd00:96::/112")
    return ServiceProxy(node, node_addresses(node), *ranges, (Service("x", "web", (WEB,), (port,)),))


@pytest.fixture
def serving(open_grid: Grid) -> Iterator[Grid]:
    """A Service of x/a alone, with a node port."""
    for node in NODES:
        service.prepare(open_grid.node(node))
        wanted = proxy(node, Endpoint(A, 80, "worker1"))
        service.apply(open_grid.node(node), service.render(wanted))
    yield open_grid
    for node in NODES:
        service.remove(open_grid.node(node))


def reached(grid: Grid, sender: str, address: str, port: int, *, want: bool) -> bool:
    """Whether a connection by the Service comes to x/a."""
    name = sender.replace("/", "-")
    asked = [[name, "x-a", address, "TCP", port, want]]
    return bool(grid.sandbox.ask(do="probe", probes=asked, deadline=QUICKLY)["arrived"][0])


def test_a_pod_reaches_itself_through_a_service_whatever_isolates_it(serving: Grid) -> None:
    serving.load(rules_of([DENY]))
    assert reached(serving, "x/a", WEB, 8080, want=True)
    assert not reached(serving, "x/b", WEB, 8080, want=False)


def test_a_service_is_judged_after_its_translation(serving: Grid) -> None:
    to_a = Rule((Port("TCP", 80, 80),), (Pods("x", pods=Selector((Requirement("pod", "In", ("a",)),))),))
    serving.load(rules_of([Policy("y", "out", egress=(to_a,))]))
    assert reached(serving, "y/a", WEB, 8080, want=True)
    assert reached(serving, "y/b", WEB, 8080, want=True)
    wrong = replace(to_a, ports=(Port("TCP", 8080, 8080),))
    serving.load(rules_of([Policy("y", "out", egress=(wrong,))]))
    assert not reached(serving, "y/a", WEB, 8080, want=False)


@pytest.mark.parametrize(
    ("entry", "allowed", "want"),
    [
        ("worker1", f"{OUTSIDE[0]}/32", True),
        ("worker1", "198.51.100.0/24", False),
        ("worker2", f"{OUTSIDE[0]}/32", False),  # the other node masquerades
        ("worker2", "10.244.2.0/32", True),  # as the end of its tunnel
    ],
)
def test_who_comes_from_outside_by_a_node_port(serving: Grid, entry: str, allowed: str, want: bool) -> None:
    serving.load(rules_of([replace(DENY, egress=None, ingress=(Rule((), (Block(allowed),)),))]))
    assert reached(serving, "outside", node_addresses(entry)[0], NODE_PORT, want=want) is want


def test_flows_of_an_address_can_be_forgotten(open_grid: Grid) -> None:
    def known() -> int:
        return open_grid.node("worker1").run(["conntrack", "-L", "-p", "udp"]).count(A)

    open_grid.load(rules_of([replace(DENY, namespace="z")]))  # or connections would not be tracked
    asked = ("y/a", "x/a", A, "UDP", 80)
    other = ("y/a", "x/c", addresses("x/c")[0], "UDP", 80)
    assert open_grid.arrived([(asked, True), (other, True)]) == [True, True]
    assert known()
    policy.forget(open_grid.node("worker1"), [A])
    assert not known()
    policy.forget(open_grid.node("worker1"), [A])
    assert addresses("x/c")[0] in open_grid.node("worker1").run(["conntrack", "-L", "-p", "udp"])


def test_a_table_that_somebody_changed_is_not_intact(open_grid: Grid) -> None:
    rules, node = rules_of([DENY])["worker1"], open_grid.node("worker1")
    isolated = [e for e in rules.elements if e.place.startswith(("ingress", "egress", "itself"))]
    for damage in (
        "delete element inet network-policy ingress4 { 10.244.1.2 }",
        "flush chain inet network-policy forward",
        "flush chain inet network-policy ingress",
        "delete table inet network-policy",
    ):
        policy.load(node, rules)
        assert policy.intact(node, isolated)
        node.nft(f"{damage}\n")
        assert not policy.intact(node, isolated)
