"""One layout of Services in one node's kernel, measured. Run inside a sandbox by bench/services.py.

service_load LAYOUT SERVICES      LAYOUT: a proxy mode, or kube-proxy (its own nftables layout)
service_load nodes NODES SERVICES

client 10.0.1.2 --- node --- server 10.0.2.2: the endpoints of the last service, on three ports
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.node_kernel import NodeKernel
from bench.support import kube_proxy_layout
from bench.support.common import median, seconds_of, tell
from bench.support.sinking import bytes_a_second, forked, swallow
from netfns import PROXY_MODES
from netfns.proxy_mode import proxy_mode
from netfns.service_types import Endpoint, Service, ServicePort, ServiceProxy
from netfns.transactions import transactions
from topo.enter import NETWORK, Namespaces
from topo.nfnetlink import Nfnetlink, compile_elements

CHANGES, CONNECTIONS = 20, 2000
TURNS = 150  # of throughput, each way
SERVER = "10.0.2.2"
FRAME = ServiceProxy("node-0", ("192.168.50.21",), ("10.244.0.0/16",), ("10.96.0.0/16",))
Plan = tuple[Callable[[], None], Callable[[int], None], Callable[[int], None]]  # load, change, add or remove


def services(count: int) -> tuple[Service, ...]:
    """Services of three endpoints; those of the last one are the server's."""
    found = []
    for number in range(count):
        pods = [(number * 3 + index) for index in range(3)]
        endpoints = tuple(Endpoint(f"10.244.{p % 250}.{p // 250 + 2}", 8080, f"node-{p % 50}") for p in pods)
        if number == count - 1:
            endpoints = tuple(Endpoint(SERVER, port) for port in (8080, 8081, 8082))
        found.append(_service(number, endpoints))
    return tuple(found)


def _service(number: int, endpoints: tuple[Endpoint, ...]) -> Service:
    address = f"10.96.{number // 250}.{number % 250 + 1}"
    return Service("default", f"web-{number}", (address,), (ServicePort("http", "TCP", 80, 0, endpoints),))


def machine(name: str) -> NodeKernel:
    """A machine with nothing but a network of its own."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    kernel = NodeKernel(name, Namespaces([(descriptor, NETWORK)]))
    kernel.run(["ip", "link", "set", "lo", "up"])
    return kernel


def network() -> tuple[NodeKernel, NodeKernel, NodeKernel]:
    """Client, node and server."""
    client, node, server = (machine(name) for name in ("client", "node", "server"))
    for number, end in ((1, client), (2, server)):
        node.run(
            ["ip", "link", "add", f"to{number}", "type", "veth", "peer", "name", "eth0", "netns", end.name]
        )
        node.run(["ip", "address", "add", f"10.0.{number}.1/24", "dev", f"to{number}"])
        node.run(["ip", "link", "set", f"to{number}", "up"])
        end.run(["ip", "address", "add", f"10.0.{number}.2/24", "dev", "eth0"])
        end.run(["ip", "link", "set", "eth0", "up"])
        end.run(["ip", "route", "add", "default", "via", f"10.0.{number}.1"])
    node.sysctl("net.ipv4.ip_forward", "1")
    return client, node, server


def plan_of(layout: str, node: NodeKernel, every: tuple[Service, ...]) -> Plan:
    """How a layout is loaded, how one endpoint of a service is changed to and fro, and a service added and removed."""
    first = every[0]
    other = replace(
        first,
        ports=(
            replace(first.ports[0], endpoints=(Endpoint("10.244.9.9", 8080), *first.ports[0].endpoints[1:])),
        ),
    )
    new = replace(_service(len(every), first.ports[0].endpoints), name="new")
    turns = ((first, other), (other, first))
    if layout == "kube-proxy":
        return (
            lambda: node.nft(kube_proxy_layout.load(every)),
            lambda turn: node.nft(kube_proxy_layout.change(*turns[turn % 2])),
            lambda turn: node.nft(
                kube_proxy_layout.remove(new) if turn % 2 else kube_proxy_layout.add([new])
            ),
        )
    mode = proxy_mode(layout)
    assert mode.render_change is not None
    render_change = mode.render_change

    def apply(before: tuple[Service, ...], now: tuple[Service, ...]) -> None:
        text = render_change(replace(FRAME, services=before), replace(FRAME, services=now))
        mode.apply(node, text)

    return (
        lambda: mode.apply(node, mode.render(replace(FRAME, services=every))),
        lambda turn: apply((turns[turn % 2][0],), (turns[turn % 2][1],)),
        lambda turn: apply((new,), ()) if turn % 2 else apply((), (new,)),
    )


def connecting(client: NodeKernel, *targets: tuple[str, int]) -> list[float]:
    """The median time of a connect to each target in seconds, measured in turns."""
    times: list[list[float]] = [[] for _ in targets]
    for _ in range(CONNECTIONS):
        for place, target in zip(times, targets, strict=True):
            caller = client._namespaces.call(socket.socket)
            caller.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )  # no waiting afterwards
            begun = time.perf_counter()
            caller.connect(target)
            place.append(time.perf_counter() - begun)
            caller.close()
    return [median(place) for place in times]


def serve(server: NodeKernel) -> None:
    """Take every connection to the three ports, and end it."""
    for port in (8080, 8081, 8082):
        listening = server.listen(port)
        threading.Thread(target=_accept, args=(listening,), daemon=True).start()


def _accept(listening: socket.socket) -> None:
    while True:
        listening.accept()[0].close()


def slab() -> int:
    """Kernel memory in use for objects and for sets' tables, in bytes."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(lines[name].split()[0]) for name in ("Slab", "VmallocUsed", "Percpu")) * 1024


