from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from controlplane.reconciler import Reconciler


def drive(reconciler: Reconciler[str], scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        task = asyncio.create_task(reconciler.run())
        try:
            async with asyncio.timeout(20):
                await scenario()
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


async def until(what: Callable[[], bool]) -> None:
    while not what():  # noqa: ASYNC110 - a plain question: nobody could set an event
        await asyncio.sleep(0.001)


def test_many_changes_of_one_key_become_one_step() -> None:
    seen: list[str] = []

    async def reconcile(key: str) -> None:
        seen.append(key)

    reconciler = Reconciler("test", reconcile)

    async def scenario() -> None:
        for key in ("a", "b", "a", "a"):
            reconciler.enqueue(key)
        reconciler.enqueue_all(["c", "b"])
        await until(lambda: len(seen) == 3)
        await asyncio.sleep(0)
        assert seen == ["a", "b", "c"]

    drive(reconciler, scenario)


def test_one_key_never_runs_twice_at_once_and_a_change_meanwhile_is_not_lost() -> None:
    running = 0
    most = 0
    count = 0
    gate = asyncio.Event()

    async def reconcile(key: str) -> None:
        nonlocal running, most, count
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        count += 1

    reconciler = Reconciler("test", reconcile, workers=4)

    async def scenario() -> None:
        reconciler.enqueue("a")
        await until(lambda: running == 1)
        reconciler.enqueue("a")
        reconciler.enqueue("a")
        await asyncio.sleep(0)
        gate.set()
        await until(lambda: count == 2)
        assert most == 1

    drive(reconciler, scenario)


def test_workers_run_side_by_side() -> None:
    running: set[str] = set()
    gate = asyncio.Event()

    async def reconcile(key: str) -> None:
        running.add(key)
        await gate.wait()

    reconciler = Reconciler("test", reconcile, workers=2)

    async def scenario() -> None:
        reconciler.enqueue_all(["a", "b", "c"])
        await until(lambda: len(running) == 2)
        gate.set()
        await until(lambda: len(running) == 3)

    drive(reconciler, scenario)


def test_failure_is_told_and_tried_again() -> None:
    told: list[str] = []
    attempts = 0

    async def reconcile(key: str) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise ValueError(f"attempt {attempts}")

    reconciler = Reconciler("test", reconcile, on_error=lambda key, error: told.append(f"{key}: {error}"))

    async def scenario() -> None:
        reconciler.enqueue("a")
        await until(lambda: attempts == 4)
        assert told == ["a: attempt 1", "a: attempt 2", "a: attempt 3"]

    drive(reconciler, scenario)


def test_a_failing_key_does_not_hold_up_a_change() -> None:
    attempts = 0

    async def reconcile(key: str) -> None:
        nonlocal attempts
        attempts += 1
        raise ValueError

    reconciler = Reconciler("test", reconcile)

    async def scenario() -> None:
        reconciler.enqueue("a")
        await until(lambda: attempts >= 6)
        before = attempts
        reconciler.enqueue("a")
        await asyncio.sleep(0.001)
        assert attempts > before

    drive(reconciler, scenario)


def test_least_interval_is_kept_and_the_last_change_is_seen() -> None:
    starts: list[float] = []
    wanted = 0
    seen = 0

    async def reconcile(key: str) -> None:
        nonlocal seen
        starts.append(asyncio.get_running_loop().time())
        seen = wanted

    reconciler = Reconciler("test", reconcile, min_interval=0.03)

    async def scenario() -> None:
        nonlocal wanted
        for number in range(1, 40):
            wanted = number
            reconciler.enqueue("a")
            await asyncio.sleep(0.001)
        await until(lambda: seen == wanted)
        assert len(starts) > 1
        assert all(later - earlier > 0.025 for earlier, later in itertools.pairwise(starts))

    drive(reconciler, scenario)


def test_the_least_interval_may_depend_on_the_key() -> None:
    starts: dict[str, int] = {"slow": 0, "fast": 0}

    async def reconcile(key: str) -> None:
        starts[key] += 1

    reconciler = Reconciler("test", reconcile, min_interval=lambda key: 60.0 if key == "slow" else 0.001)

    async def scenario() -> None:
        while starts["fast"] < 5:
            reconciler.enqueue("slow")
            reconciler.enqueue("fast")
            await asyncio.sleep(0.001)
        assert starts["slow"] == 1

    drive(reconciler, scenario)


def test_the_earlier_of_two_timers_counts() -> None:
    seen: list[str] = []

    async def reconcile(key: str) -> None:
        seen.append(key)

    reconciler = Reconciler("test", reconcile)

    async def scenario() -> None:
        reconciler.enqueue_after("a", 60)
        reconciler.enqueue_after("a", 0.001)
        reconciler.enqueue_after("a", 60)
        await until(lambda: seen == ["a"])

    drive(reconciler, scenario)
