"""The life of one container in its pod: started, probed, ended, started again after its back-off.

    start ──> postStart ──> running, probes ──> exited ──> due: now, after a back-off, or never again
                               │ unhealthy, or to be stopped
                               └──> preStop ──> TERM ──> (grace period) ──> KILL

The pod's worker decides when a container is started and stopped; this is how. `state` is what the API shows of it.

Invariant: `exited` is called once for each start, whatever ended it; what waits for the end waits for that.

Sources: Kubernetes documentation, "Pod Lifecycle", "Container Lifecycle Hooks", "Determine the Reason for Pod Failure";
the kubelet's pkg/kubelet/kuberuntime for reasons and messages of events.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from agents import handlers
from agents.back_off import BackOff
from agents.container_env import ConfigError
from agents.container_start import Run
from agents.handlers import HandlerError, Outcome, Target
from agents.images.catalogue import ImageError, Program
from agents.pod_sandbox import ContainerStartError, PodSandbox
from agents.pod_status import ContainerState, restarts, terminated
from agents.prober import KINDS, LIVENESS, READINESS, STARTUP, Prober
from agents.waiting import first_of
from controlplane.meta import now as timestamp
from topo import rootfs
from topo.container_log import last_output
from topo.enter import Namespaces

Obj = dict[str, Any]
CONFIG_RETRY = 2.0
MESSAGE_LIMIT, LOG_TAIL = 4096, 2048  # bytes of a termination message
START_ERROR = 128
# A ready container goes on serving for this long after it is told to end: its endpoints are taken out meanwhile.
SETTLE = 0.2
HOOK_EXTENSION = 2.0  # what TERM still gets when preStop has used up the grace period


class Pod(Protocol):
    """What a container knows of its pod."""

    name: str
    namespace: str
    uid: str
    folder: Path
    policy: str
    grace: float
    ending: bool
    waiting_reason: str
    sandbox: PodSandbox | None

    def start_message(self, spec: Obj, run: Run) -> tuple[Obj, Program]:
        """What to start: see agents.container_start."""

    def target(self, spec: Obj, env: Mapping[str, str], working_dir: str) -> Target:
        """What handlers act on."""

    def event(self, kind: str, reason: str, message: str) -> None:
        """Record an event on the pod."""

    def wake(self) -> None:
        """Something has changed: look what is to be done."""


class Container:
    """See the head of this file."""

    def __init__(self, pod: Pod, spec: Obj, *, init: bool = False, ephemeral: bool = False) -> None:
        sidecar = init and spec.get("restartPolicy") == "Always"
        self.name: str = spec["name"]
        self.state = ContainerState(self.name, spec["image"], sidecar=sidecar)
        self._pod = pod
        self._spec = spec
        self._folder = f"{pod.folder}/{self.name}"
        self._init, self._ephemeral = init and not sidecar, ephemeral
        self._policy = "Always" if sidecar else "Never" if ephemeral else pod.policy
        self._waiting = {"waiting": {"reason": pod.waiting_reason}}
        self.state.state = self._waiting
        self._back_off = BackOff()
        self._started_at, self._since = timestamp(), time.monotonic()
        self._target: Target | None = None
        self._prober: Prober | None = None
        self._ended, self._hurry = asyncio.Event(), asyncio.Event()
        self._ended.set()
        self._stopping: asyncio.Task[None] | None = None
        self._in_hook = self._must_restart = False

    @property
    def spec(self) -> Obj:
        """The Container object."""
        return self._spec

    @property
    def target(self) -> Target:
        """What handlers and remote commands act on in its present run. Raises ProcessLookupError before the first."""
        if self._target is None:
            raise ProcessLookupError(3, f"container {self.name} has not been started")
        return self._target

    @property
    def log(self) -> Path:
        """The log of the present run, or of the last one."""
        return Path(self._run(self.state.restarts).log)

    @property
    def previous_log(self) -> Path:
        """The log of the run before it; there may be none."""
        return Path(self._run(self.state.restarts - 1).log)

    def _run(self, number: int) -> Run:
        return Run(self._folder, number)

    # ---------------------------------------------------------------- start

    async def start(self) -> None:
        """Start it, and run its postStart hook. A failure becomes its state, and it is tried again when it is due."""
        state, sandbox = self.state, self._pod.sandbox
        assert sandbox is not None
        number = state.restarts + 1 if state.container_id else 0
        try:
            message, program = self._pod.start_message(self._spec, self._run(number))
        except (ConfigError, ImageError, OSError) as error:
            self._not_configured(error)
            return
        if not program.known and not number:
            self._pod.event("Normal", "ImageStandIn", program.note)
        self._renumber(number)
        self._target = self._pod.target(self._spec, message["env"], message["working_dir"])
        self._ended.clear()
        self._hurry.clear()
        try:
            await sandbox.start(message)
        except ContainerStartError as error:
            self._not_started(error)
            return
        self._pod.event("Normal", "Started", f"Started container {self.name}")
        hook = (self._spec.get("lifecycle") or {}).get("postStart")
        if (
            hook
            and not await first_of(self._hook("PostStart", hook), self._ended)
            and not self._ended.is_set()
        ):
            self.restart("FailedPostStartHook")
            await self.stop()
        if not self._ended.is_set():  # it may have ended before we came to know that it runs
            self._runs()

    def _renumber(self, number: int) -> None:
        """A new run begins; what the one before the last has left is removed."""
        state = self.state
        if "terminated" in state.state:
            state.last_state = state.state
        state.restarts, state.due = number, None
        state.container_id = f"minipod://{self._pod.uid}/{self.name}/{number}"
        self._started_at, self._since = timestamp(), time.monotonic()
        self._must_restart, self._stopping = False, None
        if number:
            rootfs.remove_tree(self._run(number - 1).upper)
            Path(self._run(number - 1).termination).unlink(missing_ok=True)
            Path(self._run(number - 2).log).unlink(missing_ok=True)

    def _runs(self) -> None:
        state = self.state
        state.state = {"running": {"startedAt": self._started_at}}
        state.started = "startupProbe" not in self._spec
        state.ready = state.started and "readinessProbe" not in self._spec and not self._ephemeral
        if any(f"{kind}Probe" in self._spec for kind in KINDS):
            self._prober = Prober(self._spec, self._attempt, self._verdict, self._probe_failed)

    def _not_configured(self, error: Exception) -> None:
        reason = "InvalidImageName" if isinstance(error, ImageError) else "CreateContainerConfigError"
        self.state.state = {"waiting": {"reason": reason, "message": str(error)}}
        self._pod.event("Warning", "Failed", f"Error: {error}")
        self._due_in(CONFIG_RETRY)

    def _not_started(self, error: ContainerStartError) -> None:
        self._ended.set()
        if self._pod.sandbox is None or self._pod.sandbox.closed:
            return
        self.state.state = terminated(START_ERROR, 0, self._started_at, self.state.container_id, str(error))
        self.state.state["terminated"]["reason"] = "StartError"
        self._pod.event("Warning", "Failed", f"Error: {error}")
        self._schedule(START_ERROR)

    # ---------------------------------------------------------------- while it runs

    async def _attempt(self, probe: Obj) -> Outcome:
        assert self._target is not None
        return await handlers.run(probe, self._target)

    def _probe_failed(self, message: str) -> None:
        self._pod.event("Warning", "Unhealthy", message)

    def _verdict(self, kind: str, ok: bool) -> None:
        state = self.state
        if kind == READINESS:
            state.ready = ok
        elif ok:
            state.started = True
            state.ready = state.ready or "readinessProbe" not in self._spec
        else:
            seconds = self._spec[f"{kind}Probe"].get("terminationGracePeriodSeconds")
            self.restart(f"Container {self.name} failed {kind} probe{self._and_again}", seconds)
        self._pod.wake()

    def restart(self, why: str, grace: float | None = None) -> None:
        """End it within `grace` seconds (None: the pod's), and start it again if the restart policy ever does."""
        if self._stopping is not None or self._ended.is_set():
            return
        self._must_restart = self._policy != "Never"
        self._stopping = asyncio.create_task(self._stop(why, 0.0))
        timer = asyncio.get_running_loop().call_later(
            self._pod.grace if grace is None else grace, self.expire
        )
        self._stopping.add_done_callback(lambda _: timer.cancel())

    def redefine(self, spec: Obj) -> None:
        """The object's container has changed (its image may): it is started again as it is now."""
        if spec == self._spec:
            return
        changed = spec["image"] != self._spec["image"]
        self._spec, self.state.image = spec, spec["image"]
        if changed:
            self.restart(f"Container {self.name} definition changed{self._and_again}")

    @property
    def _and_again(self) -> str:
        return ", will be restarted" if self._policy != "Never" else ""

    # ---------------------------------------------------------------- the end

    async def stop(self) -> None:
        """Run preStop, send TERM, wait for the end. The grace period is the caller's: see `expire`."""
        if self._ended.is_set():
            return
        if self._stopping is None:
            settle = SETTLE if self.state.ready else 0.0
            self._stopping = asyncio.create_task(self._stop(f"Stopping container {self.name}", settle))
        await asyncio.wait({self._stopping})

    async def _stop(self, why: str, settle: float) -> None:
        self._stop_probes(LIVENESS, STARTUP)
        self._pod.event("Normal", "Killing", why)
        hook = (self._spec.get("lifecycle") or {}).get("preStop")
        self._in_hook = True
        if hook:
            await first_of(self._hook("PreStop", hook), self._ended, self._hurry)
        elif settle:
            await first_of(asyncio.sleep(settle), self._ended, self._hurry)
        self._in_hook = False
        self._signal(signal.SIGTERM)
        await self._ended.wait()

    def expire(self) -> None:
        """The grace period is over. A preStop hook that has used it all up leaves TERM two seconds."""
        if self._in_hook:
            self._hurry.set()
            asyncio.get_running_loop().call_later(HOOK_EXTENSION, self.kill)
        else:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._hurry.set()
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._pod.sandbox is not None and not self._ended.is_set():
            self._pod.sandbox.signal(self.name, number)

    def exited(self, code: int, number: int) -> None:
        """Its first process has ended, with a status or by a signal; or its sandbox has, and it with it."""
        if self._ended.is_set():
            return
        self._stop_probes(*KINDS)
        state = self.state
        state.state = terminated(code, number, self._started_at, state.container_id, self._last_words(code))
        state.started, state.ready = False, self._init and code == 0
        self._ended.set()
        self._schedule(code)
        self._pod.wake()

    def resume(self, status: Obj) -> None:
        """Go on from what the API says of runs that ended with the lab they were in."""
        state = self.state
        state.restarts, state.container_id = status["restartCount"], status.get("containerID", "")
        state.state, state.last_state, state.due = status["state"], status.get("lastState") or {}, None
        if state.running:
            started = state.state["running"]["startedAt"]
            state.state = terminated(128 + signal.SIGKILL, signal.SIGKILL, started, state.container_id)
        self.renew()

    def renew(self) -> None:
        """There will be a new sandbox: what has not ended for good starts from the beginning."""
        self.exited(128 + signal.SIGKILL, signal.SIGKILL)
        state = self.state
        if not self._init and state.exit_code is not None and not restarts(self._policy, state.exit_code):
            return
        if "terminated" in state.state:
            state.last_state = state.state
        state.state, state.ready, state.due = self._waiting, False, 0.0

    def _schedule(self, code: int) -> None:
        """When it is due again."""
        state = self.state
        again = code != 0 and self._policy != "Never" if self._init else restarts(self._policy, code)
        if self._pod.ending or not (again or self._must_restart):
            state.due = None
            return
        delay = self._back_off.next(time.monotonic() - self._since)
        if delay:
            place = f"{self.name} in pod {self._pod.name}_{self._pod.namespace}({self._pod.uid})"
            text = f"back-off {delay:.0f}s restarting failed container={place.replace(' in pod ', ' pod=')}"
            state.last_state = state.state
            state.state = {"waiting": {"reason": "CrashLoopBackOff", "message": text}}
            self._pod.event("Warning", "BackOff", f"Back-off restarting failed container {place}")
        self._due_in(delay)

    def _due_in(self, seconds: float) -> None:
        self.state.due = time.monotonic() + seconds
        asyncio.get_running_loop().call_later(seconds, self._pod.wake)

    def _stop_probes(self, *kinds: str) -> None:
        if self._prober is not None:
            self._prober.stop(kinds)

    async def _hook(self, name: str, hook: Obj) -> bool:
        """Run a lifecycle hook; a failure is an event."""
        assert self._target is not None
        try:
            outcome = await handlers.run(hook, self._target)
        except HandlerError as error:
            outcome = Outcome(False, str(error))
        if not outcome.ok:
            self._pod.event("Warning", f"Failed{name}Hook", f"{name}Hook failed: {outcome.message}")
        return outcome.ok

    def _last_words(self, code: int) -> str:
        """The termination message: what it wrote to its file, else, if it asks for that, the end of its log."""
        run = self._run(self.state.restarts)
        with contextlib.suppress(OSError):
            with Path(run.termination).open("rb") as file:
                said = file.read(MESSAGE_LIMIT)
            if not said and code and self._spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
                said = last_output(run.log, LOG_TAIL)
            return said.decode(errors="replace")
        return ""


def namespaces_of(pod: Pod, container: str) -> Namespaces:
    """Those of a running container. Raises ProcessLookupError."""
    if pod.sandbox is None or container not in pod.sandbox.containers:
        raise ProcessLookupError(3, f"container {container} is not running")
    return pod.sandbox.containers[container]
