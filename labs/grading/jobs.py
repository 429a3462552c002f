"""Several submissions at once: a worker process each, held to its time, and whatever it leaves is cleared away.

    submissions ──> N threads ──> worker.py, in a scratch folder of its own ──lines──> on_result, on_report
                                     `── no report in time, or none at all: a Fault; once more, then told

Invariants: after a job no lab and no file of it is left, however its worker ended; a submission that was refused, or
did not come to its end, is a report with a reason and never an exception.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labs.checking.report import CheckResult, Report, Story
from labs.course.definition import CHECKOUT, LabDefinition
from labs.errors import LabError
from labs.grading.archives import ArchiveError
from labs.grading.submissions import Submission, content
from labs.lab import Lab
from labs.state import StateFolder

CHECKS_LIMIT = 120.0  # seconds for all checks of one submission together
LAB_LIMIT = 90.0  # seconds besides, to start the lab and to end it
END_WAIT = 10.0  # seconds for a worker to end its lab
TRIES = 2
LAB_NAME = "grading"
MOST_LINE = 1 << 22  # bytes


class Fault(Exception):
    """A submission could not be graded, and that is not its own fault: one line."""


@dataclass(frozen=True)
class Done:
    """What came of one submission: its report, or why there is none."""

    submission: Submission
    report: Report | None = None
    fault: str = ""


class Grader:
    """Grades submissions of one lab; `on_result` is called from threads, with each check that has ended."""

    def __init__(
        self,
        definition: LabDefinition,
        on_result: Callable[[Submission, CheckResult], None] = lambda _, __: None,
    ) -> None:
        self._definition, self._on_result = definition, on_result
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = threading.Event()

    def grade_all(self, submissions: Sequence[Submission], jobs: int) -> Iterator[Done]:
        """Grade every submission, `jobs` at a time, and give each as it is done. An interruption ends them all."""
        with ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(self.grade, one) for one in submissions]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                self._stopped.set()
                for future in futures:
                    future.cancel()
                for process in list(self._running):
                    _kill(process)

    def grade(self, submission: Submission) -> Done:
        """Grade one submission; see the head of this file."""
        fault = "interrupted"
        for _ in range(TRIES):
            if self._stopped.is_set():
                break
            with tempfile.TemporaryDirectory(prefix="minipod-grade-") as scratch:
                folder = Path(scratch)
                folder.chmod(0o755)  # the lab's own user passes through
                try:
                    (folder / "unpacked").mkdir()
                    path = content(self._definition, submission, folder / "unpacked")
                    report = self._in_a_worker(submission, path, folder)
                    return Done(submission, replace(report, submission=submission.name))
                except ArchiveError as error:
                    return Done(submission, refused(self._definition, submission, str(error)))
                except Fault as error:
                    fault = str(error)
        return Done(submission, fault=fault)

    def _in_a_worker(self, submission: Submission, path: Path, scratch: Path) -> Report:
        """Run worker.py and listen to it. Raises Fault."""
        settings = {
            "lab": str(self._definition.folder),
            "name": LAB_NAME,
            "submission": str(path),
            "time_limit": CHECKS_LIMIT,
        }
        environment = {**os.environ, "MINIPOD_HOME": str(scratch / "labs"), "PYTHONPATH": str(CHECKOUT)}
        environment.pop("MINIPOD_LAB", None)
        with (scratch / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "labs.grading.worker", json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        self._running.add(process)
        try:
            return _listen(process, lambda result: self._on_result(submission, result))
        finally:
            self._running.discard(process)
            _end(process, scratch / "labs")


def refused(definition: LabDefinition, submission: Submission, reason: str) -> Report:
    """The report of a submission that cannot be taken: no points, and why."""
    story = Story((), "a submission that can be read", reason)
    result = CheckResult(
        "submission", "The submission can be read", "failed", 0.0, float(definition.points), story=story
    )
    return Report(definition.name, definition.title, submission.name, (result,), (reason,))


def _listen(process: subprocess.Popen[bytes], on_result: Callable[[CheckResult], None]) -> Report:
    deadline = time.monotonic() + CHECKS_LIMIT + LAB_LIMIT
    for message in _messages(process, deadline):
        if "result" in message:
            on_result(CheckResult.from_json(message["result"]))
        elif "report" in message:
            return Report.from_json(message["report"])
        elif "fault" in message:
            raise Fault(message["fault"])
    if time.monotonic() >= deadline:
        raise Fault(
            f"no report within {CHECKS_LIMIT + LAB_LIMIT:.0f} s: is this machine overloaded? try --jobs 1"
        )
    raise Fault(f"the grader's own process ended with status {process.wait()}: try again with -v")


def _messages(process: subprocess.Popen[bytes], deadline: float) -> Iterator[dict[str, Any]]:
    """The lines that a worker writes, until it ends or time is over."""
    assert process.stdout is not None
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0 and len(buffer) < MOST_LINE:
            if not selector.select(left):
                continue
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                yield json.loads(line)


def _end(process: subprocess.Popen[bytes], labs: Path) -> None:
    """End the worker with all that it has started, and the lab, which outlives a worker that is killed."""
    try:
        process.wait(END_WAIT)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
    folder = StateFolder(LAB_NAME, labs / LAB_NAME)
    deadline = time.monotonic() + END_WAIT
    while folder.is_running() and time.monotonic() < deadline:
        with suppress(LabError):  # it was still starting: then it ends with the worker that started it
            Lab(folder, folder.read()).down()
        time.sleep(0.05)
    shutil.rmtree(labs, ignore_errors=True)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker's session: itself, pytest and their helpers."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
