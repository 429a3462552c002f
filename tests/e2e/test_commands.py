"""The `minipod` command as a person at a terminal meets it: what it prints, and the exit codes that scripts rely on."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import new_name, readable_copy
from tests.e2e.session import READY, RunningLab, User, place_of
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
MANIFESTS = Path(__file__).parent / "manifests"
ONE_LINE = re.compile(r"minipod: .+\n")


def refused(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    """Assert that a command ended as a mistake of its user: code 2, one line, naming all of `words`."""
    assert done.returncode == 2, done
    assert ONE_LINE.fullmatch(done.stderr), done.stderr
    assert [word for word in words if word not in done.stderr] == [], done.stderr


# ---------------------------------------------------------------- up, ls, status, down


def test_up_tells_its_progress_and_ls_and_status_show_the_lab(either_lab: RunningLab) -> None:
    rows = {row["name"]: row for row in json.loads(either_lab.minipod("ls", "-o", "json").stdout)}
    assert rows[either_lab.name]["state"] == "running"
    assert rows[either_lab.name]["isolation"] == "user-namespace"
    assert Path(rows[either_lab.name]["folder"]).stat().st_mode & 0o777 == 0o700
    status = either_lab.minipod("status", "-o", "json")
    found = json.loads(status.stdout)
    assert (status.returncode, found["nodes"]) == (
        0,
        {"control-plane": True, "worker1": True, "worker2": True},
    )
    assert found["pods"]["ready"] >= 2
    assert "worker2" in either_lab.minipod("status").stdout


def test_a_cluster_file_and_options_make_the_lab(me: User, tmp_path: Path) -> None:
    file, name = tmp_path / "cluster.yaml", new_name()
    file.write_text("kind: Cluster\nworkers: 3\n")
    done = me.minipod("up", "--name", name, "-f", str(file), "--workers", "1", "-o", "json", timeout=60)
    running = RunningLab(me, name)
    try:
        assert (done.returncode, json.loads(done.stdout)["config"]["workers"]) == (0, 1), done.stderr
        assert re.search(r"[\d.]+ s  .*nodes", done.stderr)
        assert {node["metadata"]["name"] for node in running.get("nodes")} == {"control-plane", "worker1"}
    finally:
        running.down()
    assert "not running" in running.minipod("down").stderr
    assert name in {
        row["name"] for row in json.loads(me.minipod("ls", "-o", "json").stdout) if row["state"] == "stopped"
    }


def test_down_all_ends_every_lab_of_its_user_and_no_other(lab: RunningLab, me: User, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    elsewhere = {"MINIPOD_HOME": str(home)}
    names = [new_name(), new_name()]
    for name in names:
        assert me.minipod("up", "--name", name, "--workers", "1", env=elsewhere).returncode == 0
    done = me.minipod("down", "--all", env=elsewhere)
    assert (done.returncode, [name in done.stdout for name in names]) == (0, [True, True])
    assert all(
        row["state"] == "stopped" for row in json.loads(me.minipod("ls", "-o", "json", env=elsewhere).stdout)
    )
    assert lab.minipod("status").returncode == 0


def test_a_name_in_use_is_refused_and_the_lab_goes_on(either_lab: RunningLab) -> None:
    before = either_lab.info()
    refused(
        either_lab.user.minipod("up", "--name", either_lab.name),
        either_lab.name,
        "already running",
        "minipod down",
    )
    assert either_lab.info() == before
    assert either_lab.minipod("status").returncode == 0


CLUSTER_FILES = {
    "no workers": ("workers: 0\n", ("workers", "1 to", "0")),
    "too many workers": ("workers: 76\n", ("workers", "76")),
    "workers in words": ("workers: two\n", ("workers", "whole number", "two")),
    "an unknown field": ("nodes: 3\n", ("nodes", "workers")),
    "an unknown network": ("cni: none\n", ("cni", "flannel", "none")),
    "malformed YAML": ("workers: [\n", ("mend",)),
    "another kind": ("kind: Pod\n", ("kind", "Cluster", "Pod")),
    "no mapping": ("- 1\n", ("mapping",)),
    "binary": ("\x00\xff", ()),
}


@pytest.mark.parametrize("case", CLUSTER_FILES)
def test_a_bad_cluster_file_is_told_in_one_line_and_makes_nothing(
    case: str, me: User, tmp_path: Path
) -> None:
    text, words = CLUSTER_FILES[case]
    file, name = tmp_path / "cluster.yaml", new_name()
    file.write_bytes(text.encode("latin-1"))
    refused(me.minipod("up", "--name", name, "-f", str(file)), str(file), *words)
    assert not (me.home / name).exists()


@pytest.mark.parametrize("name", ["UPPER", "under_score", "-dash", "x" * 41, "../up", "a/b"])
def test_a_bad_name_is_refused(name: str, me: User) -> None:
    refused(me.minipod("up", f"--name={name}"), name, "a-z")


def test_up_without_rights_to_its_folder_says_which(
    ordinary_user: User, tmp_path_factory: pytest.TempPathFactory
) -> None:
    closed = tmp_path_factory.mktemp("closed") / "sub"
    closed.mkdir(mode=0o500)
    refused(
        ordinary_user.minipod("up", env={"MINIPOD_HOME": str(closed / "labs")}), str(closed), "MINIPOD_HOME"
    )


def test_up_without_root_cannot_be_privileged(ordinary_user: User) -> None:
    refused(ordinary_user.minipod("up", "--name", new_name(), "--privileged"), "--privileged", "root")


def test_commands_of_no_lab_name_the_next_step(me: User) -> None:
    for words in (
        ("status",),
        ("down",),
        ("exec", "outside", "--", "true"),
        ("kubectl", "get", "pods"),
        ("shell", "outside"),
    ):
        word, *rest = words
        refused(me.minipod(word, "--name", "nobody-started-it", *rest), "nobody-started-it", "minipod up")


def test_an_unknown_word_is_bad_usage(me: User) -> None:
    done = me.minipod("dance")
    assert (done.returncode, "dance" in done.stderr) == (2, True)


def test_a_reader_that_has_had_enough_is_no_error(lab: RunningLab) -> None:
    with lab.user.start("ls", "-o", "json") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert (process.stderr.read(), process.wait(timeout=READY)) == ("", 0)


def test_down_names_a_stopped_command_that_holds_the_lab(
    me: User, fresh_lab: Callable[..., RunningLab]
) -> None:
    """A stopped nsenter does not reap its child, and the kernel ends a process namespace only when all are reaped."""
    running = fresh_lab(me, "--workers", "1")
    words = ["exec", "--name", running.name, "node/worker1", "--", "sh", "-c", "echo on; exec sleep 100"]
    with me.start(*words) as process:
        assert process.stdout
        assert process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGSTOP)
        refused(running.minipod("down"), running.name, "minipod exec")
        process.send_signal(signal.SIGCONT)
        process.wait(timeout=READY)
    rows = json.loads(me.minipod("ls", "-o", "json").stdout)
    assert [row["state"] for row in rows if row["name"] == running.name] == ["stopped"]


# ---------------------------------------------------------------- exec


@pytest.fixture(scope="module")
def pod(lab: RunningLab) -> str:
    return place_of(lab.ready_pods(2, "kube-system")[0])


def test_exec_keeps_the_exit_code(either_lab: RunningLab) -> None:
    pod = place_of(either_lab.ready_pods(2, "kube-system")[0])
    for machine in ("node/worker1", "router", "outside", "vm/vm1", "lb/lb1", pod):
        assert either_lab.exec_by_command(machine, "sh", "-c", "exit 7").returncode == 7, machine
        assert either_lab.exec_by_command(machine, "true").returncode == 0, machine


def test_exec_passes_input_output_and_errors_on(either_lab: RunningLab) -> None:
    done = either_lab.exec_by_command("node/worker1", "sh", "-c", "cat; echo bad >&2", stdin="one\ntwo\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\ntwo\n", "bad\n")


def test_exec_runs_there(either_lab: RunningLab) -> None:
    node = ("node/worker1", "sh", "-c", "hostname; ip -br addr show eth0")
    name, address = either_lab.exec_by_command(*node).stdout.splitlines()
    assert (name, "192.168.50.21" in address) == ("worker1", True)
    assert either_lab.exec_by_command("outside", "id", "-u").stdout.strip() == "0"


def test_exec_leaves_the_words_after_the_dashes_alone(lab: RunningLab) -> None:
    words = ("echo", "-n", "--name", "x", "--", "$HOME")
    assert lab.exec_by_command("outside", *words).stdout == "--name x -- $HOME"


def test_exec_ends_by_a_signal_as_the_command_does(lab: RunningLab, pod: str) -> None:
    for machine in ("node/worker1", pod):
        with lab.user.start(
            "exec", "--name", lab.name, machine, "--", "sh", "-c", "echo on; exec sleep 100"
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == "on\n"
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=READY)
        wait_until(
            lambda: "sleep 100" not in lab.output("router", "ps", "-eo", "args"),
            READY,
            f"{machine}: the command's end",
        )


def test_exec_refusals_are_one_line(lab: RunningLab, pod: str) -> None:
    refused(lab.exec_by_command("node/worker9", "true"), "node/worker9", "node/worker1", "outside")
    refused(lab.exec_by_command("vm/worker1", "true"), "vm/worker1", "no such machine")
    refused(lab.exec_by_command("pod/nobody", "true"), "pod/nobody", "minipod kubectl get pods")
    refused(lab.exec_by_command(pod, "true", container="other"), "other", pod.split(".")[0])
    refused(lab.minipod("exec", "outside"), "outside", "minipod shell")
    assert lab.exec_by_command("outside", "no-such-command").returncode == 127


# ---------------------------------------------------------------- shell


class Terminal:
    """A command under a terminal of its own; `expect` reads on until a pattern has come."""

    def __init__(self, user: User, *words: str) -> None:
        self._master, slave = pty.openpty()
        streams: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.process = user.start(*words, **streams, start_new_session=True, preexec_fn=take_terminal)
        os.close(slave)
        self.text = ""

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def expect(self, pattern: str) -> str:
        end = time.monotonic() + READY
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < end, f"no {pattern!r} in {self.text!r}"
            if select.select([self._master], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    self.text += os.read(self._master, 4096).decode(errors="replace")
        self.text = self.text[found.end() :]
        return found[0]

    def close(self) -> None:
        os.close(self._master)
        self.process.kill()
        self.process.wait()


def take_terminal() -> None:
    """In the child: its standard input becomes the terminal that controls it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