def throughput(client: NodeKernel, address: str, port: int) -> float:
    """Bits a second over one new TCP connection, in a short turn."""
    with client._namespaces.call(socket.socket) as caller:
        caller.connect((address, port))
        return 8 * bytes_a_second(caller)


def one_layout(layout: str, count: int) -> dict[str, Any]:
    """All figures of one layout."""
    client, node, server = network()
    serve(server)
    every = services(count)
    if layout != "kube-proxy":
        proxy_mode(layout).prepare(node)
    load, change, add = plan_of(layout, node, every)
    before = slab()
    result = {"load": seconds_of(load)}
    result["memory"] = slab() - before
    changes = CHANGES if layout != "kube-proxy" or count < 5000 else 4
    result["change"] = median([seconds_of(lambda turn=turn: change(turn)) for turn in range(changes)])  # type: ignore[misc]
    adds = [seconds_of(lambda turn=turn: add(turn)) for turn in range(changes)]  # type: ignore[misc]
    result["add"] = median(adds[::2])
    last = every[-1].cluster_ips[0]
    result["direct"], result["connect"] = connecting(client, (SERVER, 8080), (last, 80))
    return result


def many_nodes(nodes: int, count: int) -> dict[str, Any]:
    """Full loads of all nodes: by render and apply, and by replaying one compiled batch; and one endpoint changed."""
    mode = proxy_mode("nftables")
    every = services(count)
    ours, theirs = ([machine(f"{kind}{number}") for number in range(nodes)] for kind in ("ours", "theirs"))

    def by_agents() -> None:
        for number, node in enumerate(ours):
            mode.apply(node, mode.render(replace(FRAME, node=f"node-{number}", services=every)))

    skeleton, *rest = transactions(mode.render(replace(FRAME, node="nobody", services=every)))
    batches: list[list[bytes]] = []

    def by_replay() -> None:
        for node in theirs:
            node.nft(skeleton)
            netlink = node._namespaces.call(Nfnetlink)
            if not batches:
                compiled = [compile_elements(text, netlink.type_of) for text in rest]
                batches.extend(batch for batch in compiled if batch is not None)
                assert len(batches) == len(rest)
            for batch in batches:
                netlink.send(batch)
            netlink.close()

    machine("warm").nft(skeleton)
    replayed = seconds_of(by_replay)
    loaded = seconds_of(by_agents)
    first = every[0]
    other = replace(first, ports=(replace(first.ports[0], endpoints=(Endpoint("10.244.9.9", 8080),) * 1),))
    assert mode.render_change is not None
    render_change = mode.render_change

    def change(before: Service, now: Service) -> None:
        for number, node in enumerate(ours):
            frame = replace(FRAME, node=f"node-{number}")
            mode.apply(
                node, render_change(replace(frame, services=(before,)), replace(frame, services=(now,)))
            )

    change(first, other)
    change(other, first)
    changed = median([seconds_of(lambda: change(first, other)), seconds_of(lambda: change(other, first))])
    return {"loaded": loaded, "replayed": replayed, "changed": changed}


def flows() -> dict[str, Any]:
    """Throughput through a ClusterIP against direct, in turns."""
    client, node, server = network()
    mode = proxy_mode("nftables")
    mode.prepare(node)
    service = _service(0, (Endpoint(SERVER, 8090),))
    frame = replace(FRAME, pod_cidrs=("10.0.0.0/22",))  # the client is a pod, and keeps its address
    mode.apply(node, mode.render(replace(frame, services=(service,))))
    serving = forked(server.listen(8090), swallow)
    pairs = []
    for _ in range(TURNS):
        direct = throughput(client, SERVER, 8090)
        pairs.append((direct, throughput(client, service.cluster_ips[0], 80)))
    os.kill(serving, signal.SIGKILL)
    direct, through = (median([pair[side] for pair in pairs]) for side in (0, 1))
    share = median([by_service / straight for straight, by_service in pairs])
    return {"direct": direct, "through": through, "share": share, "turns": TURNS}


def main() -> None:
    """Measure what the command line asks for, and tell it."""
    layout, *numbers = sys.argv[1:]
    if layout == "nodes":
        tell(many_nodes(*map(int, numbers)))
    elif layout == "flows":
        tell(flows())
    else:
        assert layout in (*PROXY_MODES, "kube-proxy")
        tell(one_layout(layout, int(numbers[0])))


if __name__ == "__main__":
    main()
