"""Plugging pods in, as the kubelet does it, against bench/support/floor.c: the same kernel objects from C.

Both make, for each of N pods, a network namespace, a veth pair between it and a node's bridge (ten nodes), loopback up,
an address and a default route; both run in a sandbox of their own, in turns. Run inside one: `… wiring N`.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agents.node_kernel import NodeKernel
from bench.support.common import Report, compiled, in_sandbox, median, milliseconds, settle, tell
from netfns import bridge
from topo import syscalls
from topo.enter import NETWORK, Namespaces
from topo.netlink import Rtnetlink, compile_batch

NODES = 10
FLOOR = Path(__file__).with_name("floor.c")


def compare(report: Report, counts: list[int], repeat: int) -> None:
    """Add the table to a report; says so when there is no C compiler."""
    with tempfile.TemporaryDirectory(prefix="minipod-bench-") as folder:
        floor = compiled(FLOOR, Path(folder))
        rows = []
        for count in counts:
            ours, theirs = [], []
            for _ in range(repeat):
                ours.append(in_sandbox("bench.support.wiring", str(count))["seconds"] / count)
                settle()
                if floor:
                    theirs.append(_run_floor(floor, count) / count)
                    settle()
            row = [str(count), milliseconds(median(ours))]
            both = [milliseconds(median(theirs)), f"{median(ours) / median(theirs):.2f} x"]
            rows.append([*row, *(both if floor else ["no C compiler (cc)", "-"])])
    title = "Wiring alone: namespace, veth pair, bridge port, address, route"
    report.table(title, ["pods", "a pod", "C floor", "ratio"], rows)


def _run_floor(program: Path, count: int) -> float:
    """Seconds, as the C program itself says, in fresh namespaces."""
    argv = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"]
    done = subprocess.run(
        [*argv, str(program), str(count), str(NODES)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    """Plug N pods in, by what the kubelet calls; tell the seconds."""
    count = int(sys.argv[1])
    nodes = [_node(number) for number in range(NODES)]
    begun = time.perf_counter()
    for number in range(count):
        node, plan = nodes[number % NODES]
        _plug(node, plan, number)
    tell({"seconds": time.perf_counter() - begun})


def _node(number: int) -> tuple[Rtnetlink, bridge.Bridge]:
    syscalls.unshare(syscalls.CLONE_NEWNET)
    plan = bridge.Bridge((f"10.244.{number}.0/24",))
    bridge.apply_bridge(NodeKernel(f"node{number}", Namespaces.of_thread(NETWORK)), plan)
    return Rtnetlink(), plan


def _plug(node: Rtnetlink, plan: bridge.Bridge, number: int) -> None:
    """What the kubelet renders and topo.pod_runtime does with it."""
    address = plan.gateways[0].replace(".1/24", f".{number // NODES + 2}")
    text = bridge.render(
        plan, bridge.Attachment(f"default/pod-{number}", f"uid-{number}", os.getpid(), (address,))
    )
    syscalls.unshare(syscalls.CLONE_NEWNET)
    pod = Rtnetlink()
    for rtnetlink, batch in ((node, text.node), (pod, text.pod), (node, text.port)):
        rtnetlink.send(compile_batch(batch) or ())
    pod.close()


if __name__ == "__main__":
    main()
