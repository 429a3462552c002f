"""NetworkPolicies in one node's kernel, measured. Run inside a sandbox by bench/policy.py.

    policing COUNT,COUNT… TURNS

    client 10.244.1.2 --- cni0 of a node --- server 10.244.1.3      two real pods of one bridge
    498 more pods, half of them on the node, are there for the policies only

A third of the policies isolate every pod of a namespace, the others one application; peers are applications,
namespaces and blocks, ports are numbers and ranges. Each count has a node and two pods of its own; they are
measured in many short turns, one after the other, so that what else the machine does falls on all alike.
"""

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from agents.node_kernel import NodeKernel
from agents.node_rules import NodeRules
from agents.policy_index import ClusterIndex
from bench.support.common import median, seconds_of, tell
from bench.support.service_load import machine
from bench.support.sinking import bytes_a_second, forked, swallow
from netfns import masquerade, policy
from netfns.masquerade import Masquerade
from netfns.policy_types import Block, Peer, Pod, Pods, Policy, Port, Requirement, Rule, Selector

PODS, NAMESPACES, APPLICATIONS, ON_NODE = 500, 10, 50, 250
ROUNDS, CONNECTIONS, CHANGES = 100, 40, 16
CLIENT, SERVER, PORT, SINK = "10.244.1.2", "10.244.1.3", 8080, 8081
NODE = "node-1"


def labelled(**labels: str) -> Selector:
    """A selector of these labels."""
    return Selector(tuple(Requirement(key, "In", (value,)) for key, value in sorted(labels.items())))


def pod(number: int) -> Pod:
    """The pods by number: 0 is the client, 1 the server; every second one is on the node."""
    node = NODE if number < 2 or number % 2 else "node-2"
    address = (CLIENT, SERVER)[number] if number < 2 else f"10.244.{2 + number // 250}.{number % 250 + 1}"
    labels = {"app": f"app-{number % APPLICATIONS}", "tier": "back" if number % 3 else "front"}
    return Pod(f"space-{number % NAMESPACES if number > 1 else 0}", f"pod-{number}", node, (address,), labels)


def a_policy(number: int) -> Policy:
    """The policies by number."""
    application = {"app": f"app-{number % APPLICATIONS}"}
    space = f"space-{number % NAMESPACES}"
    peers: tuple[Peer, ...] = (
        Pods(space, pods=labelled(app=f"app-{number * 7 % APPLICATIONS}")),
        Pods(namespaces=labelled(name=f"space-{number * 3 % NAMESPACES}")),
        Block(
            f"172.{number % 16 + 16}.{number % 256}.0/24", (f"172.{number % 16 + 16}.{number % 256}.8/29",)
        ),
    )
    ports = (Port("TCP", 8000 + number % 5, 8000 + number % 5), Port("TCP", 9000, 9099 + number % 4 * 100))
    chosen = Selector() if number % 3 == 0 else labelled(**application)
    return Policy(
        space, f"policy-{number}", chosen, (Rule(ports, peers),), (Rule(),) if number % 5 == 0 else None
    )


# Without this the packets of the two real pods would not pass; it isolates the server like all the others.
ALLOWED = Policy(
    "space-0", "allowed", labelled(app="app-1"),
    (Rule((Port("TCP", 8000, 8090),), (Pods("space-0", pods=labelled(app="app-0")),)),),
)  # fmt: skip


def index_of(count: int) -> ClusterIndex:
    """The cluster with so many policies."""
    index = ClusterIndex()
    for number in range(NAMESPACES):
        index.set_namespace(f"space-{number}", {"name": f"space-{number}"})
    for number in range(PODS):
        index.set_pod(str(number), pod(number))
    for wanted in (*map(a_policy, range(count - 1)), *([ALLOWED] if count else [])):
        index.set_policy((wanted.namespace, wanted.name), wanted)
    return index


@dataclass
class Ends:
    """The node of one count, and its two real pods."""

    client: NodeKernel
    node: NodeKernel
    server: NodeKernel


def network(count: int) -> Ends:
    """A node with two pods on its bridge; its connections are tracked, as in any lab."""
    client, node, server = (machine(f"{name}-{count}") for name in ("client", "node", "server"))
    policy.prepare(node)
    node.run(["ip", "link", "add", "cni0", "type", "bridge"])
    node.run(["ip", "address", "add", "10.244.1.1/16", "dev", "cni0"])
    node.run(["ip", "link", "set", "cni0", "up"])
    for number, (end, address) in enumerate(((client, CLIENT), (server, SERVER))):
        device = f"pod{number}"
        node.run(["ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", end.name])
        node.run(["ip", "link", "set", device, "master", "cni0", "up"])
        end.run(["ip", "address", "add", f"{address}/16", "dev", "eth0"])
        end.run(["ip", "link", "set", "eth0", "up"])
    masquerade.apply(node, masquerade.render(Masquerade(("10.244.0.0/16",), ("192.168.50.21",))))
    return Ends(client, node, server)


