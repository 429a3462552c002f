"""A running lab, as commands, tests and notebooks hold it.

lab = Lab.attach("lab")
lab.exec("pod/web-1", ["curl", "-s", "http://api"]).stdout
"""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from labs.errors import LabError
from labs.sockets import connect, short_path
from labs.state import StateFolder, wait_for_end
from topo import probe, wire
from topo.capture import Capture
from topo.enter import Completed, environment
from topo.probe import Outcome

if TYPE_CHECKING:
    from controlplane.client import Client

END_WITHIN = 5.0  # seconds; the kernel needs far less

# By their paths: a container's environment may search elsewhere.
_NSENTER = shutil.which("nsenter") or "/usr/bin/nsenter"


class Lab:
    """A running lab of this user. Every method raises LabError when the lab has ended."""

    def __init__(self, folder: StateFolder, info: dict[str, Any]) -> None:
        self.name = folder.name
        self.folder = folder
        self.info = info

    @classmethod
    def attach(cls, name: str | None = None) -> "Lab":
        """The running lab with this name. Raises LabError."""
        folder = StateFolder.of(name)
        return cls(folder, folder.read())

    @property
    def kubeconfig(self) -> str:
        """The path of its kubeconfig."""
        return str(self.folder.path / "kubeconfig")

    @contextmanager
    def api(self) -> Iterator["Client"]:
        """A client of its Kubernetes API, over the Unix socket in its folder."""
        from controlplane.client import Client  # not for `minipod exec`: a third of what a start of it costs

        with short_path(self.folder.path / "api.sock") as path, Client.unix(path) as client:
            yield client

    def down(self) -> None:
        """End the lab and all that is in it."""
        try:
            pidfd = os.pidfd_open(self.info["pid"])
        except ProcessLookupError:
            return
        if self.folder.is_running():
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        if not wait_for_end(self.info["pid"], END_WITHIN):
            raise LabError(
                f"lab {self.name}: killed, but a command that went into it is not gone: "
                "continue or kill the stopped `minipod exec` or `minipod shell`"
            )

    def ask(self, **request: Any) -> tuple[dict[str, Any], list[int]]:
        """One request at the lab's own door (labs.control): the answer and its descriptors."""
        try:
            with connect(self.folder.path / "control.sock", socket.SOCK_SEQPACKET) as channel:
                wire.send(channel, request)
                received = wire.receive(channel)
        except OSError as error:
            raise LabError(f"lab {self.name}: {error.strerror}: is it running? see `minipod ls`") from None
        if received is None:
            raise LabError(f"lab {self.name}: ended: start it with `minipod up --name {self.name}`")
        if "error" in received[0]:
            raise LabError(received[0]["error"])
        return received

    def status(self) -> dict[str, Any]:
        """The lab in numbers; see labs.control."""
        return self.ask(do="status")[0]

    def fill_seat(self, seat: str, file: dict[str, str] | None, *, clear: bool = False) -> dict[str, str]:
        """Give a seat to a student's file (labs.launch.student_file), or back to the reference; see labs.control.

        Returns what went wrong, by machine. Raises LabError when the file cannot take the seat.
        """
        request = {"seat": seat, "clear": clear, **(file or {})}
        return dict(self.ask(do="netfn", **request)[0]["errors"])

    def settle(self) -> dict[str, str]:
        """Return once the agents in seats have done what was to be done; what went wrong, by machine."""
        return dict(self.ask(do="settle")[0]["errors"])

    def exec(
        self,
        machine: str,
        argv: Sequence[str],
        stdin: str = "",
        *,
        container: str = "",
        timeout: float | None = None,
    ) -> Completed:
        """Run a command on a machine or in a pod to its end. A time-out (seconds) gives status 124, as timeout(1)."""
        command, env = self._command(machine, argv, container)
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, errors="replace", timeout=timeout,
                env=env, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            partial = (error.stdout or b"").decode(errors="replace")
            return Completed(tuple(argv), 124, partial, f"no end after {timeout} s")
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)

    def popen(self, machine: str, argv: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
        """Start a command on a machine or in a pod; it ends with the process that is returned. Options are Popen's."""
        command, env = self._command(machine, argv, "")
        process: subprocess.Popen[bytes] = subprocess.Popen(command, env=env, **options)
        return process

    def socket(self, machine: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket made in the network of a machine or a pod; what is sent on it is sent from there."""
        _, descriptors = self.ask(
            do="socket", machine=machine, family=int(family), type=int(kind), protocol=int(protocol)
        )
        return socket.socket(fileno=descriptors[0])

    def capture(self, machine: str, device: str = "eth0") -> Capture:
        """Begin to record the packets that pass a device of a machine or a pod."""
        _, descriptors = self.ask(do="capture", machine=machine, device=device)
        return Capture(socket.socket(fileno=descriptors[0]))

    def tcp(
        self, machine: str, address: str, port: int, payload: bytes = b"", timeout: float = 3.0
    ) -> Outcome:
        """Probe a TCP port from a machine or a pod; see topo.probe."""
        return probe.tcp(partial(self.socket, machine), address, port, payload, timeout)

    def udp(self, machine: str, address: str, port: int, payload: bytes, timeout: float = 3.0) -> Outcome:
        """Probe a UDP port from a machine or a pod; see topo.probe."""
        return probe.udp(partial(self.socket, machine), address, port, payload, timeout)

    def replace_process(self, machine: str, argv: Sequence[str], container: str = "") -> NoReturn:
        """Become a command on a machine: for `minipod exec` and `shell`, which keep their terminal."""
        command, env = self._command(machine, argv, container)
        os.execve(command[0], command, env)

    def _command(self, machine: str, argv: Sequence[str], container: str) -> tuple[list[str], dict[str, str]]:
        """The command that goes into a machine's namespaces first, nsenter(1), and its environment."""
        answer, descriptors = self.ask(do="enter", machine=machine, container=container)
        pid = _pid_of(descriptors[0])
        os.close(descriptors[0])
        kinds = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        if self.info["isolation"] == "user-namespace":
            # An ordinary user is the lab's root already, and a map of one id forbids setgroups: user_namespaces(7).
            kinds += ["--user"] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        # nsenter stays outside and waits: when it is killed, the command shall not stay behind in the lab.
        dying_with_us = ["/usr/bin/setpriv", "--pdeathsig", "HUP", "--"]
        command = [_NSENTER, f"--target={pid}", *kinds, "--", *dying_with_us, *argv]
        return command, environment() | answer["env"]


def _pid_of(pidfd: int) -> int:
    """The process id, as this process sees it, behind a pidfd."""
    lines = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pid:")).split()[1])
