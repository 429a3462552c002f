"""A cluster file says what a lab is made of; a mistake in it is told in one line: place, fact, next step."""

from pathlib import Path

import pytest

from labs.cluster_file import ClusterConfig, load, with_options
from labs.errors import LabError

GOOD = {
    "": ClusterConfig(),
    "apiVersion: minipod.dev/v1\nkind: Cluster\n": ClusterConfig(),
    "workers: 5\n": ClusterConfig(workers=5),
    "ipFamilies: [IPv6, IPv4]\n": ClusterConfig(ip_families=("IPv6", "IPv4")),
    "ipFamilies: [IPv4]\n": ClusterConfig(ip_families=("IPv4",)),
    "proxyMode: nftables\ncni: flannel\nworkers: 1\n": ClusterConfig(workers=1),
}
BAD = {
    "workers: 0": "workers: want 1 to 75, got 0",
    "workers: 76": "workers: want 1 to 75, got 76",
    "workers: -1": "workers: want 1 to 75, got -1",
    "workers: true": "workers: want a whole number, got True",
    "workers: 2.5": "workers: want a whole number, got 2.5",
    "workers:": "workers: want a whole number, got None",
    "cni: other": "cni: want one of",
    "proxyMode: [1]": "proxyMode: want one of",
    "ipFamilies: [IPv6]": "ipFamilies: want [IPv4, IPv6] or [IPv4] or [IPv6, IPv4], got [IPv6]",
    "ipFamilies: [IPv4, IPv4]": "ipFamilies: want [IPv4, IPv6] or",
    "ipFamilies: [[IPv4], {}]": "ipFamilies: want [IPv4, IPv6] or",
    "ipFamilies: IPv4": "ipFamilies: want [IPv4, IPv6] or [IPv4] or [IPv6, IPv4], got 'IPv4'",
    "worker: 2": "worker: unknown field: want one of",
    "apiVersion: v1": "apiVersion: want minipod.dev/v1, got 'v1'",
    "kind: Pod": "kind: want Cluster, got 'Pod'",
    "[]": "want a mapping",
    "3": "want a mapping",
}


@pytest.mark.parametrize("text", GOOD)
def test_what_is_left_out_has_a_default(text: str, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    assert load(file) == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_a_mistake_is_one_line_with_the_files_name(text: str, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(LabError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: {BAD[text]}")
    assert "\n" not in str(caught.value)


def test_malformed_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("kind: Cluster\nworkers: [1\n")
    with pytest.raises(LabError, match=rf"^{file}: line 3: .*: mend the YAML$"):
        load(file)


def test_what_is_no_readable_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("none", ".", "binary"):
        with pytest.raises(LabError, match="give the path of a cluster file"):
            load(tmp_path / name)


def test_options_win_over_the_file() -> None:
    config = with_options(ClusterConfig(workers=3), workers=7, cni=None, unrelated=1)
    assert config == ClusterConfig(workers=7)
    with pytest.raises(LabError, match="minipod up: workers: want 1 to"):
        with_options(config, workers=0)


def test_a_config_survives_json() -> None:
    config = ClusterConfig(workers=9, ip_families=("IPv4",))
    assert ClusterConfig.from_json(config.to_json()) == config
