"""`minipod lab`: each mistake is told in one line, the student's work stays, and the next command works."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from labs.course.definition import CHECKOUT, find
from labs.course.starter import solution, starter

pytestmark = pytest.mark.e2e
LAB = "03-across-nodes"


@dataclass(frozen=True)
class Student:
    """Somebody with a folder of their own."""

    work: Path
    home: Path

    def minipod(self, *words: str, status: int = 0, cwd: Path | None = None) -> str:
        """Run a command that must end with `status`; what it printed, or for another status than 0 its errors."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environment = {
            **kept,
            "MINIPOD_HOME": str(self.home),
            "HOME": str(self.home),
            "PYTHONPATH": str(CHECKOUT),
        }
        argv = [sys.executable, "-P", "-m", "labs.cli", *words]
        done = subprocess.run(
            argv, cwd=cwd or self.work, env=environment, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr

    def mistake(self, *words: str, cwd: Path | None = None) -> str:
        """Run a command that must be refused, in one line."""
        told = self.minipod(*words, status=2, cwd=cwd).strip()
        assert told.startswith("minipod: ")
        assert "\n" not in told
        return told

    @property
    def file(self) -> Path:
        return self.work / LAB / "overlay.py"


@pytest.fixture
def student(tmp_path: Path) -> Student:
    found = Student(tmp_path / "work", tmp_path / "home")
    found.work.mkdir()
    return found


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Student]:
    folder = tmp_path_factory.mktemp("started")
    found = Student(folder / "work", folder / "home")
    found.work.mkdir()
    found.minipod("lab", "start", LAB)
    yield found
    found.minipod("down", "--all")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["check"], "no lab was started yet"),
        (["check", LAB], f"{LAB}: not started: `minipod lab start {LAB}`"),
        (["hint", LAB], "not started"),
        (["reset", LAB], "not started"),
        (["solution", LAB], "try first"),
        (["start"], "which lab?"),
        (["start", "99"], "99: no such lab: want one of 01-containers-in-a-pod"),
        (["start", "./nothing"], "nothing/lab.toml: No such file"),
        (["release", "--archive", "x.tar.gz"], "name one lab"),
    ],
)
def test_out_of_order(student: Student, words: list[str], why: str) -> None:
    assert why in student.mistake("lab", *words)
    assert list(student.work.iterdir()) == []


def test_a_lab_folder_with_a_missing_key(student: Student) -> None:
    folder = student.work / "50-mine"
    folder.mkdir()
    (folder / "lab.toml").write_text('title = "Mine"\n')
    assert "50-mine/lab.toml: communication: missing: want a text" in student.mistake(
        "lab", "start", "./50-mine"
    )


def test_labs_are_listed(student: Student) -> None:
    rows = json.loads(student.minipod("lab", "list", "-o", "json"))
    assert [row["name"] for row in rows][:2] == ["01-containers-in-a-pod", LAB]
    assert LAB in student.minipod("lab", "list")


def test_a_handout_gives_nothing_away(student: Student) -> None:
    student.minipod("lab", "release", LAB)
    student.minipod("lab", "release", LAB, "--archive", "one.tar.gz")
    student.minipod("lab", "release", LAB, "--archive", "two.tar.gz")
    assert (student.work / "one.tar.gz").read_bytes() == (student.work / "two.tar.gz").read_bytes()
    with tarfile.open(student.work / "one.tar.gz") as tar:
        names = {name.removeprefix(f"{LAB}/") for name in tar.getnames()}
    assert {"README.md", "lab.toml", "checks.py", "overlay.py", "manifests/pods.yaml"} < names
    assert not any(name.startswith(("wrong", "solution")) for name in names)
    checks = (student.work / LAB / "checks.py").read_text()
    assert "test_two_workers" in checks
    assert "test_ranges_of_both_families" not in checks
    lab = find(LAB)
    assert student.file.read_text() == starter(lab, lab.exercises[0])
    assert "already there" in student.mistake("lab", "release", LAB)


