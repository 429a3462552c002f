"""What a student has done so far: one small file beside their labs.

    $MINIPOD_HOME/progress.json   {"current": "06-cluster-ip", "labs": {"06-cluster-ip": {…}}}

Invariant: the file is replaced whole, so an interruption leaves the one before.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any

from labs.checking.report import Report
from labs.errors import LabError
from labs.state import home

FILE = "progress.json"


@dataclass
class Progress:
    """One lab's. folder: the student's working folder; cluster: the name of the running lab that it uses.

    best: the most points so far; hints: how many were told, by check; last: the last report, as JSON.
    """

    folder: str
    cluster: str
    attempts: int = 0
    best: float = 0.0
    hints: dict[str, int] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)

    def take(self, report: Report) -> None:
        """Note an attempt."""
        self.attempts += 1
        self.best = max(self.best, report.points)
        self.last = report.to_json()

    @property
    def report(self) -> Report | None:
        """The last report, if there was one."""
        return Report.from_json(self.last) if self.last else None


def load() -> tuple[str, dict[str, Progress]]:
    """The name of the lab that was used last ("" for none), and every lab's progress. Raises LabError."""
    path = home() / FILE
    try:
        data = json.loads(path.read_text())
        return str(data["current"]), {name: Progress(**fields) for name, fields in data["labs"].items()}
    except FileNotFoundError:
        return "", {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(f"{path}: {error}: move it away; your work is in your own folders") from None


def save(current: str, labs: dict[str, Progress]) -> None:
    """Write it, whole. Raises LabError."""
    path = home() / FILE
    text = json.dumps(
        {"current": current, "labs": {name: asdict(one) for name, one in labs.items()}}, indent=1
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(f"{FILE}.{os.getpid()}")
        beside.write_text(f"{text}\n")
        beside.replace(path)
    except OSError as error:
        raise LabError(
            f"{path}: {error.strerror}: set MINIPOD_HOME to a folder that you may write to"
        ) from None


def note(name: str, one: Progress) -> None:
    """Write one lab's progress, and that it was used last."""
    _, labs = load()
    save(name, {**labs, name: one})
