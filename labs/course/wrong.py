"""Wrong answers: what a lab's checks must catch.

    wrong/no-hairpin.py   its docstring: what is wrong, and `check: test_hairpin`, the check (or checks) that catches it
                          its functions: instead of the reference's, which it may call as `reference_render`
    wrong/localhost.toml  a comment `# check: …` and other values

What a file does not say is the reference's: so it can be wrong in one thing only, and stays so when the reference
changes.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from labs.course.definition import LabDefinition
from labs.course.starter import overlay, overlay_values, solution
from labs.errors import LabError

_CHECKS = re.compile(r"^\W*check: *(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Wrong:
    """One wrong answer: the whole `text` of the student's `file`, and the names of the `checks` that catch it."""

    name: str
    file: str
    text: str
    checks: tuple[str, ...]


def wrong_answers(definition: LabDefinition) -> list[Wrong]:
    """All wrong answers of a lab, by name. Raises LabError for one that names no check."""
    paths = sorted(
        path for path in (definition.folder / "wrong").glob("*.*") if path.suffix in (".py", ".toml")
    )
    return [_read(definition, path) for path in paths]


def _read(definition: LabDefinition, path: Path) -> Wrong:
    text = path.read_text()
    found = _CHECKS.search(text)
    if found is None:
        raise LabError(f"{path}: names no check: say `check: test_NAME` at its head")
    exercises = [e for e in definition.exercises if Path(e.file).suffix == path.suffix]
    file = re.search(r"^\W*file: *(\S+)$", text, re.MULTILINE)
    chosen = [e for e in exercises if file is None or e.file == file[1]]
    if len(chosen) != 1:
        raise LabError(f"{path}: say `file: NAME`: want one of {', '.join(e.file for e in exercises)}")
    right = solution(definition, chosen[0])
    put = overlay if path.suffix == ".py" else overlay_values
    checks = tuple(name.strip() for name in found[1].split(","))
    return Wrong(path.stem, chosen[0].file, put(right, text), checks)
