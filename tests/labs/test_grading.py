"""`minipod grade` on honest and hostile submissions, without root: each gets what it earned, and a reason."""

import csv
import json
from pathlib import Path

import pytest

from labs.cli import main
from labs.course import definition
from labs.course.starter import solution
from tests.e2e.conftest import me, ordinary_user, scratch
from tests.e2e.session import User
from tests.unit.grading.test_archives import zip_of

__all__ = ["me", "ordinary_user", "scratch"]  # fixtures
LAB = definition.find("09-load-balancer")
RIGHT = solution(LAB, LAB.exercises[0])
# Whatever a file may try when it is loaded; each way is closed, and what it does besides is right.
TRIES = """

def _try(attempt):
    try:
        attempt()
    except BaseException:
        pass


def _forge():
    import os
    for descriptor in range(3, 64):
        _try(lambda: os.write(descriptor, b'{"report": {"points": 1000, "results": []}}\\n'))


def _attempts():
    import ctypes, os, signal, socket, subprocess, sys
    print('{"result": {"name": "test_round_robin", "points": 1000}}' * 1000)
    yield lambda: os.fork()
    yield lambda: subprocess.run(["/bin/sh", "-c", "true"])
    yield lambda: open("/tmp/full", "wb").write(bytes(1 << 20))
    yield lambda: bytearray(1 << 40)
    yield lambda: socket.create_connection(("192.168.50.10", 6443), 1)
    yield lambda: os.kill(1, signal.SIGKILL) if os.getpid() != 1 else None
    yield lambda: os.listdir("/run/minipod/code/netfns")
    yield lambda: ctypes.CDLL(None).mount(b"tmpfs", b"/usr", b"tmpfs", 0, None)
    yield lambda: exec("from netfns.python_balancer import choose as stolen", globals())
    yield lambda: sys.exit(0)


for _attempt in _attempts():
    _try(_attempt)
assert "stolen" not in globals()
"""
PARTLY = """

def checked(state, passed, rise, fall):
    return bytearray(1 << 40)
"""


@pytest.fixture
def handed_in(scratch: Path, ordinary_user: User) -> Path:
    folder = scratch / "handed-in"
    folder.mkdir()
    zip_of(folder / "alice.zip", ("my-lab/python_balancer.py", (RIGHT + TRIES).encode()))
    (folder / "bob.py").write_text(RIGHT + PARTLY)
    (folder / "carol.py").write_text("while True:\n    pass\n")
    zip_of(folder / "eve.zip", ("../../python_balancer.py", RIGHT.encode()))
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.mark.e2e
@pytest.mark.slow
def test_everybody_gets_what_they_earned_and_a_reason(handed_in: Path, ordinary_user: User) -> None:
    out = ordinary_user.home / "grades"
    words = ("grade", LAB.name, str(handed_in), "--out", str(out))
    done = ordinary_user.minipod(*words, "--jobs", "2", timeout=300)
    assert done.returncode == 0, done.stderr
    rows = {row["student"]: row for row in csv.DictReader((out / "grades.csv").read_text().splitlines())}
    assert list(rows) == ["alice", "bob", "carol", "eve"]
    assert rows["alice"]["points"] == "100", done.stdout
    lost = {check for check, points in rows["bob"].items() if check.startswith("test_") and points == "0"}
    assert lost == {"test_a_dead_server_gets_nothing", "test_a_server_comes_back", "test_results_in_a_row"}
    assert "checked: MemoryError" in rows["bob"]["notes"]
    assert rows["carol"]["points"] == "0"
    assert "it does not end" in rows["carol"]["notes"]
    assert (rows["eve"]["points"], rows["eve"]["max_points"]) == ("0", "100")
    assert rows["eve"]["notes"] == "eve.zip: ../../python_balancer.py: leads out of the folder"

    tests = json.loads((out / "bob/results.json").read_text())["tests"]
    assert sum(test["score"] for test in tests) == 55
    assert [test["visibility"] for test in tests].count("hidden") == 1
    assert all(test["output"] for test in tests if test["status"] == "failed")
    assert [path.name for path in ordinary_user.temporary.iterdir() if "grade" in path.name] == []

    again = ordinary_user.minipod(*words, "--resume", "-o", "json")
    assert (again.returncode, again.stderr) == (0, ""), "nothing is graded twice"
    assert [report["points"] for report in json.loads(again.stdout)] == [100, 55, 0, 0]


def test_bad_usage_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "alice.py").touch()
    (tmp_path / "bob.py").touch()
    alice, bob, out = str(tmp_path / "alice.py"), str(tmp_path / "bob.py"), str(tmp_path / "out")
    cases = [
        (["grade", "42", alice], "42: no such lab"),
        (["grade", "09", str(tmp_path / "nobody")], "no such file or folder"),
        (["grade", "09", alice, "--jobs", "1000"], "--jobs 1000: want 1 to 64"),
        (
            ["grade", "09", alice, bob, "--results", "x.json"],
            "--results: it is one submission's file: 2 were given",
        ),
        (["grade", "09", alice, "--out", alice], f"{alice}: File exists"),
    ]
    for words, reason in cases:
        assert main([*words, *([] if "--out" in words else ["--out", out])]) == 2
        told = capsys.readouterr().err
        assert reason in told
        assert told.count("\n") == 1
    with pytest.raises(SystemExit) as raised:
        main(["grade", "09", alice, "--privileged"])
    assert raised.value.code == 2
