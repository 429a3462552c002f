"""A path in a container stays in the container, whatever links its image has laid."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topo.rootfs import inside, remove_tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "usr" / "bin").mkdir(parents=True)
    links = {
        "bin": "usr/bin",
        "var": "/usr",
        "up": "../../..",
        "far": "/../../../../etc",
        "etc/loop": "loop",
        "etc/ping": "/etc/pong",
        "etc/pong": "/etc/ping",
        "etc/two": "/var/bin",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    return root


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/etc/hosts", "/etc/hosts"),
        ("/bin/sh", "/usr/bin/sh"),
        ("/var/bin/sh", "/usr/bin/sh"),
        ("/etc/two/sh", "/usr/bin/sh"),
        ("/../../../etc/passwd", "/etc/passwd"),
        ("/etc/../../../../x", "/x"),
        ("/up/x", "/x"),
        ("/far/shadow", "/etc/shadow"),
        ("/not/there/yet", "/not/there/yet"),
        ("//etc//./hosts/", "/etc/hosts"),
        ("/", ""),
    ],
)
def test_links_are_followed_as_a_process_with_this_root_would(root: Path, path: str, place: str) -> None:
    assert inside(str(root), path) == f"{root}{place}"


@pytest.mark.parametrize("path", ["etc/hosts", "", "../x"])
def test_only_absolute_paths_name_a_place(root: Path, path: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        inside(str(root), path)


@pytest.mark.parametrize("path", ["/etc/loop", "/etc/ping/x"])
def test_links_that_go_round_are_refused(root: Path, path: str) -> None:
    with pytest.raises(ValueError, match="links"):
        inside(str(root), path)


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b", "etc"]), max_size=12))
def test_no_mix_of_dots_leaves_the_root(parts: list[str]) -> None:
    assert inside("/nowhere/root", "/" + "/".join(parts)).startswith("/nowhere/root")
    assert ".." not in inside("/nowhere/root", "/" + "/".join(parts)).split("/")


def test_a_tree_with_closed_folders_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "pod" / "work"
    folder.mkdir(parents=True)
    (folder / "file").write_text("x")
    folder.chmod(0)
    remove_tree(str(tmp_path / "pod"))
    assert not (tmp_path / "pod").exists()
