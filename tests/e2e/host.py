"""What the host looks like from outside of every lab, to be compared before and after.

Other labs and other programs may run beside a test, so only what could be a lab's work is looked at: the host's own
network, mounts, rules and settings as a whole, and of its processes those that descend from the test (which adopts
orphans, so that none escapes: PR_SET_CHILD_SUBREAPER of prctl(2)).
"""

import ctypes
import json
import os
import re
import stat
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
_NAMESPACE = re.compile(r"(cgroup|ipc|mnt|net|pid|pid_for_children|time|user|uts):\[\d+\]")
# Settings that are counters or that the kernel turns by itself.
_RESTLESS = re.compile(
    r"kernel/(random/|ns_last_pid|pty/nr|perf_event_max_sample_rate|hung_task_detect_count|tainted)"
    r"|fs/(dentry-state|file-nr|inode-nr|inode-state|aio-nr|quota/)|vm/"
    r"|net/netfilter/nf_conntrack_count|net/ipv4/tcp_fastopen_key|debug/"
)
# Where a program that is not careful leaves files.
_LISTED = ("/etc", "/run", "/srv", "/usr/local", "/var/lib", "/dev/shm", "/dev/mqueue", "/sys/fs/cgroup")
_OTHERS_WRITE = re.compile(r"/(apt|dpkg|systemd|journal|log|user/\d+|netns)(/|$)")
_DEPTH = 3


@dataclass(frozen=True)
class Snapshot:
    """The host at one moment; each field is a set of lines, so that a difference can be read."""

    links: frozenset[str]
    mounts: frozenset[str]
    rules: frozenset[str]
    settings: frozenset[str]
    files: frozenset[str]

    def changes(self, later: "Snapshot") -> list[str]:
        """What differs, one line each: "field: - gone" or "field: + new"."""
        found = []
        for name in (field.name for field in fields(self)):
            before, after = getattr(self, name), getattr(later, name)
            found += [f"{name}: - {line}" for line in sorted(before - after)]
            found += [f"{name}: + {line}" for line in sorted(after - before)]
        return found


def snapshot(temporary: Path | None = None) -> Snapshot:
    """The host now. `temporary`: the commands' $TMPDIR, for in the shared /tmp nobody can tell whose a file is."""
    left = (str(path) for path in temporary.rglob("*")) if temporary else ()
    return Snapshot(
        links=frozenset(_links()),
        mounts=frozenset(Path("/proc/self/mountinfo").read_text().splitlines()),
        rules=frozenset(_rules()),
        settings=frozenset(_settings()),
        files=frozenset((*_listing(), *left)),
    )


def _links() -> Iterator[str]:
    for what in ("link", "addr", "route", "rule"):
        for entry in _json(["ip", "-j", *(["-details"] if what == "link" else []), what]):
            for restless in ("stats64", "valid_life_time", "preferred_life_time"):
                _drop(entry, restless)
            yield f"{what} {json.dumps(entry, sort_keys=True)}"


def _rules() -> Iterator[str]:
    """The host's ruleset; only root may read it, and only root could have changed it."""
    if os.geteuid() == 0:
        for entry in _json(["nft", "-j", "list", "ruleset"])["nftables"]:
            for counter in ("packets", "bytes"):
                _drop(entry, counter)
            yield json.dumps(entry, sort_keys=True)


def _json(argv: list[str]) -> Any:
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return json.loads(done.stdout or "[]")


def _drop(value: Any, key: str) -> None:
    if isinstance(value, dict):
        value.pop(key, None)
        for inner in value.values():
            _drop(inner, key)
    elif isinstance(value, list):
        for inner in value:
            _drop(inner, key)


def _settings() -> Iterator[str]:
    for folder, _, names in os.walk("/proc/sys"):
        for name in names:
            path = Path(folder, name)
            key = str(path)[len("/proc/sys/") :]
            if _RESTLESS.match(key):
                continue
            try:
                yield f"{key} = {path.read_text(errors='replace').strip()}"
            except OSError:
                continue


