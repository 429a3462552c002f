"""The notebooks are committed without outputs, and run from their first cell to their last, without root."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import me, ordinary_user, scratch
from tests.e2e.session import CHECKOUT, User

__all__ = ["me", "ordinary_user", "scratch"]  # fixtures
NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
# In a process of the user, for so is the kernel that it starts: a notebook in, the notebook with its outputs out.
EXECUTE = """
import sys, nbclient, nbformat
notebook = nbformat.reads(sys.stdin.read(), as_version=4)
nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
sys.stdout.write(nbformat.writes(notebook))
"""


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["cells"]
    return found


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS] == ["01-four-communications.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_are_committed_without_outputs(path: Path) -> None:
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_run_without_root(path: Path, ordinary_user: User) -> None:
    with ordinary_user.spawn(
        [sys.executable, "-c", EXECUTE],
        stdin=subprocess.PIPE,
        env={"MPLCONFIGDIR": str(ordinary_user.temporary)},
    ) as process:
        stdout, stderr = process.communicate(path.read_text(), timeout=300)
    assert process.returncode == 0, stderr[-2000:]
    assert os.geteuid() != 0 or ordinary_user.uid != 0
    outputs = [output for cell in json.loads(stdout)["cells"] for output in cell.get("outputs", ())]
    assert [output for output in outputs if output.get("name") == "stderr"] == []
    drawn = [kind for output in outputs for kind in output.get("data", {})]
    assert drawn.count("image/svg+xml") == 5
    told = "".join(text for output in outputs for text in output.get("text", ()))
    assert told.count("predicted") >= 4
    assert "no answer" not in told
    assert not (ordinary_user.home / "walk" / "lab.json").exists() or not running(ordinary_user)


def running(user: User) -> bool:
    done = user.minipod("ls", "-o", "json")
    return any(row["state"] == "running" and row["name"] == "walk" for row in json.loads(done.stdout))
