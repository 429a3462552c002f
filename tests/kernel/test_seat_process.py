"""A student's file behind its walls: what it can do, and what becomes of one that goes wrong."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.seat_process import SeatError, SeatProcess
from netfns import overlay
from netfns.overlay import Batches, Overlay, Vtep

pytestmark = pytest.mark.kernel
DESIRED = Overlay(
    Vtep("worker1", "192.168.50.21", ("10.244.1.0/24",)),
    (Vtep("worker2", "192.168.50.22", ("10.244.2.0/24",)),),
)
Load = Callable[[str], SeatProcess]


@pytest.fixture
def load() -> Iterator[Load]:
    started: list[SeatProcess] = []

    def start(source: str) -> SeatProcess:
        started.append(SeatProcess(source, "mine.py", "netfns.overlay"))
        return started[-1]

    yield start
    for process in started:
        process.close()


def test_the_reference_gives_the_same_as_in_process(load: Load) -> None:
    process = load(Path(overlay.__file__).read_text())
    assert process.call("render", DESIRED) == overlay.render(DESIRED)
    assert isinstance(process.call("render", DESIRED), Batches)


TRIES = {
    "see the reference": "import netfns.overlay",
    "read the host's files": "open('/etc/passwd')",
    "see the lab's code": "open('/run/minipod/code/netfns/overlay.py')",
    "write": "open('/given/x', 'w')",
    "make a socket": "import socket; socket.socket()",
    "fork": "import os; os.fork()",
    "start a thread": "import threading; threading.Thread(target=print).start()",
    "run a program": "import os; os.execv('/usr/bin/id', ['id'])",
    "make a namespace": "import ctypes, os; os.unshare(0x10000000) if hasattr(os, 'unshare') else 1 / 0",
    "signal a process": "import os; os.kill(1, 9)",
    "take memory": "bytearray(1 << 30)",
    "raise its limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))",
}


@pytest.mark.parametrize("what", TRIES.values(), ids=TRIES)
def test_it_cannot(load: Load, what: str) -> None:
    with pytest.raises(SeatError, match=r"mine\.py: line \d"):
        load(f"def render(desired):\n    {what}\n    return 'done'").call("render", "x")


def test_it_holds_no_capability_and_nobodys_id(load: Load) -> None:
    source = (
        "import os\ndef render(desired):\n    return [os.getuid(), os.getpid(), *sorted(os.listdir('/'))]"
    )
    assert load(source).call("render", "x")[:2] == [65534, 1]


WRONG = {
    "does not parse": ("def render(desired:", r"mine\.py: line 1: SyntaxError"),
    "no function": ("x = 1", "no function render"),
    "raises": ("def render(desired):\n    return {}['a']", r"mine\.py: line 2: KeyError"),
    "exits": ("import sys\nsys.exit(3)", "SystemExit"),
    "ends at once": ("import os\ndef render(desired): os._exit(3)", "exit status 3"),
    "crashes": ("import ctypes\ndef render(desired): ctypes.string_at(0)", "exit status 139"),
    "writes garbage": ("import os\ndef render(desired): os.write(4, b'x\\n')", "no answer"),
    "floods": ("def render(desired): return 'x' * (20 << 20)", "16 MiB"),
    "recurses": ("def render(desired): return render(desired)", "RecursionError"),
    "returns an object": ("def render(desired): return object()", "want texts"),
    "returns another record": (
        "from netfns.kernel import CommandError\ndef render(d): return CommandError",
        "want",
    ),
}


@pytest.mark.parametrize(("source", "why"), WRONG.values(), ids=WRONG)
def test_it_is_told(load: Load, source: str, why: str) -> None:
    with pytest.raises(SeatError, match=why) as told:
        load(source).call("render", "x")
    assert "\n" not in str(told.value)


def test_one_that_never_ends_is_killed_and_left_alone_for_a_while(load: Load) -> None:
    process = load("def render(desired):\n    while True: pass")
    with pytest.raises(SeatError, match="does not end"):
        process.call("render", "x")
    started = time.monotonic()
    with pytest.raises(SeatError, match="again in"):
        process.call("render", "x")
    assert time.monotonic() - started < 1


def test_one_that_died_is_started_again(load: Load) -> None:
    source = (
        "import os\ndef render(desired): os._exit(1)\ndef evaluate(desired, destination): return destination"
    )
    process = load(source)
    with pytest.raises(SeatError):
        process.call("render", "x")
    assert process.call("evaluate", "x", "10.244.2.3") == "10.244.2.3"


def test_what_it_printed_is_told_with_a_failure(load: Load) -> None:
    with pytest.raises(SeatError, match="it printed: given x"):
        load("def render(d):\n    print('given', d)\n    raise ValueError").call("render", "x")


def test_a_record_that_the_file_lacks_is_named(load: Load) -> None:
    with pytest.raises(SeatError, match="it has no Vtep: keep the records of the starter"):
        load("def render(desired): return 1").call("render", DESIRED)
