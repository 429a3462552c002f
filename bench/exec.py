"""`true` in a pod, by the agents' own way in, with 1 and with 500 pods in the lab.

    topo.enter.Namespaces.run   a thread goes into the pod's namespaces, starts the process there, and comes home
    plain process               the same start without going anywhere: what any process costs
    ip netns exec               the usual way, with as many named namespaces as pods
    Mininet Node.cmd            a line written to the host's shell

Aim: 1.2 times a plain process start, the same with 500 pods.
"""

import json
import os
import subprocess
import sys

from bench.support.common import Report, arguments, counts, median, milliseconds
from bench.support.labs import deploy, namespaces_command, pod_names, running_lab
from labs.lab import Lab
from topo.enter import environment
from topo.rootfs import CODE

NODES, ROUNDS = 10, 200
WAYS = ("enter", "plain", "netns", "mininet")


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument(
        "--counts", type=counts, default=[1, 500], help="how many pods in the lab (default 1,500)"
    )
    options = parser.parse_args()
    report = Report("exec")
    rows = []
    for count in options.counts:
        with running_lab(NODES) as lab:
            deploy(lab, "pods", count, "registry.k8s.io/pause")
            times = [measure(lab, count) for _ in range(options.repeat)]
        values = {way: median([run[way] for run in times]) for way in WAYS}
        cells = [f"{milliseconds(values[way])} ({values[way] / values['plain']:.2f} x)" for way in WAYS]
        rows.append([str(count), *cells])
    header = ["pods", "enter the pod", "plain process", "ip netns exec", "Mininet cmd"]
    report.table("Starting `true` and waiting for its end (of a plain process start)", header, rows)
    if options.save:
        report.save()
    return 0


def measure(lab: Lab, count: int) -> dict[str, float]:
    """The medians in seconds, measured by bench.support.entering beside the lab's first process."""
    with lab.api() as client:
        name = pod_names(client, "pods")[0]
    _, [pidfd] = lab.ask(do="enter", machine=f"pod/{name}", container="main")
    code = [sys.executable, "-m", "bench.support.entering", str(pidfd), str(count), str(ROUNDS)]
    argv = [*namespaces_command(lab), "env", f"PYTHONPATH={CODE}", *code]
    try:
        done = subprocess.run(
            argv, pass_fds=[pidfd], capture_output=True, text=True, check=False, env=environment()
        )
    finally:
        os.close(pidfd)
    if done.returncode:
        raise RuntimeError(f"bench.support.entering: {done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    raise SystemExit(main())
