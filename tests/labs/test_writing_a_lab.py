"""The lab in docs/writing-a-lab.md is a lab; and checking survives whatever is handed in."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from labs.checking.report import Report
from labs.checking.run import find_files, run_checks
from labs.course.definition import CHECKOUT, LabDefinition, load
from labs.course.handout import without_hidden
from labs.course.starter import solution, starter
from labs.course.wrong import wrong_answers
from labs.errors import LabError
from tests.labs.conftest import Course

pytestmark = pytest.mark.e2e
_FILE = re.compile(r"^## (\S+\.(?:toml|yaml|py))\n(?:.*?)^```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> LabDefinition:
    """The lab of the page, written out."""
    folder = tmp_path_factory.mktemp("page") / "50-first-rule"
    found = dict(_FILE.findall((CHECKOUT / "docs" / "writing-a-lab.md").read_text()))
    assert set(found) == {"lab.toml", "manifests/pods.yaml", "checks.py", "wrong/no-hairpin.py"}
    for name, text in {**found, "README.md": "# A rule of your own\n"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return load(folder)


def lost(report: Report) -> set[str]:
    return {result.name for result in report.results if result.verdict != "passed"}


def test_the_pages_lab_works(course: Course, example: LabDefinition) -> None:
    [exercise] = example.exercises
    right = course.check(example, {"service.py": solution(example, exercise)})
    assert (right.points, right.max_points, right.notes) == (30, 30, ())
    [wrong] = wrong_answers(example)
    assert lost(course.check(example, {"service.py": wrong.text})) == set(wrong.checks)
    broken = course.check(example, {"service.py": starter(example, exercise)})
    assert broken.points == 0
    assert "NotImplementedError" in broken.notes[0]


def test_a_report_survives_its_json(course: Course, example: LabDefinition) -> None:
    report = course.check(example, {"service.py": "def render(desired): return 1"})
    assert Report.from_json(report.to_json()) == report
    assert "want a text, got int" in report.notes[0]


def test_hidden_checks_are_left_out_of_a_handout(example: LabDefinition) -> None:
    shown = without_hidden((example.folder / "checks.py").read_text())
    assert "def test_own_service" in shown
    assert "test_no_services" not in shown


HANDED_IN = {
    "nothing": ({}, "service.py: not handed in"),
    "no Python": ({"service.py": "def render(:"}, "service.py: line 1: SyntaxError"),
    "not in time": ({"service.py": "while True: pass"}, "service.py: its import: no answer"),
    "exits": ({"service.py": "raise SystemExit"}, "service.py: line 1: SystemExit"),
    "too large": ({"service.py": "#" * 200_000}, "service.py: 200000 bytes: want at most"),
}


@pytest.mark.parametrize(("files", "why"), HANDED_IN.values(), ids=HANDED_IN)
def test_what_cannot_be_run_earns_nothing_and_is_told_why(
    course: Course, example: LabDefinition, files: dict[str, str], why: str
) -> None:
    report = course.check(example, files)
    assert report.points == 0
    assert report.max_points == 30
    assert why in report.notes[0]
    assert all(result.story is not None and why in result.story.saw for result in report.results)


def test_a_link_is_not_followed(example: LabDefinition, tmp_path: Path) -> None:
    (tmp_path / "service.py").symlink_to("/etc/passwd")
    assert find_files(example, tmp_path).blocked == "service.py: want a plain file"


def with_checks(example: LabDefinition, tmp_path: Path, text: str) -> LabDefinition:
    folder = tmp_path / "51-checks"
    folder.mkdir()
    (folder / "checks.py").write_text(text)
    return replace(example, folder=folder)


def test_time_for_all_checks_together(course: Course, example: LabDefinition, tmp_path: Path) -> None:
    slow = with_checks(
        example,
        tmp_path,
        "import time, pytest\n"
        "@pytest.mark.points(1)\ndef test_quick():\n    'Quick.'\n"
        "@pytest.mark.points(1)\n@pytest.mark.timeout(0.2)\ndef test_limited():\n    'Limited.'\n    time.sleep(60)\n"
        "@pytest.mark.points(1)\n@pytest.mark.timeout(60)\ndef test_endless():\n    'Endless.'\n    time.sleep(60)\n",
    )
    (tmp_path / "service.py").write_text("def render(desired): return ''\n")
    seen: list[str] = []
    report = run_checks(
        slow, course.lab(example), tmp_path, time_limit=4.0, on_result=lambda r: seen.append(r.name)
    )
    assert [result.verdict for result in report.results] == ["passed", "timeout", "timeout"]
    assert seen == ["test_quick", "test_limited", "test_endless"]
    assert report.points == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def test_x():\n    'Title.'\n", r"test_x: want @pytest\.mark\.points"),
        ("import pytest\n@pytest.mark.points(1)\ndef test_x(): pass\n", "test_x: want a docstring"),
        (
            "import pytest\n@pytest.mark.points(1)\n@pytest.mark.visibility('no')\ndef test_x():\n    'Title.'\n",
            "visibility: want one of",
        ),
        ("import nothing_like_this\n", "nothing_like_this"),
    ],
)
def test_a_lab_with_wrong_checks_is_the_labs_own_fault(
    course: Course, example: LabDefinition, tmp_path: Path, text: str, why: str
) -> None:
    broken = with_checks(example, tmp_path, text)
    (tmp_path / "service.py").write_text("def render(desired): return ''\n")
    with pytest.raises(LabError, match=why) as told:
        run_checks(broken, course.lab(example), tmp_path)
    assert "\n" not in str(told.value)
