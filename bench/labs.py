"""What a student waits for: `minipod lab start` until the lab is Ready, and `lab check` of a solution and a starter.

    lab start ──> cluster, manifests, pods Ready, the file in its seat
    lab check ──> the file in its seat, every check that students see, the report

Aims, on two cores: 5 seconds for a start, 10 for a check.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.support.common import ROOT, Report, arguments, median, settle
from labs.course.definition import LabDefinition, all_labs
from labs.course.starter import solution, starter

START, CHECK = 5.0, 10.0  # seconds, the aims


def main() -> int:
    """Measure and print; 1 when an aim was missed."""
    options = arguments(__doc__.splitlines()[0]).parse_args()
    report = Report("labs")
    rows, missed = [], False
    for lab in all_labs():
        runs = [measure(lab) for _ in range(options.repeat)]
        started, right, wrong = (median(times) for times in zip(*runs, strict=True))
        missed |= started > START or max(right, wrong) > CHECK
        rows.append([lab.name, f"{started:.1f} s", f"{right:.1f} s", f"{wrong:.1f} s"])
    header = ["", "start", "check, solution", "check, starter"]
    report.table(
        f"From the start of the command; aims: start {START:.0f} s, check {CHECK:.0f} s", header, rows
    )
    if options.save:
        report.save()
    return int(missed)


def measure(lab: LabDefinition) -> tuple[float, float, float]:
    """Seconds for a start, and for a check of the solution and of the starter."""
    with tempfile.TemporaryDirectory(prefix="minipod-bench-") as folder:
        work = Path(folder, lab.name)
        try:
            started = _timed(folder, "start", lab.name)
            seconds = []
            for text in (solution, starter):
                for exercise in lab.exercises:
                    (work / exercise.file).write_text(text(lab, exercise))
                settle()
                seconds.append(_timed(folder, "check", lab.name))
            return started, seconds[0], seconds[1]
        finally:
            _minipod(folder, "down", "--all")


def _timed(folder: str, *words: str) -> float:
    begun = time.perf_counter()
    _minipod(folder, "lab", *words)
    return time.perf_counter() - begun


def _minipod(folder: str, *words: str) -> None:
    """Run a command; 1 is a check that failed. Raises CalledProcessError for anything else."""
    environment = {**os.environ, "MINIPOD_HOME": f"{folder}/home", "PYTHONPATH": str(ROOT)}
    environment.pop("MINIPOD_LAB", None)
    argv = [sys.executable, "-P", "-m", "labs.cli", *words]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise subprocess.CalledProcessError(done.returncode, argv, done.stdout, done.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
