"""How scripts/test runs files side by side: its own words and tests/conftest.py, tried on a few small files."""

import os
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import pytest_xdist_auto_num_workers

CHECKOUT = Path(__file__).resolve().parents[3]
INI = "[pytest]\ntestpaths = tests\nmarkers = alone\n"
FILE = """
import os, time
import pytest

@MARK
@pytest.mark.parametrize("number", range(6))
def test_it(number):
    began = time.monotonic()
    while time.monotonic() < began + 0.02:
        pass
    with open("times", "a") as file:
        file.write(f"KIND {os.environ.get('PYTEST_XDIST_WORKER', 'none')} {began} {time.monotonic()}\\n")
"""
Turn = tuple[str, str, float, float]  # kind, lane, begin, end


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A checkout with tests that note when they ran: two files of the usual kind, one that must be alone."""
    folder = tmp_path / "tests"
    folder.mkdir()
    (tmp_path / "pytest.ini").write_text(INI)
    (folder / "conftest.py").write_text((CHECKOUT / "tests" / "conftest.py").read_text())
    for name, kind in (("a", "usual"), ("b", "alone"), ("c", "usual")):
        text = FILE.replace("KIND", kind).replace(
            "@MARK\n", "@pytest.mark.alone\n" if kind == "alone" else ""
        )
        (folder / f"test_{name}.py").write_text(text)
    return tmp_path


def run(suite: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Pytest as scripts/test calls it."""
    (own,) = re.findall(r'-m pytest (.*) "\$@"', (CHECKOUT / "scripts" / "test").read_text())
    argv = [sys.executable, "-m", "pytest", *own.split(), *words]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(argv, cwd=suite, env=outside, capture_output=True, text=True, timeout=60)


def turns(suite: Path) -> list[Turn]:
    rows = [line.split() for line in (suite / "times").read_text().splitlines()]
    return [(kind, lane, float(began), float(ended)) for kind, lane, began, ended in rows]


def test_files_run_side_by_side_but_for_tests_that_are_alone_and_a_failure_fails_all(suite: Path) -> None:
    (suite / "tests" / "test_d.py").write_text("def test_wrong():\n    assert 1 == 2\n")
    done = run(suite)
    assert done.returncode == 1, done.stdout
    assert re.fullmatch(r"=+ 1 failed, 18 passed in .*", done.stdout.splitlines()[-1])
    ran = turns(suite)
    assert len({lane for _, lane, _, _ in ran}) > 1
    beside = [{a[0], b[0]} for a, b in combinations(ran, 2) if a[2] < b[3] and b[2] < a[3]]
    assert [kinds for kinds in beside if "alone" in kinds] == []


def test_a_choice_is_run_in_the_process_itself(suite: Path) -> None:
    assert run(suite, "tests/test_a.py").returncode == 0
    assert {lane for _, lane, _, _ in turns(suite)} == {"none"}


@pytest.mark.parametrize(
    ("keyword", "marks", "lanes"), [("", "", True), ("dns", "", False), ("", "e2e", False)]
)
def test_there_are_lanes_for_all_tests_together(keyword: str, marks: str, lanes: bool) -> None:
    option = SimpleNamespace(keyword=keyword, markexpr=marks)
    config = SimpleNamespace(args_source=pytest.Config.ArgsSource.TESTPATHS, option=option)
    assert (pytest_xdist_auto_num_workers(config) > 1) is lanes  # type: ignore[arg-type]
