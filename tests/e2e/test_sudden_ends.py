"""Whoever is killed, at whichever moment: the lab ends, and the host is as it was.

    test ── minipod up ── entry ── the sandbox's first process ── …     killed: each of the three, at random moments
      └── adopts whoever is orphaned, so that nobody of a lab escapes its count

The moments are drawn from a seed that is printed; MINIPOD_TEST_SEED=N draws the same ones again.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.e2e import host
from tests.e2e.conftest import USERS, new_name
from tests.e2e.session import RunningLab, User
from tests.e2e.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
GONE_WITHIN = 15.0  # seconds; far more than the kernel needs
MOMENTS = 4 // len(USERS)  # of each way and user, drawn between the start and the end of `up`: 20 in all
ALL_READY = "3 of 3 nodes Ready, 2 of 2 DNS servers"  # the last that `up` says before it hands the lab over
HANDED_OVER = 3.0  # seconds after which a lab that lost its `up` would be gone
HANDSHAKE = 0.008  # seconds that the entry process lives


@dataclass
class Up:
    """A `minipod up` under way, in a process group of its own, as a terminal would give it."""

    name: str
    process: "subprocess.Popen[str]"
    others: frozenset[str]  # namespaces that were there before
    began: int = field(default_factory=host.ticks_now)
    seen: set[str] = field(default_factory=set)

    @classmethod
    def begin(cls, user: User) -> "Up":
        others = host.namespaces_of(host.processes())
        name = new_name()
        return cls(name, user.start("up", "--name", name, process_group=0), others)

    def entry(self) -> int | None:
        """The child of `up` that goes into fresh namespaces and leaves the first process there."""
        return next(iter(host.children(self.process.pid)), None)

    def first_process(self) -> int | None:
        """The first process of the sandbox: a child of the entry process, and an orphan, adopted here, after that."""
        entry = self.entry()
        found = [*(host.children(entry) if entry else ()), *host.children(os.getpid())]
        living = (process for pid in found if (process := host.process_of(pid)) and process.state not in "ZX")
        return next((process.pid for process in living if process.pid != self.process.pid), None)

    def look(self) -> list[host.Process]:
        """The living processes of the command and its lab; the namespaces that they are in are remembered."""
        found = host.descendants(os.getpid())
        self.seen |= host.namespaces_of(process.pid for process in found) - self.others
        return found

    def left(self) -> list[str]:
        """What is still there of it.

        The kernel gives the freed numbers of namespaces to new ones, so holders count only when they are of the host
        and were there before; what other labs hold, inside of their own process namespaces, is theirs.
        """
        host.reap_orphans(known={self.process.pid})
        members = {process.pid: process.command for process in self.look()}
        mine = [f"process {pid} {command}" for pid, command in members.items()]
        elders = (
            p.pid
            for p in host.processes().values()
            if p.started < self.began and p.pid == p.inner and p.pid not in members
        )
        return mine + [f"namespace {name}" for name in self.seen & host.namespaces_of(elders)]

    def close(self) -> tuple[str, str]:
        """What the command has said."""
        return self.process.communicate(timeout=GONE_WITHIN)


def kill(pid: int | None, number: int = signal.SIGKILL) -> None:
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_soon(find: Callable[[], int | None], up: Up, wait: float) -> None:
    """Kill who is found, `wait` seconds after it is there; nobody when the command ends before."""
    while up.process.poll() is None:
        if found := find():
            time.sleep(wait)  # a moment that was drawn, not one that is hoped for
            kill(found)
            return


def interrupt(up: Up) -> None:
    """As Ctrl-C does: the whole process group of the terminal gets it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(up.process.pid, signal.SIGINT)


def stays_by_right(up: Up, err: str) -> bool:
    """Whether an end came too late: all was Ready and `up` had handed the lab over, but had not yet said so."""
    if ALL_READY not in err:
        return False
    with contextlib.suppress(AssertionError):
        return not wait_until(lambda: not up.left(), HANDED_OVER, every=0.1)
    return True


ENDS: dict[str, Callable[[Up], None]] = {
    "Ctrl-C": interrupt,
    "terminal closed": lambda up: kill(up.process.pid, signal.SIGHUP),
    "kill -9 of up": lambda up: kill(up.process.pid),
    "kill -9 of the first process": lambda up: kill(up.first_process()),
    "kill -9 of all of a process group": lambda up: os.killpg(up.process.pid, signal.SIGKILL),
}


@pytest.fixture(scope="module", autouse=True)
def adopting() -> Iterator[None]:
    host.adopt_orphans()
    yield
    host.adopt_orphans(False)
    host.reap_orphans(known=set())