def test_a_handout_is_a_working_folder(student: Student) -> None:
    student.minipod("lab", "release", "01")
    student.minipod("lab", "start", "./01-containers-in-a-pod")
    try:
        file = student.work / "01-containers-in-a-pod" / "answers.toml"
        first = file.read_text()
        file.write_text(first.replace('localhost = ""', 'localhost = "127.0.0.1:8080"'))
        told = json.loads(failing_check(student, "01"))
        assert [r["name"] for r in told["results"] if r["verdict"] == "passed"] == ["test_localhost"]
        student.minipod("lab", "reset", "01")
        assert file.read_text() == first
    finally:
        student.minipod("down", "--all")


def failing_check(student: Student, lab: str) -> str:
    """The report of a check that does not pass, as JSON."""
    environment = {**os.environ, "MINIPOD_HOME": str(student.home), "PYTHONPATH": str(CHECKOUT)}
    argv = [sys.executable, "-P", "-m", "labs.cli", "lab", "check", lab, "-o", "json"]
    done = subprocess.run(
        argv, cwd=student.work, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 1, done.stderr
    return done.stdout


class TestOnARunningLab:
    def test_starting_again_keeps_the_work(self, started: Student) -> None:
        started.file.write_text(started.file.read_text() + "# mine\n")
        started.minipod("lab", "start", LAB)
        assert started.file.read_text().endswith("# mine\n")

    def test_another_lab_is_not_started_over_it(self, started: Student) -> None:
        told = started.mistake("lab", "start", "01")
        assert "lab lab: already running, and not for 01-containers-in-a-pod" in told
        progress = started.home / "progress.json"
        before = progress.read_text()
        data = json.loads(before)
        data["labs"]["01-containers-in-a-pod"] = data["labs"][
            LAB
        ]  # as if that had been this lab's cluster once
        progress.write_text(json.dumps(data))
        assert "its lab does not run" in started.mistake("lab", "check", "01")
        assert "already running, and not for" in started.mistake("lab", "start", "01")
        progress.write_text(before)

    def test_a_file_that_does_not_parse(self, started: Student) -> None:
        started.file.write_text("def render(:\n")
        assert "overlay.py: line 1: SyntaxError: invalid syntax: mend it" in started.mistake(
            "lab", "check", LAB
        )
        assert started.file.read_text() == "def render(:\n"

    def test_a_file_that_is_gone_or_no_text(self, started: Student) -> None:
        started.file.write_bytes(b"\xff\xfe")
        assert "overlay.py: not text in UTF-8: mend it" in started.mistake("lab", "check", LAB)
        started.file.unlink()
        assert "overlay.py: not handed in: mend it" in started.mistake("lab", "check", LAB)
        started.minipod("lab", "start", LAB)
        assert started.file.exists()

    def test_from_a_first_try_to_all_points(self, started: Student) -> None:
        lab = find(LAB)
        inside = started.work / LAB
        started.file.write_text(starter(lab, lab.exercises[0]))
        report = json.loads(failing_check(started, LAB))
        assert report["points"] == 0
        assert report["results"][1]["story"]["rule"].startswith("on node/worker1: route: 10.244.")
        assert "hint 1 of 3" in started.minipod("lab", "hint", cwd=inside)
        assert "hint 2 of 3" in started.minipod("lab", "hint", cwd=inside)
        assert "hint 1 of 2" in started.minipod("lab", "hint", "--check", "test_size", cwd=inside)
        started.file.write_text(started.minipod("lab", "solution", cwd=inside))
        told = started.minipod("lab", "check", cwd=inside)
        assert "95 of 95 points (5 more are in checks that are not shown)" in told
        rows = json.loads(started.minipod("lab", "list", "-o", "json"))
        assert next(row["best"] for row in rows if row["name"] == LAB) == 95

    def test_reset_keeps_what_was_written(self, started: Student) -> None:
        lab = find(LAB)
        started.file.write_text(solution(lab, lab.exercises[0]))
        told = started.minipod("lab", "reset", LAB)
        assert started.file.read_text() == starter(lab, lab.exercises[0])
        aside = Path(told.strip().rpartition(" ")[2])
        assert (aside / "overlay.py").read_text() == solution(lab, lab.exercises[0])
