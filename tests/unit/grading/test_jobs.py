"""The grader around its worker: refusals, faults, an interruption."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from labs.checking.report import Report
from labs.course import definition
from labs.grading import jobs, worker
from labs.grading.submissions import Submission

LAB = definition.find("09-load-balancer")


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_nothing_is_graded_in_a_lab_of_the_hosts_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ended = []

    class FakeLab:
        @classmethod
        def attach(cls, _: str) -> "FakeLab":
            return cls()

        def down(self) -> None:
            ended.append(True)

    def forbidden(*_: Any, **__: Any) -> Report:
        raise AssertionError("the submission must not run")

    monkeypatch.setattr("labs.launch.up", lambda *_, **__: {"isolation": "privileged"})
    monkeypatch.setattr(worker, "Lab", FakeLab)
    monkeypatch.setattr(worker, "run_checks", forbidden)
    settings = {"lab": str(LAB.folder), "name": "x", "submission": str(tmp_path), "time_limit": 1}
    monkeypatch.setattr(sys, "argv", ["worker", json.dumps(settings)])
    assert worker.main() == 1
    (message,) = told(capsys)
    assert "no user namespace can be made here, so nothing is graded" in message["fault"]
    assert ended, "the lab is not left behind"


def as_worker(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let a few lines of Python stand in for worker.py."""
    started = subprocess.Popen

    def popen(argv: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        return started([argv[0], "-c", script], **options)

    monkeypatch.setattr("subprocess.Popen", popen)


@pytest.fixture
def alice(tmp_path: Path) -> Submission:
    (tmp_path / "alice.py").touch()
    return Submission("alice", tmp_path / "alice.py")


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("import sys; sys.exit(3)", "the grader's own process ended with status 3"),
        ('print(\'{"fault": "lab grading: no kernel"}\')', "lab grading: no kernel"),
    ],
)
def test_a_fault_is_tried_again_and_then_told(
    monkeypatch: pytest.MonkeyPatch, alice: Submission, tmp_path: Path, script: str, fault: str
) -> None:
    tries = tmp_path / "tries"
    as_worker(monkeypatch, f"open({str(tries)!r}, 'a').write('x')\n{script}")
    (done,) = jobs.Grader(LAB).grade_all([alice], 1)
    assert done.report is None
    assert fault in done.fault
    assert tries.read_text() == "xx"


def test_a_worker_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch, alice: Submission) -> None:
    as_worker(monkeypatch, "import time; time.sleep(600)")
    monkeypatch.setattr(jobs, "CHECKS_LIMIT", 0.2)
    monkeypatch.setattr(jobs, "LAB_LIMIT", 0.0)
    monkeypatch.setattr(jobs, "END_WAIT", 0.0)
    (done,) = jobs.Grader(LAB).grade_all([alice], 1)
    assert "no report within 0 s" in done.fault


def test_an_interruption_ends_what_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_worker(monkeypatch, "import time; time.sleep(600)")
    monkeypatch.setattr(jobs, "END_WAIT", 0.0)
    submissions = [Submission(name, tmp_path) for name in ("a", "b", "c")]
    grader = jobs.Grader(LAB)
    grading = grader.grade_all(submissions, 2)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()  # what Ctrl-C does to the command
    with pytest.raises(KeyboardInterrupt):
        list(grading)
    assert not grader._running
