"""A report in the forms that others read: Gradescope's results.json, a table for a spreadsheet, a line for a terminal.

Sources: Gradescope, "Autograder Specifications", Output Format; RFC 4180 (CSV).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from labs.checking.report import CheckResult, Report

MOST_TEXT = 4000  # characters of one text in a result


def gradescope(report: Report) -> dict[str, Any]:
    """One submission's results.json. The score is left to the sum of the tests, as Gradescope advises."""
    return {
        "execution_time": round(report.seconds),
        "output": _cut("\n".join(report.notes)),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": [_test(number, result) for number, result in enumerate(report.results, 1)]
        or [
            {
                "score": 0,
                "max_score": report.max_points,
                "status": "failed",
                "name": report.title,
                "number": "1",
            }
        ],
        "extra_data": {"lab": report.lab, "submission": report.submission},
    }


def _test(number: int, result: CheckResult) -> dict[str, Any]:
    return {
        "number": str(number),
        "name": result.title,
        "score": result.points,
        "max_score": result.max_points,
        "status": "passed" if result.verdict == "passed" else "failed",
        "output": _cut(story(result)),
        "output_format": "text",
        "visibility": result.visibility,
        "extra_data": {"check": result.name, "verdict": result.verdict, "seconds": result.seconds},
    }


def story(result: CheckResult) -> str:
    """Why a check failed, as text; "" for one that passed."""
    if result.story is None:
        return "" if result.verdict == "passed" else f"no result: {result.verdict}"
    told = result.story
    rows = [*(("did", line) for line in told.did), ("expected", told.expected), ("saw", told.saw)]
    rows += [("rule", told.rule), ("look", told.look)]
    return "\n".join(f"{word:<9} {text}" for word, text in rows if text)


def table(reports: Mapping[str, Report]) -> str:
    """CSV: one row a student, one column a check; the columns are those of all reports, in their order."""
    checks: dict[str, None] = {}
    for report in reports.values():
        checks.update(dict.fromkeys(result.name for result in report.results))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["student", "points", "max_points", *checks, "seconds", "notes"])
    for name, report in sorted(reports.items()):
        earned = {result.name: result.points for result in report.results}
        columns = [_number(earned[check]) if check in earned else "" for check in checks]
        notes = _cell(_cut(" | ".join(report.notes)))
        sums = [_number(report.points), _number(report.max_points)]
        writer.writerow([_cell(name), *sums, *columns, report.seconds, notes])
    return out.getvalue()


def lines(reports: Mapping[str, Report]) -> str:
    """For a terminal: each student, the points, and the first reason for what is missing."""
    rows = []
    for name, report in sorted(reports.items()):
        failed = [result for result in report.results if result.verdict != "passed"]
        reasons = [*report.notes, *(result.title for result in failed)]
        points = f"{_number(report.points)}/{_number(report.max_points)}"
        rows.append(f"{name:<24} {points:>9}  {reasons[0] if reasons else 'all checks passed'}"[:160])
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula; line ends become spaces."""
    text = plain(" ".join(text.split()))
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _number(value: float) -> str:
    return f"{value:g}"


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"


def plain(text: str) -> str:
    """A text without control characters: what a submission printed may not move a terminal's cursor."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
