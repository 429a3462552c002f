"""`minipod up` with three nodes until a service name resolves in a pod, against a bare Mininet net of its machines.

    minipod up ──> all Ready ──> Pod written ──> `getent hosts kubernetes.default` in it gives an address
    Mininet: the same hosts, router and switches ──> started

Aim: at most 15 times as long.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.support.common import ROOT, Report, arguments, in_sandbox, median, settle
from bench.support.labs import DEADLINE, PODS, deployment
from labs.lab import Lab
from labs.state import StateFolder

WORKERS = 2
NAME = "kubernetes.default"


def main() -> int:
    """Measure and print."""
    options = arguments(__doc__.splitlines()[0]).parse_args()
    report = Report("up")
    runs = []
    for _ in range(options.repeat):
        up, resolved = measure()
        settle()
        net = in_sandbox("bench.support.plain_mininet", "lab", str(WORKERS))
        settle()
        runs.append((up, resolved, net["start"]))
    up, resolved, mininet = (median(times) for times in zip(*runs, strict=True))
    rows = [
        ["minipod up returns", f"{up:.2f} s", f"{up / mininet:.1f} x"],
        [f"{NAME} resolves in a pod", f"{resolved:.2f} s", f"{resolved / mininet:.1f} x"],
        ["bare Mininet net of the same machines", f"{mininet:.2f} s", "1.0 x"],
    ]
    report.table(f"{WORKERS + 1} nodes, from the start of the command", ["", "after", "of Mininet"], rows)
    if options.save:
        report.save()
    return 0


def measure() -> tuple[float, float]:
    """Seconds until the command has returned, and until the name resolves."""
    with tempfile.TemporaryDirectory(prefix="minipod-bench-") as home:
        environment = {**os.environ, "MINIPOD_HOME": home, "PYTHONPATH": str(ROOT)}
        begun = time.perf_counter()
        argv = [sys.executable, "-P", "-m", "labs.cli", "up", "--name", "bench", "--workers", str(WORKERS)]
        subprocess.run(argv, check=True, capture_output=True, env=environment)
        up = time.perf_counter() - begun
        folder = StateFolder("bench", Path(home, "bench"))
        lab = Lab(folder, folder.read())
        try:
            _resolve(lab)
            return up, time.perf_counter() - begun
        finally:
            lab.down()


def _resolve(lab: Lab) -> None:
    """Start a pod and ask in it until there is an answer. Raises TimeoutError."""
    template = deployment("asker", 1, "registry.k8s.io/pause")["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asker"}, "spec": template["spec"]}
    deadline = time.monotonic() + DEADLINE
    with lab.api() as client:
        client.request("POST", PODS, pod)
        while client.request("GET", f"{PODS}/asker")["status"]["phase"] != "Running":
            _not_after(deadline)
    while lab.exec("pod/asker", ["getent", "hosts", NAME]).status:
        _not_after(deadline)


def _not_after(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(f"{NAME} does not resolve after {DEADLINE:.0f} s")


if __name__ == "__main__":
    raise SystemExit(main())
