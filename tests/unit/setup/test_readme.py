"""What the README and CONTRIBUTING.md say of the repository is so."""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
README = (CHECKOUT / "README.md").read_text()


def test_the_first_screen_shows_the_two_commands() -> None:
    first_screen = README.splitlines()[:20]
    assert any(line.startswith("scripts/demo ") for line in first_screen)
    assert any(line.startswith("scripts/test ") for line in first_screen)


def test_every_folder_is_on_the_map() -> None:
    ignored = (CHECKOUT / ".gitignore").read_text().split()
    folders = {path.name for path in CHECKOUT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    folders -= {name.rstrip("/") for name in ignored} | {"requirements"}
    on_the_map = set(re.findall(r"^\| `(\w+)/` \|", README, re.MULTILINE))
    assert folders >= {"topo", "tests", "scripts"}
    assert folders - on_the_map == set()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/adr/0001-one-set-up.md"])
def test_every_file_that_is_named_exists(name: str) -> None:
    named = set(re.findall(r"`((?:\w+/)+\w+\.\w+|scripts/\w+)`", (CHECKOUT / name).read_text()))
    assert named
    assert [path for path in sorted(named) if "NAME" not in path and not (CHECKOUT / path).exists()] == []
