"""Checking one submission on a running lab.

    submission ──files──> seats (in an empty kernel) ──> pytest checks.py ──lines──> results, as they come ──> Report
                  └─ missing, not to be parsed: every check fails, and the report says why

Invariants: whatever a submission does, there is a report, in time; nothing of it runs in this process or in pytest's;
nothing that an earlier one left in the kernel counts.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from labs.checking.ground import prepare
from labs.checking.report import CheckResult, Report, Story
from labs.course.definition import CHECKOUT, CHECKS, LabDefinition
from labs.errors import LabError
from labs.lab import Lab

SETTINGS = "MINIPOD_CHECK"  # the variable that tells our plugin what is checked
TIME_LIMIT = 120.0  # seconds for all checks together
MOST = 128 * 1024  # bytes of one file of a submission


@dataclass
class Submission:
    """The files that were handed in, by the names that the lab gives them; `blocked`: why they cannot be checked."""

    files: dict[str, Path] = field(default_factory=dict)
    blocked: str = ""


def run_checks(
    definition: LabDefinition,
    lab: Lab,
    submission: Path,
    *,
    visible_only: bool = False,
    on_result: Callable[[CheckResult], None] | None = None,
    time_limit: float = TIME_LIMIT,
) -> Report:
    """Check what is in `submission`, a folder or a file, and report; see the head of this file.

    visible_only: leave out checks that students do not see. on_result: called with each result as it comes.
    Raises LabError for what is the lab's own fault, never for the submission's.
    """
    started = time.monotonic()
    prepare(definition, lab)
    handed_in = find_files(definition, submission)
    notes, seats = _take_seats(definition, lab, handed_in)
    settings = {
        "lab": lab.name,
        "files": {name: str(path) for name, path in handed_in.files.items()},
        "seats": seats,
        "visible_only": visible_only,
        "blocked": handed_in.blocked,
    }
    results = list(_results(definition, settings, time_limit, on_result or (lambda _: None)))
    if not handed_in.blocked:
        notes += [note for note in _by_machine(lab.settle()) if note not in notes]
    seconds = round(time.monotonic() - started, 2)
    return Report(definition.name, definition.title, str(submission), tuple(results), tuple(notes), seconds)


def find_files(definition: LabDefinition, submission: Path) -> Submission:
    """The files of a submission: a folder, or the one file that the lab asks for, whatever it is called."""
    found = Submission()
    for exercise in definition.exercises:
        single = submission.is_file() and len(definition.exercises) == 1
        path = submission if single else submission / exercise.file
        try:
            text = _read(path)
            if path.suffix == ".toml":
                tomllib.loads(text)
        except FileNotFoundError:
            found.blocked = found.blocked or f"{exercise.file}: not handed in"
            continue
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            found.blocked = found.blocked or f"{exercise.file}: {reason}"
            continue
        found.files[exercise.file] = path
    return found


def _read(path: Path) -> str:
    """A plain file's text. Raises OSError, ValueError."""
    if path.is_symlink() or not path.is_file():
        if path.exists() or path.is_symlink():
            raise ValueError("want a plain file")
        raise FileNotFoundError(path)
    if path.stat().st_size > MOST:
        raise ValueError(f"{path.stat().st_size} bytes: want at most {MOST}")
    try:
        return path.read_text()
    except UnicodeDecodeError:
        raise ValueError("not text in UTF-8") from None


def _take_seats(
    definition: LabDefinition, lab: Lab, handed_in: Submission
) -> tuple[list[str], dict[str, str]]:
    """Give seats to the files; what went wrong, and the file by its seat. A file that cannot be loaded blocks all."""
    notes: list[str] = []
    seats: dict[str, str] = {}
    for exercise in definition.exercises:
        if handed_in.blocked or not exercise.seat:
            continue
        file = {"label": exercise.file, "source": _read(handed_in.files[exercise.file])}
        try:
            errors = lab.fill_seat(exercise.seat, file, clear=True)
        except LabError as error:
            handed_in.blocked = str(error)
            break
        seats[exercise.seat] = exercise.file
        notes += _by_machine(errors)
    return [handed_in.blocked] if handed_in.blocked else notes, seats


def _by_machine(errors: dict[str, str]) -> list[str]:
    """What went wrong, each once, with the machines that it went wrong on."""
    found: dict[str, list[str]] = {}
    for machine, error in errors.items():
        found.setdefault(error, []).append(machine)
    return [f"{error} (on {', '.join(machines)})" for error, machines in found.items()]


def _results(
    definition: LabDefinition,
    settings: dict[str, Any],
    time_limit: float,
    on_result: Callable[[CheckResult], None],
) -> Iterator[CheckResult]:
    """Run pytest and hand on its results; checks that it did not come to, or not in time, are told as such."""
    reading, writing = os.pipe()
    said = tempfile.TemporaryFile()  # noqa: SIM115 (closed below, after pytest has ended)
    process = _start(definition, settings | {"out": writing}, writing, said)
    os.close(writing)
    expected: dict[str, CheckResult] = {}
    deadline = time.monotonic() + time_limit
    try:
        for message in _lines(reading, deadline):
            for data in message.get("checks") or ():
                expected[data["name"]] = CheckResult.from_json(data)
            if "result" in message:
                result = CheckResult.from_json(message["result"])
                expected.pop(result.name, None)
                on_result(result)
                yield result
    finally:
        os.close(reading)
        timed_out = process.poll() is None and time.monotonic() >= deadline
        if timed_out:
            process.kill()
        process.wait()
        said.seek(0)
        output = said.read().decode(errors="replace")
        said.close()
    if not expected and process.returncode in (0, 1):
        return
    if not timed_out and process.returncode not in (0, 1):
        raise LabError(f"{definition.folder / CHECKS}: exit status {process.returncode}: {_reason(output)}")
    for left in expected.values():
        saw = f"not reached within {time_limit:.0f} s, the limit for all checks together"
        result = replace(left, verdict="timeout", story=Story((), left.title, saw))
        on_result(result)
        yield result


def _start(
    definition: LabDefinition, settings: dict[str, Any], writing: int, said: BinaryIO
) -> "subprocess.Popen[bytes]":
    """Pytest on the lab's checks: with our plugin and no other, with no configuration but these words."""
    words = [
        "-q",
        "-p",
        "labs.checking.plugin",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
        "--noconftest",
    ]
    words += ["-c", os.devnull, f"--rootdir={definition.folder}", "--tb=short", "--strict-markers"]
    environment = {
        **os.environ,
        SETTINGS: json.dumps(settings),
        "PYTHONPATH": str(CHECKOUT),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pytest", *words, str(definition.folder / CHECKS)],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=subprocess.STDOUT,
        env=environment,
        pass_fds=[writing],
    )


def _lines(reading: int, deadline: float) -> Iterator[dict[str, Any]]:
    """The messages of a descriptor until it ends or time is over."""
    buffer = b""
    while (left := deadline - time.monotonic()) > 0 and select.select([reading], [], [], left)[0]:
        data = os.read(reading, 1 << 16)
        if not data:
            return
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            yield json.loads(line)


def _reason(output: str) -> str:
    """The line in which pytest says why it could not run the checks."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("ERROR:", "E  ", "ImportError"))]
    return (told or lines or ["pytest said nothing"])[-1][:300]
