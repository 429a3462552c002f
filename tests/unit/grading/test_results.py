"""Submissions, found and named; reports in the forms that others read; results on disk, whole at any moment."""

import csv
import io
import json
from pathlib import Path

import pytest

from labs.checking.report import CheckResult, Report, Story
from labs.course import definition
from labs.errors import LabError
from labs.grading import formats, submissions
from labs.grading.archives import ArchiveError
from labs.grading.book import Book
from labs.grading.submissions import Submission
from tests.unit.grading.test_archives import zip_of

LAB = definition.find("09-load-balancer")
PASSED = CheckResult("test_a", "A holds.", "passed", 60.0, 60.0, seconds=1.5)
FAILED = CheckResult(
    "test_b",
    "B holds.",
    "failed",
    0.0,
    40.0,
    "hidden",
    Story(("asked",), "an answer", "none", "", "Step 3"),
    ("hint",),
)
REPORT = Report(LAB.name, LAB.title, "alice", (PASSED, FAILED), ("lb2: reload: it was slow",), 12.4)


def found(*paths: Path) -> list[str]:
    return [one.name for one in submissions.find(LAB, paths)]


def test_each_path_is_a_submission_and_a_folder_of_them_is_many(tmp_path: Path) -> None:
    (tmp_path / "class/bob").mkdir(parents=True)
    (tmp_path / "class/bob/python_balancer.py").touch()
    (tmp_path / "class/carol.py").touch()
    (tmp_path / "class/.hidden").touch()
    zip_of(tmp_path / "class/alice.tar.zip", ("python_balancer.py", b""))
    assert found(tmp_path / "class") == ["alice.tar", "bob", "carol"]
    assert found(tmp_path / "class/carol.py", tmp_path / "class/bob") == ["bob", "carol"]


def test_a_name_that_two_have_is_told(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "alice.py").touch()
    with pytest.raises(LabError, match="rename one of the two"):
        found(tmp_path / "one/alice.py", tmp_path / "two/alice.py")
    with pytest.raises(LabError, match="no such file or folder"):
        found(tmp_path / "nobody")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabError, match="no submission in it"):
        found(tmp_path / "empty")


def test_an_archive_may_hold_one_folder(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "alice.zip", ("my-lab/python_balancer.py", b"x"), ("read.txt", b""))
    (tmp_path / "out").mkdir()
    assert submissions.content(LAB, Submission("alice", path), tmp_path / "out") == tmp_path / "out/my-lab"


def test_a_digest_changes_with_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/python_balancer.py").write_text("1")
    one = Submission("a", tmp_path / "a")
    before = one.digest()
    assert one.digest() == before
    (tmp_path / "a/python_balancer.py").write_text("2")
    assert one.digest() != before


def test_gradescope_gets_what_its_specification_names() -> None:
    data = formats.gradescope(REPORT)
    assert set(data) <= {
        *("score", "execution_time", "output", "output_format", "test_output_format", "test_name_format"),
        *("visibility", "stdout_visibility", "extra_data", "tests", "leaderboard"),
    }
    assert "score" not in data, "a top-level score would override the sum"
    assert data["execution_time"] == 12
    first, second = data["tests"]
    assert (first["score"], first["max_score"], first["status"], first["output"]) == (
        60.0,
        60.0,
        "passed",
        "",
    )
    assert (second["status"], second["visibility"], second["number"]) == ("failed", "hidden", "2")
    assert second["output"].splitlines() == [
        "did       asked", "expected  an answer", "saw       none", "look      Step 3"
    ]  # fmt: skip
    fields = {
        *("score", "max_score", "status", "name", "name_format", "number", "output", "output_format", "tags"),
        *("visibility", "extra_data"),
    }
    assert set(first) <= fields
    assert {test["status"] for test in data["tests"]} <= {"passed", "failed"}


def test_a_refused_submission_has_a_test_worth_all_points() -> None:
    from labs.grading.jobs import refused

    report = refused(LAB, Submission("alice", Path("alice.zip")), "alice.zip: a bomb")
    (test,) = formats.gradescope(report)["tests"]
    assert (test["score"], test["max_score"]) == (0.0, 100.0)
    assert "alice.zip: a bomb" in test["output"]


def test_the_table_has_a_row_a_student_and_no_formula() -> None:
    evil = Report(LAB.name, LAB.title, "=cmd()", (PASSED,), ("@sum\n\x1b[31mred",), 1.0)
    rows = list(csv.reader(io.StringIO(formats.table({"bob": REPORT, "=cmd()": evil}))))
    assert rows[0] == ["student", "points", "max_points", "test_a", "test_b", "seconds", "notes"]
    assert rows[1][:5] == ["'=cmd()", "60", "60", "60", ""]
    assert rows[1][6] == "'@sum ?[31mred"
    assert rows[2] == ["bob", "60", "100", "60", "0", "12.4", "lb2: reload: it was slow"]


def test_results_are_whole_at_any_moment_and_gone_on_from(tmp_path: Path) -> None:
    (tmp_path / "alice.py").write_text("1")
    one = Submission("alice", tmp_path / "alice.py")
    single = tmp_path / "results.json"
    book = Book(tmp_path / "out", LAB, resume=False, single=single)
    book.result(one, PASSED)
    partial = json.loads((tmp_path / "out/alice/results.json").read_text())
    assert [test["name"] for test in partial["tests"]] == ["A holds."]
    assert json.loads(single.read_text()) == partial
    assert not book.has(one)
    book.report(one, REPORT)
    assert json.loads(single.read_text()) == formats.gradescope(REPORT)
    grades = json.loads((tmp_path / "out/grades.json").read_text())
    assert [entry["student"] for entry in grades["grades"]] == ["alice"]
    assert grades["grades"][0]["report"]["points"] == 60.0
    assert [path.name for path in (tmp_path / "out").rglob("*.new")] == []

    again = Book(tmp_path / "out", LAB, resume=True)
    assert again.has(one)
    assert again.reports == {"alice": REPORT}
    (tmp_path / "alice.py").write_text("2")
    assert not again.has(one), "another submission under the same name"
    (tmp_path / "out/grades.json").write_text("{}")
    with pytest.raises(LabError, match="not the grader's own"):
        Book(tmp_path / "out", LAB, resume=True)


def test_an_archive_that_is_refused_is_no_exception_of_the_grader(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "alice.zip", ("../evil", b""))
    (tmp_path / "out").mkdir()
    with pytest.raises(ArchiveError):
        submissions.content(LAB, Submission("alice", path), tmp_path / "out")
