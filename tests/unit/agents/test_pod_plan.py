"""What is started next, what makes a pod initialized and finished; and how long a container's back-off is."""

from typing import Any

import pytest

from agents.back_off import BackOff
from agents.pod_plan import Plan, plan
from agents.pod_status import ContainerState, terminated

NOW = 100.0


def fresh(name: str, **fields: Any) -> ContainerState:
    return ContainerState(name, "image", **fields)


def running(name: str, **fields: Any) -> ContainerState:
    return fresh(name, state={"running": {}}, due=None, **fields)


def ended(name: str, code: int, due: float | None = None, **fields: Any) -> ContainerState:
    return fresh(name, state=terminated(code, 0, "", ""), due=due, **fields)


CASES = [
    ("the first init container", [fresh("a"), fresh("b")], [fresh("m")], False, Plan("a")),
    ("not the next one while it runs", [running("a"), fresh("b")], [fresh("m")], False, Plan()),
    ("the next one after it", [ended("a", 0), fresh("b")], [fresh("m")], False, Plan("b")),
    ("nothing in its back-off", [ended("a", 1, due=NOW + 1)], [fresh("m")], False, Plan()),
    ("again when it is due", [ended("a", 1, due=NOW)], [fresh("m")], False, Plan("a")),
    ("finished when it may not fail", [ended("a", 1)], [fresh("m")], False, Plan(finished=True)),
    ("a sidecar that has not started holds back", [running("s", sidecar=True)], [fresh("m")], False, Plan()),
    (
        "a sidecar that has started does not",
        [running("s", sidecar=True, started=True)],
        [fresh("m")],
        False,
        Plan("m", initialized=True),
    ),
    (
        "a sidecar is started again later",
        [ended("s", 1, due=0.0, sidecar=True)],
        [running("m")],
        True,
        Plan("s", initialized=True),
    ),
    (
        "and meanwhile the pod stays initialized",
        [ended("s", 1, due=NOW + 9, sidecar=True)],
        [running("m")],
        True,
        Plan(initialized=True),
    ),
    ("every container", [], [running("m"), fresh("n")], False, Plan("n", initialized=True)),
    ("the pod runs", [], [running("m"), ended("n", 0)], False, Plan(initialized=True)),
    ("finished", [], [ended("m", 0), ended("n", 1)], True, Plan(initialized=True, finished=True)),
    (
        "finished, whatever its sidecar does",
        [running("s", sidecar=True)],
        [ended("m", 0)],
        True,
        Plan(initialized=True, finished=True),
    ),
]


@pytest.mark.parametrize(
    ("init", "containers", "before", "want"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_plan(init: list[ContainerState], containers: list[ContainerState], before: bool, want: Plan) -> None:
    assert plan(init, containers, NOW, before) == want


def test_back_off_doubles_up_to_five_minutes() -> None:
    back_off = BackOff()
    assert [back_off.next(1.0) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_ten_minutes_of_running_forgive_everything() -> None:
    back_off = BackOff()
    assert [back_off.next(ran_for) for ran_for in (1.0, 1.0, 599.0, 600.0, 1.0)] == [0, 10, 20, 0, 10]
