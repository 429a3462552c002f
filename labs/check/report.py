"""How results are shown: a table, a row a claim, with its evidence; stories of what failed; JSON."""

import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from labs.check.claim import TYPES, Result

MARKS = {"holds": "ok  ", "fails": "FAIL", "n/a": "n/a "}


def table(results: Sequence[Result]) -> str:
    """The rows by communication type, each with its evidence below."""
    width = max(60, min(shutil.get_terminal_size((120, 24)).columns, 140))
    lines = []
    for kind in TYPES:
        rows = [result for result in results if result.type == kind]
        if rows:
            lines.append(f"\n{kind}")
        for result in rows:
            lines.append(f"  {MARKS[result.verdict]}  {result.claim}")
            lines += textwrap.wrap(result.evidence, width, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return "\n".join(lines).lstrip("\n")


def stories(results: Sequence[Result]) -> str:
    """What was done, expected and seen for each claim that fails, and where to look."""
    parts = []
    for result in results:
        if result.verdict == "fails":
            parts.append(f"{result.name}: {result.claim}")
            parts += [f"    {word:<9}{text}" for word, text in result.story.items()]
    return "\n".join(parts)


def summary(results: Sequence[Result]) -> str:
    """One line: how many hold, fail, do not apply."""
    count = {verdict: sum(result.verdict == verdict for result in results) for verdict in MARKS}
    line = f"{count['holds']} of {len(results) - count['n/a']} claims hold"
    return line + (f"; not applicable here: {count['n/a']}" if count["n/a"] else "")


def to_json(lab: str, namespace: str, results: Sequence[Result]) -> dict[str, Any]:
    """As plain data."""
    holds = not any(result.verdict == "fails" for result in results)
    return {
        "lab": lab,
        "namespace": namespace,
        "holds": holds,
        "rows": [result.to_json() for result in results],
    }
