"""The locks against pyproject.toml: complete, consistent, hashed, without an address."""

import re
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[3]
LOCKS = sorted((CHECKOUT / "requirements").glob("*.txt"))
SETS = ("minipod", "test", "notebook", "ryu")  # what shares one virtual environment
PYTHONS = ("3.11", "3.12", "3.13")


@cache
def project() -> dict[str, list[str]]:
    """Requirements by lock, as pyproject.toml names them."""
    table = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    return {"minipod": table["dependencies"], **table["optional-dependencies"]}


def locked(name: str) -> list[Requirement]:
    """The releases of requirements/NAME.txt."""
    lines = (CHECKOUT / f"requirements/{name}.txt").read_text().splitlines()
    return [Requirement(line.rstrip(" \\")) for line in lines if line and line[0] not in "# "]


def versions(names: tuple[str, ...], python: str) -> dict[str, set[str]]:
    """Package -> versions that these locks install together on `python`."""
    environment = {"python_version": python, "python_full_version": f"{python}.2"}
    chosen: dict[str, set[str]] = {}
    for name in names:
        for release in locked(name):
            if release.marker is None or release.marker.evaluate(environment):
                [pin] = release.specifier
                assert pin.operator == "=="
                chosen.setdefault(canonicalize_name(release.name), set()).add(pin.version)
    return chosen


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", [*SETS, "build"])
def test_every_dependency_is_locked_inside_its_range(name: str, python: str) -> None:
    have = versions(("build",) if name == "build" else ("minipod", name), python)
    for requirement in map(Requirement, project()[name]):
        for version in have[canonicalize_name(requirement.name)]:
            assert requirement.specifier.contains(version, prereleases=True), version


@pytest.mark.parametrize("python", PYTHONS)
def test_the_locks_agree_on_one_version_of_everything(python: str) -> None:
    assert {k: v for k, v in versions(SETS, python).items() if len(v) != 1} == {}


def test_every_extra_has_a_lock() -> None:
    assert {path.stem for path in LOCKS} == set(project())


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_release_has_hashes_and_no_address(path: Path) -> None:
    text = "".join(line for line in path.open() if not line.startswith("#"))
    for block in re.split(r"\n(?=\S)", text.rstrip()):
        release, *hashes = block.splitlines()
        assert re.fullmatch(r"[a-z0-9.-]+==[\w.]+( ; [^\\]*[^\\ ])? \\", release)
        assert hashes
        for line in hashes:
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line)


def test_what_the_locked_packages_need_is_locked_too() -> None:
    """set-up installs with --no-deps: a lock that forgot something would only fail at run time."""
    have = versions(SETS, f"{sys.version_info.major}.{sys.version_info.minor}")
    looked_at, lacking = 0, []
    for distribution in metadata.distributions():
        name = canonicalize_name(distribution.name)
        if name == "ryu" or distribution.version not in have.get(name, ()):
            continue  # not from the locks; or Ryu, whose metadata pins releases that its code does not need
        looked_at += 1
        needs = [Requirement(text) for text in distribution.requires or []]
        lacking += [
            f"{name} needs {need}"
            for need in needs
            if need.marker is None or need.marker.evaluate({"extra": ""})
            if not any(need.specifier.contains(v, True) for v in have.get(canonicalize_name(need.name), ()))
        ]
    assert lacking == []
    assert looked_at >= len(versions(("test",), "3.11"))