@pytest.mark.parametrize("where", ["node/worker1", "outside", "pod"])
def test_shell_is_interactive_with_job_control(
    where: str, either_lab: RunningLab, terminals: list[Terminal]
) -> None:
    machine = place_of(either_lab.ready_pods(2, "kube-system")[0]) if where == "pod" else where
    terminal = Terminal(either_lab.user, "shell", "--name", either_lab.name, machine)
    terminals.append(terminal)
    terminal.expect(re.escape(f"{machine}# "))
    terminal.type("sh -c 'echo job=$((6*7)); exec cat'\r")
    terminal.expect(r"job=42")
    terminal.type("\x1a")  # Ctrl-Z
    terminal.expect(r"Stopped.*\r\n")
    terminal.type("fg\r")
    terminal.expect(r"exec cat'\r\n")
    terminal.type("back\n")
    terminal.expect(r"back\r\nback")
    terminal.type("\x03")  # Ctrl-C ends the job, not the shell
    terminal.expect(re.escape(f"{machine}# "))
    terminal.type("exit 5\r")
    assert terminal.process.wait(timeout=READY) == 5


# ---------------------------------------------------------------- what the machine lacks


LACKS = {
    "a program": ("PROGRAMS['not-installed'] = 'some-package'", ("not-installed", "some-package")),
    "a kernel feature": (
        "FEATURES += (_link('imaginary', 'nothing works', 'link add x type imaginary'),)",
        ("imaginary", "nothing works"),
    ),
}


@pytest.mark.parametrize("what", LACKS)
def test_what_the_machine_lacks_is_named_before_anything_is_made(
    what: str, user: User, scratch: Path
) -> None:
    """The copy of Minipod that is started here also asks for something that no machine has."""
    wanted, words = LACKS[what]
    checkout = scratch / f"lacking-{user.uid}-{what.replace(' ', '-')}"
    readable_copy(checkout)
    with (checkout / "topo" / "preflight.py").open("a") as preflight:
        preflight.write(f"\n{wanted}\n")
    name = new_name()
    done = replace(user, checkout=checkout).minipod("up", "--name", name)
    assert done.returncode == 2, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("minipod: "))
    assert [word for word in (*words, "scripts/setup") if word not in line] == [], done.stderr
    rows = json.loads(user.minipod("ls", "-o", "json").stdout)
    assert [row["state"] for row in rows if row["name"] == name] in ([], ["stopped"])
