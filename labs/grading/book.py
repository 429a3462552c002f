"""The results on disk, as they come: every file is whole at any moment, and nothing is lost by an interruption.

    FOLDER/grades.json            every report, with what it was made from: `--resume` goes on from it
    FOLDER/grades.csv             one row a student
    FOLDER/STUDENT/results.json   for Gradescope; while checks still run, with those that have ended

Invariant: a file is replaced by rename, never written in place; the order in it is that of the names.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labs.checking.report import CheckResult, Report
from labs.course.definition import LabDefinition
from labs.errors import LabError
from labs.grading import formats
from labs.grading.submissions import Submission

VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One graded submission; `made_from`: a hash of the submission and of the lab that it was graded by."""

    report: Report
    made_from: str


class Book:
    """The results of one lab in one folder. Its methods may be called from several threads."""

    def __init__(
        self, folder: Path, definition: LabDefinition, *, resume: bool, single: Path | None = None
    ) -> None:
        """`single`: where the results.json of the one submission goes besides. Raises LabError."""
        self._folder, self._definition, self._single = folder, definition, single
        self._lab_digest = _digest(definition)
        self._entries: dict[str, Entry] = {}
        self._partial: dict[str, list[CheckResult]] = {}
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if resume:
                self._entries = _read(folder / "grades.json")
        except OSError as error:
            raise LabError(f"{folder}: {error.strerror}: choose another folder with --out") from None

    @property
    def reports(self) -> dict[str, Report]:
        """The finished reports, by student."""
        return {name: entry.report for name, entry in sorted(self._entries.items())}

    def has(self, submission: Submission) -> bool:
        """Whether this very submission was graded by this very lab already."""
        entry = self._entries.get(submission.name)
        return entry is not None and entry.made_from == self._made_from(submission)

    def result(self, submission: Submission, result: CheckResult) -> None:
        """One more check of a submission has ended."""
        with self._lock:
            results = self._partial.setdefault(submission.name, [])
            results.append(result)
            report = Report(
                self._definition.name,
                self._definition.title,
                submission.name,
                tuple(results),
                ("still being graded",),
            )
            self._write_student(submission.name, report)

    def report(self, submission: Submission, report: Report) -> None:
        """A submission is graded."""
        with self._lock:
            self._partial.pop(submission.name, None)
            self._entries[submission.name] = Entry(report, self._made_from(submission))
            self._write_student(submission.name, report)
            self._write_all()

    def keep_only(self, submissions: list[Submission]) -> None:
        """Forget whoever is not among these: the files are about them."""
        with self._lock:
            names = {one.name for one in submissions}
            self._entries = {name: entry for name, entry in self._entries.items() if name in names}
            self._write_all()

    def _made_from(self, submission: Submission) -> str:
        return f"{submission.digest()}-{self._lab_digest}"

    def _write_student(self, name: str, report: Report) -> None:
        text = json.dumps(formats.gradescope(report), indent=1) + "\n"
        place = self._folder / name / "results.json"
        place.parent.mkdir(exist_ok=True)
        for path in (place, *([self._single] if self._single else [])):
            write(path, text)

    def _write_all(self) -> None:
        entries = [
            {"student": name, "made_from": entry.made_from, "report": entry.report.to_json()}
            for name, entry in sorted(self._entries.items())
        ]
        book = {"version": VERSION, "lab": self._definition.name, "grades": entries}
        write(self._folder / "grades.json", json.dumps(book, indent=1) + "\n")
        write(self._folder / "grades.csv", formats.table(self.reports))


def write(path: Path, text: str) -> None:
    """Put a file in place whole. Raises OSError."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.replace(path)


def _read(path: Path) -> dict[str, Entry]:
    """The entries of a grades.json; none when there is none. Raises LabError, OSError."""
    try:
        book: Any = json.loads(path.read_text())
        if book["version"] != VERSION:
            raise ValueError(f"version {book['version']}")
        return {
            entry["student"]: Entry(Report.from_json(entry["report"]), entry["made_from"])
            for entry in book["grades"]
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"{path}: not the grader's own ({error}): leave --resume out, or choose another --out"
        ) from None


def _digest(definition: LabDefinition) -> str:
    """A hash of all that a lab grades by: its folder's files and its references."""
    sha = hashlib.sha256()
    own = (path for path in sorted(definition.folder.rglob("*")) if path.suffix in (".py", ".toml", ".yaml"))
    for path in (*own, *(definition.reference(exercise) for exercise in definition.exercises)):
        if path.is_file():
            sha.update(path.read_bytes())
    return sha.hexdigest()[:16]
