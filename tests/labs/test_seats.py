"""Students' files in the seats of a running lab: hostile ones are told of, and the lab goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.check.subjects import until
from labs.checking.ground import CourseLab
from labs.course.starter import overlay as laid_over
from labs.errors import LabError
from labs.lab import Lab
from netfns import overlay, service
from tests.e2e.conftest import lab, me, ordinary_lab, ordinary_user, scratch  # noqa: F401 (the session's labs)
from tests.e2e.session import RunningLab

pytestmark = pytest.mark.e2e


@pytest.fixture
def seats(lab: RunningLab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:  # noqa: F811
    """The shared lab's seats, given back afterwards."""
    monkeypatch.setenv("MINIPOD_HOME", str(lab.user.home))
    running = Lab.attach(lab.name)
    yield running
    for seat in ("service", "overlay"):
        assert running.fill_seat(seat, None) == {}


def file(source: str) -> dict[str, str]:
    return {"label": "mine.py", "source": source}


def returns(text: str) -> dict[str, str]:
    return file(f"def render(desired):\n    return {text!r}\n")


def over_the_reference(body: str) -> str:
    return laid_over(Path(overlay.__file__).read_text(), f"def render(desired):\n    {body}\n")


def rules(running: Lab) -> str:
    return running.exec("node/worker1", ["nft", "-s", "list", "ruleset"]).stdout


@pytest.mark.parametrize(("seat", "module"), [("service", service), ("overlay", overlay)])
def test_the_reference_itself_takes_a_seat(seats: Lab, seat: str, module: object) -> None:
    source = Path(str(module.__file__)).read_text()  # type: ignore[attr-defined]
    assert seats.fill_seat(seat, file(source), clear=True) == {}
    assert seats.exec("node/worker1", ["ip", "route", "get", "10.244.2.1"]).stdout.count("vxlan0") == 1


HOSTILE = {
    "flushes all": (returns("flush ruleset\n"), "want only commands on table ip service"),
    "reads a file": (returns('include "/etc/passwd"\n'), "include: not taken"),
    "another table": (returns("delete table ip masquerading\n"), "want only commands"),
    "nft refuses it": (returns("table ip service { chain a { bogus } }\n"), "syntax error"),
    "no text": (file("def render(desired): return 5"), "want a text, got int"),
    "raises": (file("def render(desired):\n    raise ValueError('no')"), "mine.py: line 2: ValueError: no"),
    "ends itself": (file("import os\ndef render(desired): os._exit(0)"), "the process ended"),
    "writes no text": (returns("table ip service { \0 }"), "want plain ASCII"),
    "never ends": (file("def render(desired):\n    while True: pass"), "mine.py"),
}


@pytest.mark.parametrize(("mine", "why"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_changes_nothing(seats: Lab, mine: dict[str, str], why: str) -> None:
    before = rules(seats)
    told = seats.fill_seat("service", mine)
    assert set(told) == {"control-plane", "worker1", "worker2"}
    assert all(why in line and "\n" not in line for line in told.values())
    assert rules(seats) == before


def test_a_failure_is_an_event_on_the_node(seats: Lab) -> None:
    seats.fill_seat("overlay", file(over_the_reference("return desired.peers[99]")))
    with seats.api() as client:
        scene = CourseLab(seats, client, "default")

        def told() -> bool:
            return any(
                e["involvedObject"]["name"] == "worker1"
                and "IndexError: tuple index out of range" in e["message"]
                for e in scene.objects("Event", "")
            )

        until(told, "an event that names the line", 10)


def test_a_file_that_cannot_be_loaded_does_not_take_the_seat(seats: Lab) -> None:
    with pytest.raises(LabError, match=r"mine\.py: line 1: SyntaxError"):
        seats.fill_seat("service", file("def render(:"))
    with pytest.raises(LabError, match="policies: no such seat: want one of"):
        seats.fill_seat("policies", file("x = 1"))
    assert seats.fill_seat("service", None) == {}


def test_a_tunnel_that_the_kernel_refuses_is_as_it_was(seats: Lab) -> None:
    shown = ["sh", "-c", "ip -d -o link show vxlan0; ip route show dev vxlan0; bridge fdb show dev vxlan0"]
    before = seats.exec("node/worker1", shown).stdout
    source = over_the_reference("return Batches('link set vxlan0 mtu 1300\\nlink set vxlan0 mtu 7\\n', '')")
    told = seats.fill_seat("overlay", file(source))
    assert "worker1" in told
    after = seats.exec("node/worker1", shown).stdout
    assert " mtu 1450 " in after
    assert sorted(after.splitlines()[1:]) == sorted(before.splitlines()[1:])


def test_an_ordinary_users_file_is_confined_as_well(ordinary_lab: RunningLab) -> None:  # noqa: F811
    path = ordinary_lab.user.temporary / "mine.py"
    tries = (
        "open('/etc/passwd')",
        "__import__('socket').socket()",
        "__import__('os').fork()",
        "open('/x', 'w')",
    )
    body = "".join(
        f"    try:\n        {each}\n        done.append({each!r})\n    except OSError:\n        pass\n"
        for each in tries
    )
    path.write_text(
        f"def render(desired):\n    done = []\n{body}    raise ValueError(f'it could {{done}}')\n"
    )
    path.chmod(0o644)
    told = ordinary_lab.minipod("netfn", f"service={path}")
    assert told.returncode == 1
    assert "ValueError: it could []" in told.stderr
    path.write_text(Path(service.__file__).read_text())
    assert ordinary_lab.minipod("netfn", f"service={path}").returncode == 0
    assert ordinary_lab.minipod("netfn", "service=reference").returncode == 0
