"""NetworkPolicies in one node's kernel, measured. Run inside a sandbox by bench/policy.py.

    policing COUNT,COUNT… REPEAT

    client 10.244.1.2 --- cni0 of the node --- server 10.244.1.3      two real pods of one bridge
    498 more pods, half of them on the node, are there for the policies only

A third of the policies isolate every pod of a namespace, the others one application; peers are applications,
namespaces and blocks, ports are numbers and ranges. The counts are measured in turns, all rounds in one network.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from agents.node_kernel import NodeKernel
from agents.node_rules import NodeRules
from agents.policy_index import ClusterIndex
from bench.support.common import median, seconds_of, tell
from bench.support.service_load import machine
from netfns import masquerade, policy
from netfns.masquerade import Masquerade
from netfns.policy_types import Block, Peer, Pod, Pods, Policy, Port, Requirement, Rule, Selector

PODS, NAMESPACES, APPLICATIONS, ON_NODE = 500, 10, 50, 250
ROUNDS, CONNECTIONS, CHANGES, SECONDS = 2500, 1000, 16, 1
CLIENT, SERVER, PORT = "10.244.1.2", "10.244.1.3", 8080
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


def network() -> tuple[NodeKernel, NodeKernel, NodeKernel]:
    """Client, node and server, the two pods on the node's bridge; its connections are tracked, as in any lab."""
    client, node, server = (machine(name) for name in ("client", "node", "server"))
    policy.prepare(node)
    node.run(["ip", "link", "add", "cni0", "type", "bridge"])
    node.run(["ip", "address", "add", "10.244.1.1/16", "dev", "cni0"])
    node.run(["ip", "link", "set", "cni0", "up"])
    for end, address in ((client, CLIENT), (server, SERVER)):
        device = f"to-{end.name}"
        node.run(["ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", end.name])
        node.run(["ip", "link", "set", device, "master", "cni0", "up"])
        end.run(["ip", "address", "add", f"{address}/16", "dev", "eth0"])
        end.run(["ip", "link", "set", "eth0", "up"])
    masquerade.apply(node, masquerade.render(Masquerade(("10.244.0.0/16",), ("192.168.50.21",))))
    return client, node, server


def serve(server: NodeKernel) -> int:
    """A process that echoes what comes on each connection, one after the other; its id."""
    listening = server.listen(PORT)
    child = os.fork()
    if child:
        listening.close()
        return child
    while True:
        connection, _ = listening.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := connection.recv(64):
                connection.send(data)


def connected(client: NodeKernel) -> socket.socket:
    """A connection to the server."""
    caller = client._namespaces.call(socket.socket)
    caller.settimeout(10.0)
    caller.connect((SERVER, PORT))
    return caller


def round_trips(client: NodeKernel) -> float:
    """The median time of a byte there and back, in seconds."""
    with connected(client) as caller:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def once() -> None:
            caller.send(b"x")
            caller.recv(1)

        return median([seconds_of(once) for _ in range(ROUNDS)])


def connections(client: NodeKernel) -> tuple[float, float]:
    """Connections a second, and the 99th percentile of the time of one, in seconds."""
    times = sorted(seconds_of(lambda: connected(client).close()) for _ in range(CONNECTIONS))
    return 1 / median(times), times[int(len(times) * 0.99)]


def throughput(client: NodeKernel, server: NodeKernel) -> float:
    """Bits a second over one connection."""
    listening = server.spawn(
        ["iperf3", "-s", "--forceflush", "-1", "-p", "8090"], stdout=subprocess.PIPE, text=True
    )
    assert listening.stdout
    while "listening" not in listening.stdout.readline():
        pass
    done = json.loads(client.run(["iperf3", "-c", SERVER, "-p", "8090", "-t", str(SECONDS), "-J"]))
    listening.communicate()
    return float(done["end"]["sum_received"]["bits_per_second"])


def changes(node: NodeKernel, index: ClusterIndex, rules: NodeRules) -> Iterator[tuple[str, float]]:
    """How long one change takes on the node, from the object that is different to the kernel's answer."""

    def apply() -> None:
        policy.apply(node, policy.render_change(*rules.take_change()))

    one = pod(3)
    for turn in range(CHANGES):
        labels = dict(one.labels) | {"app": f"app-{3 + turn % 2 * 10}"}

        def relabel() -> None:
            index.set_pod("3", replace(one, labels=labels))  # noqa: B023 - called at once
            apply()

        yield "label", seconds_of(relabel)
    extra = replace(a_policy(3), name="extra")
    for turn in range(CHANGES):

        def add_or_remove() -> None:
            index.set_policy((extra.namespace, extra.name), None if turn % 2 else extra)  # noqa: B023
            apply()

        yield "policy", seconds_of(add_or_remove)


def measured(count: int, client: NodeKernel, node: NodeKernel, server: NodeKernel) -> dict[str, float]:
    """All figures of one count, once."""
    index = index_of(count)
    rules = NodeRules(NODE, index)
    found: dict[str, float] = {"load": 0.0, "gates": 0.0, "isolating": 0.0}
    if count:
        everything = rules.everything()
        found["load"] = seconds_of(lambda: policy.load(node, everything))
        found["gates"] = float(len(everything.gates))
        found["isolating"] = float(len(index.isolating(pod(1), "ingress")))
    else:
        policy.remove(node)
    found["round_trip"] = round_trips(client)
    found["rate"], found["p99"] = connections(client)
    found["throughput"] = throughput(client, server)
    if count:
        taken: dict[str, list[float]] = {"label": [], "policy": []}
        for kind, seconds in changes(node, index, rules):
            taken[kind].append(seconds)
        found |= {kind: median(times[4:]) for kind, times in taken.items()}
    return found


def main() -> None:
    """Measure, and hand the figures over."""
    counts, repeat = [int(word) for word in sys.argv[1].split(",")], int(sys.argv[2])
    ends = network()
    serving = serve(ends[2])
    measured(0, *ends)  # warm
    rounds: list[dict[str, Any]] = [
        {str(count): measured(count, *ends) for count in counts} for _ in range(repeat)
    ]
    os.kill(serving, 9)
    tell({"rounds": rounds})


if __name__ == "__main__":
    main()
