"""From a clone to a graded submission, by nothing but what the guides say.

Every command of a guide's `sh` blocks is run in order, in one shell, as its reader would: `cd` stays. Where the guide
has the reader write a file (`<!-- write: FILE -->`), the solution is put there. All must succeed; the last `minipod lab
check` must earn every point that students see, and the grader all of them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labs.course.definition import CHECKOUT, LabDefinition, all_labs
from labs.course.starter import solution

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
_PART = re.compile(r"^```sh\n(.*?)^```|^<!-- write: (\S+) -->", re.MULTILINE | re.DOTALL)
GRADED = "03-across-nodes"
PACKAGES = ("topo", "netfns", "controlplane", "agents", "labs")


def steps(guide: str) -> list[tuple[str, str]]:
    """("run", commands) and ("write", file), in order."""
    return [("write", found[2]) if found[2] else ("run", found[1]) for found in _PART.finditer(guide)]


def script(lab: LabDefinition, solutions: Path) -> str:
    """The guide as one shell script that stops at the first command that fails, and says which."""
    lines = ["set -e"]
    for kind, text in steps((lab.folder / "README.md").read_text()):
        if kind == "write":
            lines.append(f"cp {solutions}/{text} {text}")
        else:
            for command in text.splitlines():
                lines += [f"echo '$ '{_quoted(command)} >&2", command]
    return "\n".join(lines) + "\n"


def _quoted(command: str) -> str:
    return "'" + command.replace("'", "'\\''") + "'"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout as somebody gets it: tracked files only."""
    folder = tmp_path_factory.mktemp("clone") / "minipod"
    done = subprocess.run(
        ["git", "-C", CHECKOUT, "ls-files", *PACKAGES, "scripts"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for name in done.stdout.splitlines():
        source, target = CHECKOUT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            shutil.copy2(source, target)
    return folder


@pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.name)
def test_the_guides_commands_lead_to_all_points(lab: LabDefinition, clone: Path, tmp_path: Path) -> None:
    solutions, home, binaries = tmp_path / "solutions", tmp_path / "home", tmp_path / "bin"
    for folder in (solutions, home, binaries):
        folder.mkdir()
    for exercise in lab.exercises:
        (solutions / exercise.file).write_text(solution(lab, exercise))
    command = binaries / "minipod"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={clone} exec {sys.executable} -P -m labs.cli "$@"\n')
    command.chmod(0o755)
    environment = {
        "PATH": f"{binaries}:{os.environ['PATH']}:/usr/sbin:/sbin",
        "HOME": str(home),
        "MINIPOD_HOME": str(home / "labs"),
        "LANG": "C.UTF-8",
    }
    work = tmp_path / "work"
    work.mkdir()

    def run(text: str) -> "subprocess.CompletedProcess[str]":
        argv = ["bash", "-c", text]
        return subprocess.run(argv, cwd=work, env=environment, capture_output=True, text=True, timeout=150)

    try:
        walked = run(script(lab, solutions))
        assert walked.returncode == 0, f"{walked.stdout[-3000:]}\n{walked.stderr[-3000:]}"
        last = walked.stdout.splitlines()[-1]
        found = re.match(r"(\d+) of (\d+) points", last)
        assert found is not None, last
        assert found[1] == found[2]
        if lab.name == GRADED:  # one lab is enough: the grader has tests of its own
            graded = run(f"minipod down --all >&2; minipod grade {lab.name} {lab.name} -o json")
            assert graded.returncode == 0, graded.stderr
            [report] = json.loads(graded.stdout)
            assert report["points"] == report["max_points"] == lab.points
    finally:
        run("minipod down --all")


def test_commands_and_files_are_found_in_a_guide() -> None:
    guide = "```sh\na\nb\n```\n```\nnot this\n```\n<!-- write: x.py -->\n```sh\nc\n```\n"
    assert steps(guide) == [("run", "a\nb\n"), ("write", "x.py"), ("run", "c\n")]
