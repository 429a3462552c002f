"""Results as values: what a terminal, the grader and a notebook show, each in its way.

    Report ── results: CheckResult ── story: Story, when it did not pass
           └─ notes: what is no single check's matter, such as a file that does not parse

Invariant: a check that did not pass says why, in its story or in the report's notes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

VERDICTS = ("passed", "failed", "timeout", "error")
VISIBILITIES = ("visible", "hidden", "after_due_date", "after_published")  # Gradescope's words


@dataclass(frozen=True)
class Story:
    """Why a check did not pass.

    did: what was done, in order. expected, saw: what should have come of it, and what did. rule: where the packet went
    and which rule it matched last, "" when there was no packet. look: where in the guide to read on.
    """

    did: tuple[str, ...]
    expected: str
    saw: str
    rule: str = ""
    look: str = ""


@dataclass(frozen=True)
class CheckResult:
    """One check. verdict is one of VERDICTS ("error": the check itself went wrong); points what it earned.

    hints: from vague to plain; whoever shows results decides how many. seconds: how long it took.
    """

    name: str
    title: str
    verdict: str
    points: float
    max_points: float
    visibility: str = "visible"
    story: Story | None = None
    hints: tuple[str, ...] = ()
    seconds: float = 0.0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CheckResult":
        """The inverse of `dataclasses.asdict`."""
        story = data["story"] and Story(**{**data["story"], "did": tuple(data["story"]["did"])})
        return cls(**{**data, "story": story, "hints": tuple(data["hints"])})


@dataclass(frozen=True)
class Report:
    """The checks of one submission. lab: the course's lab; submission: what was checked; seconds: how long it took."""

    lab: str
    title: str
    submission: str
    results: tuple[CheckResult, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def points(self) -> float:
        """What was earned."""
        return sum(result.points for result in self.results)

    @property
    def max_points(self) -> float:
        """What could have been."""
        return sum(result.max_points for result in self.results)

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return bool(self.results) and all(result.verdict == "passed" for result in self.results)

    def to_json(self) -> dict[str, Any]:
        """As plain data, with the sums."""
        return {**asdict(self), "points": self.points, "max_points": self.max_points}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Report":
        """The inverse of `to_json`."""
        fields = {key: data[key] for key in ("lab", "title", "submission", "seconds")}
        results = tuple(CheckResult.from_json(result) for result in data["results"])
        return cls(**fields, results=results, notes=tuple(data["notes"]))
