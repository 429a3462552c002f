"""What the README and CONTRIBUTING.md say of the repository is so."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
README = (CHECKOUT / "README.md").read_text()


def test_the_first_screen_shows_the_two_commands() -> None:
    first_screen = README.splitlines()[:20]
    assert any(line.startswith("scripts/demo ") for line in first_screen)
    assert any(line.startswith("scripts/test ") for line in first_screen)


def test_every_folder_is_on_the_map() -> None:
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    tracked = subprocess.run(
        ["git", "-c", f"safe.directory={CHECKOUT}", "ls-tree", "-d", "--name-only", "HEAD"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    if tracked.returncode != 0:
        pytest.skip("the checkout is a copy without its history")
    folders = {name for name in tracked.stdout.split() if not name.startswith(".")}
    on_the_map = set(re.findall(r"^\| `(\w+)/` \|", README, re.MULTILINE))
    assert folders - on_the_map - {"requirements"} == set()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/adr/0001-one-set-up.md"])
def test_every_file_that_is_named_exists(name: str) -> None:
    named = set(re.findall(r"`((?:\w+/)+\w+\.\w+|scripts/\w+)`", (CHECKOUT / name).read_text()))
    assert named
    assert [path for path in sorted(named) if "NAME" not in path and not (CHECKOUT / path).exists()] == []
