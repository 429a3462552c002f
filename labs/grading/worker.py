"""One submission, graded in a lab of its own: what a worker process does. See jobs.py, which starts it.

    argument          {"lab": FOLDER, "name": LAB NAME, "submission": PATH, "time_limit": SECONDS}
    standard output   {"result": …}  as each check ends
                      {"report": …}  at the end, or
                      {"fault": …}   what went wrong that is not the submission's fault

A process of its own, for a lab is made by one with a single thread, and because it can be killed when it does not end.

Invariant: the submission's code runs only where run_checks puts it, and nothing is graded in a lab that runs as the
host's root.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from labs import launch
from labs.checking.run import run_checks
from labs.course import definition
from labs.errors import LabError
from labs.lab import Lab
from labs.state import StateFolder


def main() -> int:
    """Grade, and tell."""
    settings = json.loads(sys.argv[1])
    try:
        _grade(settings)
    except (LabError, OSError) as error:
        _tell(fault=str(error))
        return 1
    return 0


def _grade(settings: dict[str, Any]) -> None:
    lab_definition = definition.load(Path(settings["lab"]))
    folder = StateFolder.of(settings["name"])
    info = launch.up(folder, lab_definition.cluster, progress=lambda _: None)
    lab = Lab.attach(folder.name)
    try:
        if info["isolation"] != "user-namespace":
            raise LabError(
                "no user namespace can be made here, so nothing is graded: see `minipod up --help`"
            )
        report = run_checks(
            lab_definition,
            lab,
            Path(settings["submission"]),
            on_result=lambda result: _tell(result=asdict(result)),
            time_limit=settings["time_limit"],
        )
        _tell(report=report.to_json())
    finally:
        lab.down()


def _tell(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
