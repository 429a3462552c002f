"""A lab's folder on the host: all that a lab leaves, and how others find it.

    $MINIPOD_HOME/NAME/          mode 0700; default $XDG_STATE_HOME/minipod, ~/.local/state/minipod
        lock                     held by the lab's first process while it lives: a free lock is a lab that has ended
        lab.json                 the first process's pid on the host, the cluster's make-up
        lab.log                  what the lab's processes said
        journal, journal.old     its objects (labs/objects.py), and those of the lab before it
        netfns.json              the students' files that take seats from the start (`minipod up --netfn`)
        api.sock, control.sock   the Kubernetes API and the lab's own door, for the folder's owner
        kubeconfig               how a client reaches the API

Invariant: nothing is believed from lab.json that the lock does not confirm.
"""

import fcntl
import json
import os
import re
import select
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labs.errors import LabError

DEFAULT_NAME, NETFNS = "lab", "netfns.json"
# struct flock of fcntl(2): a write lock on all of a file. It belongs to the open file, so it is inherited with it, and
# whoever only asks (F_OFD_GETLK) never stands in the way of a lab that starts.
_WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


def home() -> Path:
    """The folder of all labs of this user."""
    if given := os.environ.get("MINIPOD_HOME"):
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "minipod"


@dataclass(frozen=True)
class StateFolder:
    """One lab's folder, which need not exist yet."""

    name: str
    path: Path

    @classmethod
    def of(cls, name: str | None) -> "StateFolder":
        """The folder of a lab by name; None is $MINIPOD_LAB or the default. Raises LabError for an impossible name."""
        name = name or os.environ.get("MINIPOD_LAB") or DEFAULT_NAME
        if not _NAME.fullmatch(name):
            raise LabError(
                f"--name {name}: want at most 40 of a-z, 0-9 and -, with a letter or digit at both ends"
            )
        return cls(name, home() / name)

    def make(self) -> None:
        """Make the folder, closed to others. Raises LabError."""
        try:
            self.path.mkdir(parents=True, mode=0o700, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise LabError(
                f"{self.path}: {error.strerror}: set MINIPOD_HOME to a folder that you may write to"
            ) from None

    def lock(self) -> int:
        """Take the lab's lock, for a new lab. Returns its descriptor. Raises LabError when the lab runs."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)
        except BlockingIOError:
            os.close(descriptor)
            advice = f"`minipod down --name {self.name}` ends it; or choose another --name"
            raise LabError(f"lab {self.name}: already running: {advice}") from None
        return descriptor

    def is_running(self) -> bool:
        """Whether the lab's first process lives."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _WHOLE_FILE)
        finally:
            os.close(descriptor)
        return bool(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)

    def write(self, info: dict[str, Any]) -> None:
        """Write lab.json, whole."""
        beside = self.path / "lab.json.new"
        beside.write_text(json.dumps(info, indent=2) + "\n")
        beside.replace(self.path / "lab.json")

    def read(self) -> dict[str, Any]:
        """lab.json of a running lab. Raises LabError when the lab does not run."""
        if not self.is_running():
            raise LabError(f"lab {self.name}: not running: start it with `minipod up --name {self.name}`")
        try:
            info: dict[str, Any] = json.loads((self.path / "lab.json").read_text())
        except (OSError, ValueError):
            raise LabError(f"lab {self.name}: still starting: wait for `minipod up` to end") from None
        return info


def all_folders() -> list[StateFolder]:
    """The folders of all labs of this user, running or not, by name."""
    try:
        names = sorted(entry.name for entry in home().iterdir() if entry.is_dir())
    except OSError:
        return []
    return [StateFolder(name, home() / name) for name in names if _NAME.fullmatch(name)]


def wait_for_end(pid: int, timeout: float | None = None) -> bool:
    """Wait until a process, and with it all of its sandbox, has ended; False when it has not in `timeout` seconds.

    The first process of a sandbox ends last: after every process that entered from the host has been reaped there.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    readable, _, _ = select.select([pidfd], [], [], timeout)
    os.close(pidfd)
    return bool(readable)
