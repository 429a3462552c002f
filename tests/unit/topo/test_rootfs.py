"""What is left of a container goes, whatever rights it has been given."""

from pathlib import Path

from topo.rootfs import remove_tree


def test_a_tree_with_closed_folders_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "pod" / "work"
    folder.mkdir(parents=True)
    (folder / "file").write_text("x")
    folder.chmod(0)
    remove_tree(str(tmp_path / "pod"))
    assert not (tmp_path / "pod").exists()
