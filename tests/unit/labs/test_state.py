"""A lab's folder: closed to others, and nothing in it is believed that the lock does not confirm."""

import os
import subprocess
from pathlib import Path

import pytest

from labs.errors import LabError
from labs.state import StateFolder, all_folders, home, wait_for_end


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINIPOD_HOME", str(tmp_path / "labs"))
    monkeypatch.delenv("MINIPOD_LAB", raising=False)
    return tmp_path / "labs"


def test_the_home_of_all_labs(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    assert home() == own_home
    monkeypatch.delenv("MINIPOD_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert home() == Path("/state/minipod")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/somebody")
    assert home() == Path("/somebody/.local/state/minipod")


def test_a_lab_is_named_by_option_then_environment_then_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert StateFolder.of(None).name == "lab"
    monkeypatch.setenv("MINIPOD_LAB", "mine")
    assert StateFolder.of(None).name == "mine"
    assert StateFolder.of("other").name == "other"


@pytest.mark.parametrize("name", ["A", "a_b", "-a", "a-", "a/b", "..", "a" * 41, "ä", "a b", "a\n"])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="a-z"):
        StateFolder.of(name)


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 40])
def test_a_name_that_can_be_is_taken(name: str) -> None:
    assert StateFolder.of(name).path.name == name


def test_the_folder_is_closed_to_others_even_when_it_was_open(own_home: Path) -> None:
    (own_home / "lab").mkdir(parents=True, mode=0o755)
    folder = StateFolder.of("lab")
    folder.make()
    assert folder.path.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_told(own_home: Path) -> None:
    own_home.write_text("a file is in the way")
    with pytest.raises(LabError, match="set MINIPOD_HOME"):
        StateFolder.of("lab").make()


def test_a_lock_is_had_once_and_is_free_when_its_holder_has_ended() -> None:
    folder = StateFolder.of("lab")
    folder.make()
    assert not folder.is_running()
    descriptor = folder.lock()
    assert folder.is_running()
    with pytest.raises(LabError, match=r"lab lab: already running: `minipod down --name lab`"):
        folder.lock()
    os.close(descriptor)
    assert not folder.is_running()


def test_a_lock_that_a_process_inherited_is_held_until_it_ends() -> None:
    folder = StateFolder.of("lab")
    folder.make()
    descriptor = folder.lock()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[descriptor]) as process:
        os.close(descriptor)
        assert folder.is_running()
        process.kill()
        process.wait()
    assert not folder.is_running()


def test_lab_json_of_a_lab_that_has_ended_is_not_believed() -> None:
    folder = StateFolder.of("lab")
    folder.make()
    folder.write({"pid": 1})
    with pytest.raises(LabError, match="not running: start it with `minipod up --name lab`"):
        folder.read()
    descriptor = folder.lock()
    assert folder.read() == {"pid": 1}
    (folder.path / "lab.json").unlink()
    with pytest.raises(LabError, match="still starting"):
        folder.read()
    os.close(descriptor)


def test_looking_never_stands_in_the_way_of_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody looks, with the file still open, the lock can be taken."""
    folder = StateFolder.of("lab")
    folder.make()
    os.close(folder.lock())
    with monkeypatch.context() as patched:
        patched.setattr(os, "close", lambda _: None)  # as if it were interrupted right after its look
        assert not folder.is_running()
    descriptor = folder.lock()
    assert folder.is_running()
    os.close(descriptor)


def test_all_folders_are_those_with_possible_names(own_home: Path) -> None:
    assert all_folders() == []
    for name in ("b", "a", "Not-A-Lab"):
        (own_home / name).mkdir(parents=True)
    (own_home / "file").write_text("")
    assert [folder.name for folder in all_folders()] == ["a", "b"]


def test_waiting_for_a_process_that_has_ended_returns() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
        assert wait_for_end(process.pid)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        assert not wait_for_end(process.pid, 0.0)
        process.kill()
        assert wait_for_end(process.pid, 10.0)
        assert process.poll() is not None or process.wait() == -9
