"""N pods over ten nodes against a plain Mininet net of N hosts.

    Deployment of N written ──> API, controllers, scheduler, kubelets ──> N pods Running (seen by a watch)
    Mininet: N hosts and one switch ──> started

A pod has network, pid, mount, UTS and IPC namespaces of its own, its own file tree and resolv.conf, addresses and
routes of both families and a running container. A Mininet host has a network namespace and a shell. The container
only waits (pause) unless `--image` names another: a server in Python, such as that of `nginx`, costs a fork of the
interpreter more. Rows of `wiring` compare what the
kubelet does to plug a pod in (network namespace, veth pair, bridge port, address, route) with a C program that says
the same by netlink.

Aims: 20 times faster than Mininet's hosts (10 at least), wiring at most twice the C program, taking down in
near-constant time, at most 1 MiB of memory for an idle pod over the kernel's own.
"""

from dataclasses import dataclass

from bench.support import wiring
from bench.support.common import (
    Report,
    arguments,
    counts,
    in_sandbox,
    median,
    milliseconds,
    seconds_of,
    settle,
)
from bench.support.labs import Memory, deploy, memory, running_lab, undeploy

NODES = 10
IMAGE = "registry.k8s.io/pause"  # what an idle pod runs
WARM_UP = 20  # pods, whose making loads and adapts code


@dataclass(frozen=True)
class Run:
    """One run with N pods beside one with N Mininet hosts; times in seconds."""

    pods: float
    delete: float
    down: float
    memory: Memory
    hosts: float
    hosts_down: float


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument(
        "--counts", type=counts, default=[50, 200, 500], help="how many pods (default 50,200,500)"
    )
    parser.add_argument("--image", default=IMAGE, help=f"what the pods run (default {IMAGE})")
    options = parser.parse_args()
    report = Report("pods")
    runs: dict[int, list[Run]] = {count: [] for count in options.counts}
    for _ in range(options.repeat):  # in turns: a slow minute of the machine is nobody's alone
        for count in options.counts:
            runs[count].append(measure(count, options.image))
    started(report, runs)
    taken_down(report, runs)
    remembered(report, runs)
    wiring.compare(report, options.counts, options.repeat)
    if options.save:
        report.save()
    return 0


def measure(count: int, image: str) -> Run:
    """A lab with `count` pods, made, deleted, made again and ended with the lab; and the Mininet net."""
    with running_lab(NODES) as lab:
        deploy(lab, "warm-up", WARM_UP, image)
        undeploy(lab, "warm-up")
        settle()
        before = memory(lab)
        settle()
        pods = deploy(lab, "pods", count, image)
        settle()
        used = memory(lab) - before
        delete = undeploy(lab, "pods")
        deploy(lab, "pods", count, image)
        down = seconds_of(lab.down)
    settle()
    net = in_sandbox("bench.support.plain_mininet", "star", str(count))
    settle()
    return Run(pods, delete, down, used, net["start"], net["stop"])


def started(report: Report, runs: dict[int, list[Run]]) -> None:
    """From the object written to all Running."""
    rows = []
    for count, several in runs.items():
        pod = median([run.pods for run in several]) / count
        host = median([run.hosts for run in several]) / count
        rows.append([str(count), milliseconds(pod), milliseconds(host), f"{host / pod:.1f} x"])
    title = f"Deployment written -> all Running, {NODES} nodes; Mininet hosts on one switch"
    report.table(title, ["pods", "a pod", "a Mininet host", "faster"], rows)


def taken_down(report: Report, runs: dict[int, list[Run]]) -> None:
    """How long it takes until they are gone."""
    rows = []
    for count, several in runs.items():
        down, delete, stop = (
            median([run.down for run in several]),
            median([run.delete for run in several]),
            median([run.hosts_down for run in several]),
        )
        rows.append([str(count), f"{down:.3f} s", f"{delete:.3f} s", f"{stop:.3f} s", f"{stop / down:.0f} x"])
    report.table(
        "Taken down", ["pods", "lab down", "Deployment deleted", "Mininet stop", "down is faster"], rows
    )


def remembered(report: Report, runs: dict[int, list[Run]]) -> None:
    """Memory for each idle pod."""
    rows = []
    for count, several in runs.items():
        pod = median([run.memory.pods for run in several]) / count
        lab = median([run.memory.lab for run in several]) / count
        machine = median([run.memory.machine for run in several]) / count
        cells = (pod, lab, machine - pod - lab, machine)
        rows.append([str(count), *(f"{kib:.0f} KiB" for kib in cells)])
    title = (
        "Memory a pod: private to its processes; in the lab's own; the kernel's (with page tables and tmpfs)"
    )
    report.table(title, ["pods", "processes", "lab", "kernel", "all (MemAvailable)"], rows)


if __name__ == "__main__":
    raise SystemExit(main())
