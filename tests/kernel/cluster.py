"""Fresh namespaces for the kernel tests, and in them the smallest network that shows every path.

outside 203.0.113.10 --- (router, .1 of each network) --- underlay 192.168.50.0/24
                                                            |            |
          lb1 .11                                  worker1 .21      worker2 .22
                                                   cni0 10.244.1.1  cni0 10.244.2.1
                                                    |      |          |
                                                 a1 .2   a2 .3      b1 .2
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netfns import bridge
from netfns.kernel import CommandError

HELPER = Path(__file__).with_name("sandbox.py")
REPOSITORY = HELPER.parent.parent.parent
NODES = {"worker1": 1, "worker2": 2}
Places = Mapping[str, tuple[str, int]]  # of a pod: its node, and the last part of its addresses
PODS: Places = {"a1": ("worker1", 2), "a2": ("worker1", 3), "b1": ("worker2", 2)}
LB1 = ("192.168.50.11", "fd00:50::11")
OUTSIDE = ("203.0.113.10", "2001:db8:113::10")
# What the router sends to worker1: services' cluster addresses, and some that no machine has.
TO_WORKER1 = ("10.96.0.0/16", "fd00:96::/112", "192.0.2.0/24", "2001:db8:2::/64")


class Sandbox:
    """One set of fresh namespaces, held by a helper process (sandbox.py). Close it and all is gone."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            ["unshare", "-Urnmp", "--fork", "--kill-child", "--mount-proc", sys.executable, str(HELPER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the helper process ended: are unprivileged user namespaces allowed here?"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@dataclass(frozen=True)
class Machine:
    """A netfns.kernel.Kernel for one network namespace of a sandbox ("" is the sandbox's own)."""

    sandbox: Sandbox
    name: str

    def run(self, argv: Sequence[str], stdin: str = "") -> str:
        done = self.sandbox.ask(do="run", netns=self.name, argv=list(argv), stdin=stdin)
        if done["status"] != 0:
            raise CommandError(argv, done["status"], done["stderr"])
        return str(done["stdout"])

    def ip(self, batch: str) -> None:
        self.run(["ip", "-batch", "-"], batch)

    def bridge(self, batch: str) -> None:
        self.run(["bridge", "-batch", "-"], batch)

    def nft(self, ruleset: str) -> None:
        self.run(["nft", "-f", "-"], ruleset)

    def sysctl(self, key: str, value: str) -> None:
        self.run(["sysctl", "-qw", f"{key}={value}"])

    def start(self, argv: Sequence[str]) -> None:
        """Start a command that runs as long as the sandbox, in the repository's folder."""
        self.sandbox.ask(do="spawn", netns=self.name, argv=list(argv), cwd=str(REPOSITORY))

    def listen(self, address: str, port: int, protocol: str = "TCP") -> None:
        """Answer every client with this machine's name and the client's address."""
        self.sandbox.ask(
            do="listen", netns=self.name, name=self.name, address=address, port=port, protocol=protocol
        )

    def connect(
        self, address: str, port: int, protocol: str = "TCP", wait: float = 5.0, source_port: int = 0
    ) -> str:
        """What came back: "NAME CLIENT-ADDRESS", or "refused", "timeout" or another error.

        UDP from the same source port is the same flow.
        """
        answer = self.sandbox.ask(
            do="connect",
            netns=self.name,
            address=address,
            port=port,
            protocol=protocol,
            wait=wait,
            source_port=source_port,
        )
        return str(answer.get("reply") or answer["error"])


def new_machine(sandbox: Sandbox, name: str) -> Machine:
    Machine(sandbox, "").run(["ip", "netns", "add", name])
    machine = Machine(sandbox, name)
    machine.ip("link set lo up\n")
    return machine


def pod_addresses(name: str, pods: Places = PODS) -> tuple[str, str]:
    node, number = pods[name]
    return f"10.244.{NODES[node]}.{number}", f"fd00:244:0:{NODES[node]}::{number}"


def node_addresses(name: str) -> tuple[str, str]:
    return f"192.168.50.2{NODES[name]}", f"fd00:50::2{NODES[name]}"


def pod_cidrs(node: str) -> tuple[str, str]:
    return f"10.244.{NODES[node]}.0/24", f"fd00:244:0:{NODES[node]}::/64"


def build(sandbox: Sandbox, pods: Places = PODS) -> dict[str, Machine]:
    """Make the network of the picture above, or one with other pods, without any network function: pods
    reach their own node's pods only.
    """
    router = Machine(sandbox, "")
    router.sysctl("net.ipv4.ip_forward", "1")
    router.sysctl("net.ipv6.conf.all.forwarding", "1")
    router.ip(
        "link add br0 type bridge\nlink set br0 up\n" + _addresses("br0", "192.168.50.1/24", "fd00:50::1/64")
    )
    machines = {name: new_machine(sandbox, name) for name in ("outside", "lb1", *NODES, *pods)}
    router.ip(
        "link add out type veth peer name eth0 netns outside\nlink set out up\n"
        + _addresses("out", "203.0.113.1/24", "2001:db8:113::1/64")
    )
    machines["outside"].ip(_port(f"{OUTSIDE[0]}/24", f"{OUTSIDE[1]}/64", "203.0.113.1", "2001:db8:113::1"))
    router.ip("link add lb1 type veth peer name eth0 netns lb1\nlink set lb1 master br0 up\n")
    machines["lb1"].ip(_port(f"{LB1[0]}/24", f"{LB1[1]}/64", "192.168.50.1", "fd00:50::1"))
    for node in NODES:
        router.ip(f"link add {node} type veth peer name eth0 netns {node}\nlink set {node} master br0 up\n")
        v4, v6 = node_addresses(node)
        machines[node].ip(_port(f"{v4}/24", f"{v6}/64", "192.168.50.1", "fd00:50::1"))
        bridge.apply_bridge(machines[node], bridge.Bridge(pod_cidrs(node)))
    for prefix in TO_WORKER1:
        router.ip(f"route add {prefix} via {node_addresses('worker1')[':' in prefix]}\n")
    for pod, (node, _) in pods.items():
        v4, v6 = pod_addresses(pod, pods)
        number = NODES[node]
        machines[node].ip(
            f"link add {pod} mtu 1450 type veth peer name eth0 mtu 1450 netns {pod}\n"
            f"link set {pod} master cni0 up\nlink set {pod} type bridge_slave hairpin on\n"
        )
        machines[pod].ip(_port(f"{v4}/24", f"{v6}/64", f"10.244.{number}.1", f"fd00:244:0:{number}::1"))
    return machines


def _port(v4: str, v6: str, gateway: str, gateway6: str) -> str:
    return (
        "link set eth0 up\n" + _addresses("eth0", v4, v6) + f"route add default via {gateway}\n"
        f"route add default via {gateway6}\n"
    )


def _addresses(device: str, v4: str, v6: str) -> str:
    return f"address add {v4} dev {device}\naddress add {v6} dev {device} nodad\n"
