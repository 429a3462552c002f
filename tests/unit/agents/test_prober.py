"""Rows of probe results become verdicts; the startup probe goes first; early failures do not count."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agents.handlers import HandlerError, Outcome
from agents.prober import EARLY_TRIES, Prober, Thresholds, timed_out

Obj = dict[str, Any]
WELL, SICK = Outcome(True), Outcome(False, "sick")
DEADLINE = 20.0


@pytest.mark.parametrize(
    ("results", "verdicts"),
    [
        ("++", [None, True]),
        ("+-+", [None, None, None]),
        ("---", [None, None, False]),
        ("--+---", [None, None, None, None, None, False]),
        ("+++---", [None, True, True, None, None, False]),
    ],
)
def test_thresholds(results: str, verdicts: list[bool | None]) -> None:
    thresholds = Thresholds(success=2, failure=3)
    assert [thresholds.record(result == "+") for result in results] == verdicts


class Watcher:
    """Runs a prober whose handlers answer from a list, the last answer for ever, and notes what it says."""

    def __init__(self, **answers: list[Outcome]) -> None:
        self.answers = answers
        self.verdicts: list[tuple[str, bool]] = []
        self.told: list[str] = []
        self.tries: list[str] = []

    async def attempt(self, probe: Obj) -> Outcome:
        kind = probe["exec"]["command"][0]
        self.tries.append(kind)
        answers = self.answers[kind]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def run(self, until: Callable[[], bool], **probes: Obj) -> None:
        container = {
            f"{kind}Probe": {"exec": {"command": [kind]}, "periodSeconds": 1, **probes[kind]}
            for kind in probes
        }

        async def body() -> None:
            changed = asyncio.Event()

            def verdict(kind: str, ok: bool) -> None:
                self.verdicts.append((kind, ok))
                changed.set()

            prober = Prober(container, self.attempt, verdict, self.told.append)
            async with asyncio.timeout(DEADLINE):
                while not until():
                    await changed.wait()
                    changed.clear()
            prober.stop()

        asyncio.run(body())


def test_first_failures_of_a_program_that_starts_do_not_count() -> None:
    watcher = Watcher(readiness=[SICK, SICK, WELL])
    watcher.run(lambda: bool(watcher.verdicts), readiness={"failureThreshold": 1})
    assert watcher.verdicts == [("readiness", True)]
    assert watcher.told == []


def test_failures_count_after_the_early_tries() -> None:
    watcher = Watcher(liveness=[SICK])
    watcher.run(lambda: bool(watcher.verdicts), liveness={"failureThreshold": 1})
    assert watcher.verdicts == [("liveness", False)]
    assert watcher.told == ["Liveness probe failed: sick"]
    assert len(watcher.tries) == len(EARLY_TRIES)


def test_no_early_tries_after_an_initial_delay() -> None:
    watcher = Watcher(readiness=[SICK])
    watcher.run(lambda: bool(watcher.verdicts), readiness={"failureThreshold": 1, "initialDelaySeconds": 1})
    assert watcher.verdicts == [("readiness", False)]
    assert len(watcher.tries) == 1


def test_startup_goes_first() -> None:
    watcher = Watcher(startup=[SICK, WELL], readiness=[WELL], liveness=[WELL])
    watcher.run(lambda: len(watcher.verdicts) >= 3, startup={}, readiness={}, liveness={})
    assert watcher.tries[:2] == ["startup", "startup"]
    assert watcher.tries.count("startup") == 2
    assert watcher.verdicts[0] == ("startup", True)
    assert set(watcher.verdicts[1:3]) == {("readiness", True), ("liveness", True)}


def test_slow_probe_fails_in_its_own_words() -> None:
    class Slow(Watcher):
        async def attempt(self, probe: Obj) -> Outcome:
            await asyncio.sleep(DEADLINE)
            return WELL

    watcher = Slow()
    slow = {"failureThreshold": 1, "timeoutSeconds": 0.05}
    watcher.run(lambda: bool(watcher.verdicts), readiness=slow)
    assert watcher.told == ['Readiness probe failed: command timed out: "readiness" timed out after 0.05s']
    assert timed_out({"httpGet": {}}, 1).startswith("context deadline exceeded")


def test_handler_that_cannot_run_is_a_failure() -> None:
    class Wrong(Watcher):
        async def attempt(self, probe: Obj) -> Outcome:
            raise HandlerError("couldn't find port: x")

    watcher = Wrong()
    watcher.run(lambda: bool(watcher.verdicts), readiness={"failureThreshold": 1})
    assert watcher.told == ["Readiness probe failed: couldn't find port: x"]