@pytest.fixture(scope="module")
def chance() -> random.Random:
    seed = int(os.environ.get("MINIPOD_TEST_SEED") or random.randrange(1 << 32))
    sys.stdout.write(f"MINIPOD_TEST_SEED={seed}\n")
    return random.Random(seed)


@pytest.fixture(scope="module")
def duration(me: User) -> float:
    """Seconds that `minipod up` takes here and now."""
    name, began = new_name(), time.monotonic()
    running = me.up(name)
    took = time.monotonic() - began
    running.down()
    return took


@pytest.fixture
def leaves_nothing(user: User) -> Callable[[Up], None]:
    """Assert that a lab has ended and that the host is what it was when the test began."""
    before = host.snapshot(user.temporary)

    def check(up: Up) -> None:
        try:
            wait_until(lambda: not up.left(), GONE_WITHIN, "nothing left", every=0.1)
        except AssertionError:
            pytest.fail(f"after {GONE_WITHIN:.0f} s there are still {up.left()}")
        finally:
            for process in up.look():
                kill(process.pid)
        changes = before.changes(host.snapshot(user.temporary))
        assert changes == []

    return check


@pytest.mark.parametrize("way", ENDS)
def test_an_end_while_starting_leaves_nothing(
    way: str, user: User, duration: float, chance: random.Random, leaves_nothing: Callable[[Up], None]
) -> None:
    for _ in range(MOMENTS):
        moment = chance.uniform(0.0, 0.98 * duration)
        up = Up.begin(user)
        until = time.monotonic() + moment
        while time.monotonic() < until:
            up.look()
            time.sleep(0.02)  # looking takes a processor for itself, which `up` shall have
        ENDS[way](up)
        out, err = up.close()
        if up.process.returncode == 0 or stays_by_right(up, err):
            RunningLab(user, up.name).minipod("down")
        else:
            assert "is Ready" not in out, f"{way} after {moment:.3f} s: {err}"
            if way == "Ctrl-C" and moment > 0.3 * duration:  # before that, it is Python that is starting
                assert (up.process.returncode, err.splitlines()[-1]) == (130, "minipod: interrupted")
        sys.stdout.write(f"{way} after {moment:.3f} s: status {up.process.returncode}: {err[-80:]!r}\n")
        leaves_nothing(up)


@pytest.mark.parametrize("who", ["entry", "first_process"])
def test_a_parent_that_dies_before_its_child_is_ready_leaves_nothing(
    who: str, user: User, chance: random.Random, leaves_nothing: Callable[[Up], None]
) -> None:
    for _ in range(MOMENTS + 1):
        up = Up.begin(user)
        moment = chance.uniform(0.0, HANDSHAKE)
        kill_soon(getattr(up, who), up, moment)
        _, err = up.close()
        if up.process.returncode == 0:  # the entry process had done its work
            RunningLab(user, up.name).down()
        else:
            assert err.startswith(("minipod: ", "  ")), err
            assert "Traceback" not in err, f"{who} killed {moment:.4f} s after its start: {err}"
        leaves_nothing(up)


@pytest.mark.parametrize(
    "way", ["kill -9 of the first process", "minipod down", "kill -9 of a machine's shell first"]
)
def test_an_end_of_a_ready_lab_leaves_nothing(
    way: str, user: User, chance: random.Random, leaves_nothing: Callable[[Up], None]
) -> None:
    up = Up.begin(user)
    out, err = up.close()
    assert "is Ready" in out, err
    members = up.look()
    running = RunningLab(user, up.name)
    if way == "minipod down":
        running.down()
    else:
        if way.endswith("first"):
            kill(chance.choice([p for p in members if "mininet:" in p.command]).pid)
        kill(running.info()["pid"])
    leaves_nothing(up)
    again = user.up(up.name)  # the folder that it left is no hindrance
    again.down()


def test_the_watch_notices_what_is_left(user: User, leaves_nothing: Callable[[Up], None]) -> None:
    others = host.namespaces_of(host.processes())
    detached = "setsid unshare --user sleep 60 & touch $TMPDIR/left-behind"
    up = Up(
        "none",
        user.spawn(["sh", "-c", detached], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
        others,
    )
    up.process.wait()
    try:
        wait_until(lambda: up.look() and up.seen, GONE_WITHIN, "the detached process")
        (namespace,) = (name for name in up.seen if name.startswith("user:"))
        held = os.open(f"/proc/{up.look()[0].pid}/ns/user", os.O_RDONLY)
        assert {line.split()[0] for line in up.left()} == {"process", "namespace"}
        assert f"namespace {namespace}" in up.left()
        os.close(held)
        now = up.left()
        assert [line.split()[0] for line in now] == ["process"], now
    finally:
        for process in up.look():
            kill(process.pid)
    with pytest.raises(AssertionError, match="left-behind"):
        leaves_nothing(up)
    (user.temporary / "left-behind").unlink()
