"""lab.toml: read, and each mistake told in one line with the file, the key and what is wanted."""

from pathlib import Path

import pytest

from labs.course import definition
from labs.errors import LabError

GOOD = """\
title = "Across nodes"
communication = "pod-to-pod"
minutes = 60
points = 100

[cluster]
workers = 2

[[write]]
module = "netfns.overlay"
functions = ["render"]
"""


def lab(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "03-across-nodes"
    folder.mkdir()
    (folder / "lab.toml").write_text(text)
    (folder / "README.md").write_text("# A guide\n")
    (folder / "checks.py").write_text("")
    return folder


def test_a_definition_is_read(tmp_path: Path) -> None:
    found = definition.load(lab(tmp_path, GOOD))
    [exercise] = found.exercises
    assert (found.name, found.points, found.cluster.workers) == ("03-across-nodes", 100, 2)
    assert (exercise.file, exercise.functions, exercise.seat) == ("overlay.py", ("render",), "overlay")
    assert found.reference(exercise).name == "overlay.py"


MISTAKES = {
    "missing key": (GOOD.replace("minutes = 60\n", ""), r"lab\.toml: minutes: missing: want a whole number"),
    "wrong kind": (GOOD.replace("= 60", '= "long"'), r"minutes: want a whole number, got 'long'"),
    "truth for a number": (GOOD.replace("= 60", "= true"), "minutes: want a whole number"),
    "unknown key": (GOOD.replace("minutes", "minuets = 1\nminutes"), "minuets: unknown key"),
    "no TOML": ("title = [", "mend the TOML"),
    "nothing to write": (GOOD.partition("[[write]]")[0], "write: missing"),
    "no such module": (GOOD.replace("netfns.overlay", "netfns.nothing"), "module netfns.nothing"),
    "no such function": (GOOD.replace('"render"', '"rendr"'), "no function rendr"),
    "no such communication": (GOOD.replace("pod-to-pod", "pod-to-moon"), "communication: want one of"),
    "impossible cluster": (GOOD.replace("workers = 2", "workers = 0"), "workers: want 1 to"),
    "a path for a file": (GOOD + '[[answer]]\nfile = "../answers.toml"\n', "plain file name"),
    "a table where tables are wanted": (GOOD.replace("[[write]]", "[write]"), "write: want a list"),
}


@pytest.mark.parametrize(("text", "why"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(LabError, match=why) as told:
        definition.load(lab(tmp_path, text))
    assert "\n" not in str(told.value)


def test_a_folder_without_a_guide_is_told(tmp_path: Path) -> None:
    folder = lab(tmp_path, GOOD)
    (folder / "README.md").unlink()
    with pytest.raises(LabError, match=r"README\.md: not there"):
        definition.load(folder)


def test_a_lab_that_is_not_there_is_told() -> None:
    with pytest.raises(LabError, match="99-nothing: no such lab: want one of"):
        definition.find("99-nothing")
