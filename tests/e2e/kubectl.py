"""Real kubectl on a lab: today's, which Minipod installs, and 1.20, which Debian 12 packages."""

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labs.commands import kubectl
from tests.e2e.session import RunningLab

OLD_PACKAGE = "kubernetes-client"
OLD_VERSION = "1.20"


@dataclass(frozen=True)
class Kubectl:
    """A kubectl, a lab and a namespace."""

    lab: RunningLab
    namespace: str
    program: str

    @classmethod
    def of(cls, lab: RunningLab, namespace: str) -> "Kubectl":
        """The kubectl that is installed with Minipod."""
        return cls(lab, namespace, kubectl.find())

    @property
    def environment(self) -> dict[str, str]:
        """What kubectl needs to know, and a home without another cluster's configuration."""
        home = self.lab.user.home
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "KUBECONFIG": str(home / self.lab.name / "kubeconfig"),
        }

    def argv(self, *words: str) -> list[str]:
        """The command line."""
        return [self.program, f"--namespace={self.namespace}", *words]

    def run(
        self, *words: str, stdin: bytes = b"", timeout: float = 30.0
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run it to its end."""
        return subprocess.run(
            self.argv(*words), input=stdin, capture_output=True, env=self.environment, timeout=timeout
        )

    def output(self, *words: str, stdin: bytes = b"") -> bytes:
        """What it prints; it must succeed."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.returncode}: {done.stderr.decode()}"
        return done.stdout

    def text(self, *words: str, stdin: str = "") -> str:
        """The same as text."""
        return self.output(*words, stdin=stdin.encode()).decode()

    def start(self, *words: str, **options: Any) -> "subprocess.Popen[bytes]":
        """Start it. Options are subprocess.Popen's."""
        options = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
        } | options
        process: subprocess.Popen[Any] = subprocess.Popen(self.argv(*words), env=self.environment, **options)
        return process

    @contextmanager
    def running(self, *words: str, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
        """Start it, and kill it at the end of the block."""
        with self.start(*words, **options) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def at_a_terminal(self, *words: str, size: tuple[int, int] = (24, 80)) -> Iterator["Terminal"]:
        """Start it at a terminal of its own."""
        master, slave = pty.openpty()
        terminal = Terminal(master)
        terminal.resize(*size)
        argv = ["setsid", "--ctty", *self.argv(*words)]
        with subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=self.environment) as process:
            os.close(slave)
            terminal.process = process
            try:
                yield terminal
            finally:
                process.kill()
                os.close(master)


class Terminal:
    """The hands and eyes at a terminal."""

    process: "subprocess.Popen[bytes]"

    def __init__(self, master: int) -> None:
        self._master = master
        self._seen = b""

    def resize(self, rows: int, columns: int) -> None:
        """Drag the window's corner."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Type."""
        os.write(self._master, text.encode())

    def wait_for(self, text: str, deadline: float = 15.0) -> str:
        """Wait until `text` appears; what was shown up to it is returned, and forgotten."""
        end = time.monotonic() + deadline
        while text.encode() not in self._seen:
            ready, _, _ = select.select([self._master], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{text!r}: not within {deadline} s: {self._seen!r}"
            try:
                data = os.read(self._master, 4096)
            except OSError:
                data = b""
            assert data, f"{text!r}: the terminal ended: {self._seen!r}"
            self._seen += data
        shown, _, self._seen = self._seen.partition(text.encode())
        return shown.decode(errors="replace")

    def end(self, deadline: float = 15.0) -> int:
        """Wait for the program's end; its exit status."""
        end = time.monotonic() + deadline
        while self.process.poll() is None and time.monotonic() < end:
            ready, _, _ = select.select([self._master], [], [], 0.1)
            if ready:
                try:
                    self._seen += os.read(self._master, 4096)
                except OSError:
                    break
        return self.process.wait(max(0.1, end - time.monotonic()))


def unpack_old(folder: Path) -> str | None:
    """kubectl 1.20 out of Debian 12's package, unpacked into `folder`, not installed; None where there is none."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    fetched = subprocess.run(
        ["apt-get", "download", OLD_PACKAGE], cwd=folder, capture_output=True, timeout=120
    )
    packages = list(folder.glob(f"{OLD_PACKAGE}_{OLD_VERSION}*.deb"))
    if fetched.returncode or not packages:
        return None
    subprocess.run(["dpkg-deb", "-x", str(packages[0]), str(folder)], check=True)
    return str(folder / "usr/bin/kubectl")
