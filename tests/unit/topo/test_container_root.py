"""A path in a container stays in the container, whatever links its image has laid."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topo.container_root import places


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
    assert places(str(root), path)[-1] == place


@pytest.mark.parametrize("path", ["etc/hosts", "", "../x"])
def test_only_absolute_paths_name_a_place(root: Path, path: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        places(str(root), path)


@pytest.mark.parametrize("path", ["/etc/loop", "/etc/ping/x"])
def test_links_that_go_round_are_refused(root: Path, path: str) -> None:
    with pytest.raises(ValueError, match="links"):
        places(str(root), path)


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b", "etc"]), max_size=12))
def test_no_mix_of_dots_leaves_the_root(parts: list[str]) -> None:
    assert not any(".." in place.split("/") for place in places("/nowhere/root", "/" + "/".join(parts)))


def test_all_places_on_the_way_are_told(root: Path) -> None:
    passed = ["/etc", "/etc/two", "/var", "/usr", "/usr/bin", "/usr/bin/sh"]
    assert [place for place in dict.fromkeys(places(str(root), "/etc/two/sh")) if place] == passed