def _listing() -> Iterator[str]:
    for root in _LISTED:
        for folder, folders, names in os.walk(root):
            if folder.count("/") - root.count("/") >= _DEPTH - 1 or folder.startswith("/sys"):
                folders.clear()
            for name in (*folders, *names):
                path = f"{folder}/{name}"
                if not _OTHERS_WRITE.search(path):
                    yield from _described(path)


def _described(path: str) -> Iterator[str]:
    try:
        found = os.lstat(path)
    except OSError:
        return
    # A folder's time tells of what came and went in it, of others too; its entries are looked at one by one.
    when = 0 if stat.S_ISDIR(found.st_mode) or path.startswith(("/sys", "/run/utmp")) else found.st_mtime_ns
    yield f"{path} {stat.filemode(found.st_mode)} {found.st_uid} {when}"


# ---------------------------------------------------------------- processes and their namespaces


@dataclass(frozen=True)
class Process:
    """A process as /proc tells of it. started: clock ticks since boot. inner: its number in its own namespace."""

    pid: int
    parent: int
    state: str
    started: int
    inner: int
    command: str


def adopt_orphans(adopt: bool = True) -> None:
    """Let every orphan among this process's descendants become its child, or no longer."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl PR_SET_CHILD_SUBREAPER")


def processes() -> dict[int, Process]:
    """Every process of the host."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (process := process_of(int(entry.name))):
            found[process.pid] = process
    return found


def process_of(pid: int) -> Process | None:
    """One process; None when there is none with this number."""
    words = _stat(Path(f"/proc/{pid}"))
    if not words:
        return None
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
        command = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    except OSError:
        return None
    state, parent, *rest = words
    inner = next((line.split()[-1] for line in status.splitlines() if line.startswith("NSpid:")), str(pid))
    return Process(pid, int(parent), state, int(rest[17]), int(inner), command)


def children(pid: int) -> list[int]:
    """The direct children of a process, quickly; none of one that is gone."""
    found: list[int] = []
    try:
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            found += (int(word) for word in path.read_text().split())
    except OSError:  # it, or one of its threads, has just ended
        pass
    return found


def descendants(root: int) -> list[Process]:
    """The living processes below `root`. Only these are read whole: a busy machine has hundreds of others."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (words := _stat(entry)):
            below.setdefault(int(words[1]), []).append(int(entry.name))
    found, pending = [], [root]
    while pending:
        pids = below.get(pending.pop(), [])
        pending += pids
        found += [process for pid in pids if (process := process_of(pid)) and process.state not in "ZX"]
    return found


def _stat(process: Path) -> list[str]:
    """What /proc/PID/stat tells from the state on (proc_pid_stat(5)); nothing of a process that is gone."""
    try:
        return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def reap_orphans(known: set[int]) -> None:
    """Wait for children of this process that have ended and that nobody else of it waits for."""
    for process in processes().values():
        if process.parent == os.getpid() and process.state == "Z" and process.pid not in known:
            os.waitpid(process.pid, os.WNOHANG)


def ticks_now() -> int:
    """The present moment in the unit of Process.started."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def namespaces_of(pids: Iterable[int]) -> frozenset[str]:
    """The namespaces, such as "net:[4026531840]", that processes are in or hold open."""
    found = {
        target
        for pid in pids
        for folder in ("ns", "fd")
        for target in _targets(Path(f"/proc/{pid}/{folder}"))
    }
    return frozenset(target for target in found if _NAMESPACE.fullmatch(target))


def _targets(folder: Path) -> Iterator[str]:
    """What the links of a folder lead to; those that go meanwhile are left out."""
    try:
        links = list(folder.iterdir())
    except OSError:
        return
    for link in links:
        try:
            yield str(link.readlink())
        except OSError:
            continue