def serve(server: NodeKernel) -> list[int]:
    """Two processes, by their ids: one echoes bytes, one swallows buffers and says when it has them all."""
    return [forked(server.listen(PORT), _echo), forked(server.listen(SINK), swallow)]


def _echo(connection: socket.socket) -> None:
    while data := connection.recv(64):
        connection.send(data)


def connected(client: NodeKernel, port: int = PORT) -> socket.socket:
    """A connection to the server."""
    caller = client._namespaces.call(socket.socket)
    caller.settimeout(10.0)
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no waiting afterwards
    caller.connect((SERVER, port))
    return caller


def turn(client: NodeKernel) -> dict[str, float | list[float]]:
    """One short turn: a byte there and back, a connect (seconds each, the median and all), and bytes a second."""
    with connected(client) as caller:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def once() -> None:
            caller.send(b"x")
            caller.recv(1)

        round_trip = median([seconds_of(once) for _ in range(ROUNDS)])
    connects = [seconds_of(lambda: connected(client).close()) for _ in range(CONNECTIONS)]
    with connected(client, SINK) as caller:
        throughput = bytes_a_second(caller)
    return {
        "round_trip": round_trip,
        "connect": median(connects),
        "connects": connects,
        "throughput": throughput,
    }


def newcomer(number: int) -> Policy:
    """A policy that lets pods in about whom no other asks: the applications of one namespace each."""
    space, application = f"space-{number % NAMESPACES}", f"app-{number % APPLICATIONS}"
    peers = (Pods(namespaces=labelled(name=space), pods=labelled(app=application)),)
    [rule] = a_policy(3).ingress or ()
    return replace(a_policy(3), name="extra", ingress=(Rule(rule.ports, peers),))


def changes(node: NodeKernel, index: ClusterIndex, rules: NodeRules) -> Iterator[tuple[str, float]]:
    """How long one change takes on the node, from the object that is different to the kernel's answer."""

    def apply() -> None:
        policy.apply(node, policy.render_change(*rules.take_change()))

    one = pod(3)
    for number in range(CHANGES):
        labels = dict(one.labels) | {"app": f"app-{3 + number % 2 * 10}"}

        def relabel() -> None:
            index.set_pod("3", replace(one, labels=labels))  # noqa: B023 - called at once
            apply()

        yield "label", seconds_of(relabel)
    for kind in ("policy", "newcomer"):
        for number in range(CHANGES):
            extra = newcomer(number) if kind == "newcomer" else replace(a_policy(3), name="extra")

            def add_or_remove() -> None:
                index.set_policy((extra.namespace, extra.name), None if number % 2 else extra)  # noqa: B023
                apply()

            yield kind, seconds_of(add_or_remove)


def loaded(count: int, node: NodeKernel) -> tuple[dict[str, float], ClusterIndex, NodeRules]:
    """Load the policies; how long that takes, and how many gates there are."""
    index = index_of(count)
    rules = NodeRules(NODE, index)
    found = {"load": 0.0, "gates": 0.0, "isolating": 0.0}
    if count:
        everything = rules.everything()
        found["load"] = seconds_of(lambda: policy.load(node, everything))
        found["gates"] = float(len(everything.gates))
        found["isolating"] = float(len(index.isolating(pod(1), "ingress")))
    return found, index, rules


def main() -> None:
    """Measure, and hand the figures over."""
    counts, turns = [int(word) for word in sys.argv[1].split(",")], int(sys.argv[2])
    ends = {count: network(count) for count in counts}
    loads = {count: loaded(count, ends[count].node) for count in counts}
    serving = [process for one in ends.values() for process in serve(one.server)]
    traffic: list[dict[str, Any]] = []
    for number in range(turns):  # each count is the first one in its turn: who is first is faster
        order = [counts[(number + place) % len(counts)] for place in range(len(counts))]
        traffic.append({str(count): turn(ends[count].client) for count in order})
    for process in serving:
        os.kill(process, 9)
    costs = {}
    for count, (found, index, rules) in loads.items():
        costs[str(count)] = found
        if count:
            taken: dict[str, list[float]] = {"label": [], "policy": [], "newcomer": []}
            for kind, seconds in changes(ends[count].node, index, rules):
                taken[kind].append(seconds)
            found |= {kind: median(times[4:]) for kind, times in taken.items()}
    tell({"traffic": traffic[1:], "costs": costs})


if __name__ == "__main__":
    main()
