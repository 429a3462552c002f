"""Results as text: a line for each check, the stories of those that did not pass, the sum."""

from collections.abc import Sequence

from labs.checking.report import CheckResult, Report

MARKS = {"passed": "ok  ", "failed": "FAIL", "timeout": "TIME", "error": "ERR "}


def line(result: CheckResult) -> str:
    """One check in one line."""
    earned = f"{number(result.points)}/{number(result.max_points)}"
    return f"  {MARKS[result.verdict]}  {earned:>7}  {result.title}"


def story(result: CheckResult) -> str:
    """Why a check did not pass, line by line; "" when it did."""
    told = result.story
    if told is None:
        return ""
    rows = [("did", text) for text in told.did]
    rows += [("expected", told.expected), ("saw", told.saw), ("packet", told.rule), ("look", told.look)]
    lines = [f"\n{result.name}: {result.title}"]
    lines += [f"    {word:<9} {text}" for word, text in rows if text]
    return "\n".join(lines)


def summary(report: Report, shown: int, hidden: float = 0.0) -> str:
    """The sum; `hidden`: points of checks that were not run."""
    text = f"{number(report.points)} of {number(report.max_points)} points"
    more = f" ({number(hidden)} more are in checks that are not shown)" if hidden else ""
    passed = sum(result.verdict == "passed" for result in report.results)
    return f"{text}{more}: {passed} of {shown} checks passed in {report.seconds:.1f} s"


def number(value: float) -> str:
    """A number of points, whole where it is."""
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def failed(results: Sequence[CheckResult]) -> list[CheckResult]:
    """The checks that did not pass."""
    return [result for result in results if result.verdict != "passed"]
