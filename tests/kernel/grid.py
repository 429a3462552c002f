"""The nine pods of tests/conformance/policy_grid.py in a kernel, and a way to ask for all packets at once."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from netfns import overlay, policy
from netfns.policy_rules import PolicyRules
from tests.conformance.policy_grid import NAMES, NODES, PLACES, PORTS, addresses
from tests.kernel.cluster import Machine, Sandbox, build, node_addresses
from tests.kernel.test_overlay import desired as overlay_of

PROBE = Path(__file__).with_name("grid_probe.py")
DEADLINE = 5.0  # seconds for what shall arrive
Probe = tuple[str, str, str, str, int]  # sender, receiver, destination, protocol, port


def machine_name(name: str) -> str:
    return name.replace("/", "-")


class Grid:
    """The grid in a sandbox of its own; close it."""

    def __init__(self) -> None:
        self.sandbox = Sandbox()
        self.machines = build(self.sandbox, {machine_name(name): PLACES[name] for name in NAMES})
        for node in NODES:
            overlay.prepare(self.machines[node], overlay_of(node))
            overlay.apply(self.machines[node], overlay.render(overlay_of(node)))
            policy.prepare(self.machines[node])
        self.sandbox.ask(do="use", file=str(PROBE))
        pods = {machine_name(name): list(addresses(name)) for name in NAMES}
        for name in ("outside", *NODES):
            pods[name] = []
        self.sandbox.ask(do="serve", pods=pods, ports=list(PORTS))

    def close(self) -> None:
        self.sandbox.close()

    def node(self, name: str) -> Machine:
        return self.machines[name]

    def load(self, rules: dict[str, PolicyRules]) -> None:
        """Load each node's rules, and forget every connection."""
        for node, one in rules.items():
            policy.load(self.machines[node], one)
        self.forget()

    def forget(self) -> None:
        for node in NODES:
            assert self.sandbox.ask(do="forget", netns=node) == {}

    def arrived(self, probes: Iterable[tuple[Probe, bool]], deadline: float = DEADLINE) -> list[bool]:
        """Which packets arrive, given with whether they are to: one that is not to is not waited for."""
        asked: list[list[Any]] = [
            [machine_name(sender), machine_name(receiver), destination, protocol, port, want]
            for (sender, receiver, destination, protocol, port), want in probes
        ]
        # A node reaches its own pods, whatever the policies say: when these are there, all is there.
        asked += [
            [node, machine_name(n), addresses(n)[0], "UDP", 80, True] for n, (node, _) in PLACES.items()
        ]
        answer = self.sandbox.ask(do="probe", probes=asked, deadline=deadline)["arrived"]
        own = answer[len(asked) - len(PLACES) :]
        assert all(own), f"a node does not reach its own pods: {own}"
        return list(answer[: len(asked) - len(PLACES)])


def host_address(node: str, family: int) -> str:
    return node_addresses(node)[family]
