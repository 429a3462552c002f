"""One running lab for each lab of the course that a file of tests asks for; submissions take its seats in turn."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.checking.report import Report
from labs.checking.run import run_checks
from labs.course.definition import CHECKOUT, DEFINITION, LabDefinition
from labs.lab import Lab


class Course:
    """Starts a lab when it is first asked for."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._running: dict[str, Lab] = {}
        self._number = 0

    def lab(self, definition: LabDefinition) -> Lab:
        if definition.name not in self._running:
            self._running[definition.name] = self._up(definition)
        return self._running[definition.name]

    def _up(self, definition: LabDefinition) -> Lab:
        """By the command, for a lab is made by a process with a single thread, which a lane of pytest's is not."""
        name, file = f"test-{definition.name}", self._scratch / f"{definition.name}.yaml"
        wanted = tomllib.loads((definition.folder / DEFINITION).read_text()).get("cluster", {})
        file.write_text(json.dumps(wanted))  # JSON is YAML
        command = [sys.executable, "-m", "labs.cli", "up", "--name", name, "-f", str(file)]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return Lab.attach(name)

    def check(self, definition: LabDefinition, files: dict[str, str]) -> Report:
        """Check a submission made of these texts."""
        self._number += 1
        folder = self._scratch / f"{definition.name}-{self._number}"
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        return run_checks(definition, self.lab(definition), folder)

    def end(self) -> None:
        for name in list(self._running):
            self._running.pop(name).down()


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    """The course, with a folder for its running labs that is its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIPOD_HOME", str(tmp_path_factory.mktemp("course-home")))
        found = Course(tmp_path_factory.mktemp("submissions"))
        yield found
        found.end()


@pytest.fixture(autouse=True)
def _no_lab_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIPOD_LAB", raising=False)
