"""The probes of one run of a container: when they are made, and what a row of results means.

    container starts ──> startup ──ok──> readiness   every periodSeconds: traffic, or none
                            │    └─────> liveness    every periodSeconds: goes on, or is started again
                            └─ failureThreshold failures: is started again

A verdict changes after successThreshold successes or failureThreshold failures in a row. A container without probes
has none of this: it costs nothing.

A program that has just been started needs a moment until it listens. Where no initialDelaySeconds asks for patience,
a probe is tried a few times within its first second; such a try can succeed, but a failure of it does not count. So
a lab is Ready as soon as its programs are, not a period later.

Sources: Kubernetes documentation, "Configure Liveness, Readiness and Startup Probes"; the kubelet's
pkg/kubelet/prober/worker.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from agents.handlers import HandlerError, Outcome

Obj = dict[str, Any]
STARTUP, READINESS, LIVENESS = "startup", "readiness", "liveness"
KINDS = (STARTUP, READINESS, LIVENESS)
EARLY_TRIES = (0.05, 0.1, 0.2, 0.4)  # seconds between them


class Thresholds:
    """A row of results becomes a verdict."""

    def __init__(self, success: int, failure: int) -> None:
        self._needed = {True: success, False: failure}
        self._last: bool | None = None
        self._run = 0

    def record(self, ok: bool) -> bool | None:
        """The verdict after one more result; None while the row is too short for one."""
        self._run = self._run + 1 if ok is self._last else 1
        self._last = ok
        return ok if self._run >= self._needed[ok] else None


class Prober:
    """Probes one run of a container until `stop`.

    attempt(handler): runs a probe's handler. verdict(kind, ok): is told of every verdict, also of one like the last.
    tell(message): is told of every failed try that counts.
    """

    def __init__(
        self,
        container: Obj,
        attempt: Callable[[Obj], Awaitable[Outcome]],
        verdict: Callable[[str, bool], None],
        tell: Callable[[str], None],
    ) -> None:
        self._probes = {kind: container[f"{kind}Probe"] for kind in KINDS if container.get(f"{kind}Probe")}
        self._attempt, self._verdict, self._tell = attempt, verdict, tell
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._since = asyncio.get_running_loop().time()
        self._begin([STARTUP] if STARTUP in self._probes else [READINESS, LIVENESS])

    def stop(self, kinds: Sequence[str] = KINDS) -> None:
        """Make no more probes of these kinds."""
        for kind in kinds:
            task = self._tasks.pop(kind, None)
            if task is not None:
                task.cancel()
            self._probes.pop(kind, None)

    def _begin(self, kinds: Sequence[str]) -> None:
        for kind in kinds:
            if kind in self._probes:
                self._tasks[kind] = asyncio.create_task(self._run(kind, self._probes[kind]))

    async def _run(self, kind: str, probe: Obj) -> None:
        loop = asyncio.get_running_loop()
        thresholds = Thresholds(probe.get("successThreshold") or 1, probe.get("failureThreshold") or 3)
        period = float(probe.get("periodSeconds") or 10)
        early = list(EARLY_TRIES)
        initial = self._since + (probe.get("initialDelaySeconds") or 0) - loop.time()
        if initial > 0:
            early = []
            await asyncio.sleep(initial)
        while True:
            if early:
                await asyncio.sleep(early.pop(0))
            began = loop.time()
            outcome = await self._try(probe)
            if not outcome.ok and early:
                continue
            early = []
            if not outcome.ok:
                self._tell(f"{kind.capitalize()} probe failed: {outcome.message}")
            result = thresholds.record(outcome.ok)
            if result is not None:
                self._verdict(kind, result)
                if kind == STARTUP and result:
                    self._begin([READINESS, LIVENESS])
                if kind == STARTUP or (kind == LIVENESS and not result):
                    return
            await asyncio.sleep(began + period - loop.time())

    async def _try(self, probe: Obj) -> Outcome:
        timeout = probe.get("timeoutSeconds") or 1
        try:
            async with asyncio.timeout(timeout):
                return await self._attempt(probe)
        except TimeoutError:
            return Outcome(False, timed_out(probe, timeout))
        except HandlerError as error:
            return Outcome(False, str(error))


def timed_out(probe: Obj, seconds: float) -> str:
    """The kubelet's words for a probe that was not answered in time."""
    if "exec" in probe:
        words = " ".join(probe["exec"].get("command") or ())
        return f'command timed out: "{words}" timed out after {seconds}s'
    if "grpc" in probe:
        return f"timeout: health rpc did not complete within {seconds}s"
    return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
