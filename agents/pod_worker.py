"""The life of one pod on its node, from bound to gone: one worker a pod.

    sandbox (namespaces) -> network (bridge, address) -> volumes -> init containers, one after another
        -> containers -> Running ... container exits -> back-off -> start again ... sandbox dies -> all of it again
        -> deletion: preStop, TERM, grace period, KILL -> address given back -> object removed

Everything that happens to a pod arrives in one inbox, in order: a container's exit, the sandbox's end, a restart that
is due, the deletion. So no two things are ever done to a pod at once.

Sources: Kubernetes documentation, "Pod Lifecycle" (restart policy, back-off, termination); kubelet's kuberuntime for
reasons and messages of events.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import container_env, pod_files, volumes
from agents.container_env import ConfigError
from agents.images.catalogue import ImageError, resolve
from agents.pod_sandbox import ContainerStartError, PodSandbox
from agents.pod_status import ContainerState, PodFacts, pod_status, restarts, terminated, timestamp
from netfns.ipam import IpamError
from netfns.kernel import CommandError
from topo import rootfs
from topo.runtime import RuntimeUnavailable

if TYPE_CHECKING:
    from agents.kubelet import Kubelet

Obj = dict[str, Any]
PODS = Path("/run/minipod/pods")
FIRST_BACK_OFF, LAST_BACK_OFF, FORGET_AFTER = 10.0, 300.0, 600.0
RETRY = 1.0
MESSAGE_LIMIT = 2048


class PodWorker:
    """See the head of this file. `pod` is always the newest object; `addresses` are the pod's own."""

    def __init__(self, kubelet: Kubelet, pod: Obj) -> None:
        self.kubelet = kubelet
        self.pod = pod
        self.namespace, self.name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self.uid = pod["metadata"]["uid"]
        self.folder = PODS / self.uid
        self.sandbox: PodSandbox | None = None
        self.addresses: tuple[str, ...] = ()
        self.policy = pod["spec"].get("restartPolicy") or "Always"
        self.containers = [ContainerState(c["name"], c["image"]) for c in pod["spec"]["containers"]]
        self.init_containers = [ContainerState(c["name"], c["image"]) for c in pod["spec"].get("initContainers") or ()]
        self._specs = {c["name"]: c for c in (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ()))}
        self._inbox: asyncio.Queue[Obj] = asyncio.Queue()
        self._facts: dict[str, Any] = {"initialized": False, "networked": False, "started_at": timestamp()}
        self._places: dict[str, Path] = {}
        self._failures: dict[str, tuple[int, float]] = {}  # container -> failures in a row, when it started last
        self._deadline: float | None = None

    # ---------------------------------------------------------------- from the kubelet

    def changed(self, pod: Obj) -> None:
        """The object has changed."""
        self.pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self._inbox.put_nowait({"event": "delete"})

    def removed(self) -> None:
        """The object is gone without waiting for us: end the pod now."""
        self._deadline = 0.0
        self._inbox.put_nowait({"event": "delete"})

    async def run(self) -> None:
        """Live until the pod's object is removed."""
        try:
            while not await self._lived_once():
                pass
        finally:
            if self.sandbox is not None:
                self.sandbox.close()
            self.kubelet.release(self.uid)
            rootfs.remove_tree(str(self.folder))

    # ---------------------------------------------------------------- the story

    async def _lived_once(self) -> bool:
        """One sandbox's life. True when the pod is to go, False when its sandbox was lost and it must begin again."""
        try:
            await self._make_sandbox()
            await self._initialize()
            for state in self.containers:
                await self._start(state)
            self.report()
            while True:
                self._handle(await self._inbox.get())
        except _SandboxLost:
            self._begin_again()
            return False
        except _Deleted:
            await self._terminate()
            return True

    async def _make_sandbox(self) -> None:
        """Namespaces, network and volumes; again and again until they are there."""
        while True:
            try:
                await self._try_sandbox()
                return
            except (RuntimeUnavailable, CommandError, IpamError, ConfigError, OSError, ValueError) as error:
                reason = "FailedMount" if isinstance(error, ConfigError) else "FailedCreatePodSandBox"
                self.event("Warning", reason, f"Failed to create pod sandbox: {error}")
                if self.sandbox is not None:
                    self.sandbox.close()
                    self.sandbox = None
                await self._sleep(RETRY)

    async def _try_sandbox(self) -> None:
        spec = self.pod["spec"]
        network = self.kubelet.network if spec.get("hostNetwork") else None
        name = self.kubelet.name if network is not None else pod_files.hostname(self.pod)
        self.sandbox = await PodSandbox.create(self.kubelet.runtime, name, network, self._inbox.put_nowait)
        if network is None:
            self.addresses = self.kubelet.attach(self.uid, f"{self.namespace}/{self.name}", self.sandbox)
        else:
            self.addresses = self.kubelet.addresses
        self._facts["networked"] = True
        self._places = volumes.prepare(self.pod, self.folder / "volumes", self.lookup)
        for volume in spec.get("volumes") or ():
            if volumes.is_stand_in(volume):
                self.event("Warning", "VolumeStandIn", f'volume "{volume["name"]}": an empty directory stands in for it')

    async def _initialize(self) -> None:
        """Run the init containers to their ends, one after another."""
        for state in self.init_containers:
            await self._start(state)
            while state.exit_code != 0:
                self.report()
                if state.exit_code is not None and self.policy == "Never":
                    self._facts["initialized"] = True
                    for container in self.containers:
                        container.state = terminated(1, 0, timestamp(), "", "an init container failed")
                    self.report()
                self._handle(await self._inbox.get())
        self._facts["initialized"] = True

    def _handle(self, message: Obj) -> None:
        """One thing has happened."""
        match message["event"]:
            case "delete":
                raise _Deleted
            case "gone":
                raise _SandboxLost
            case "exited":
                self._exited(self._state(message["name"]), message["status"], message["signal"])
            case "restart":
                self.kubelet.spawn(self._restart(self._state(message["name"])))
            case "report":
                self.report()

    def _exited(self, state: ContainerState, code: int, number: int) -> None:
        started = (state.state.get("running") or {}).get("startedAt", timestamp())
        state.state = terminated(code, number, started, state.container_id, self._last_words(state, code))
        state.ready = False
        is_init = state in self.init_containers
        again = code != 0 and self.policy != "Never" if is_init else restarts(self.policy, code)
        if again:
            self._schedule_restart(state)
        self.report()

    def _schedule_restart(self, state: ContainerState) -> None:
        """The first restart is at once; then 10 s, doubled each time, until it has run for ten minutes."""
        failures, since = self._failures.get(state.name, (0, time.monotonic()))
        if time.monotonic() - since > FORGET_AFTER:
            failures = 0
        self._failures[state.name] = failures + 1, time.monotonic()
        delay = min(FIRST_BACK_OFF * 2 ** (failures - 1), LAST_BACK_OFF) if failures else 0.0
        if delay:
            state.last_state = state.state
            text = f"back-off {delay:.0f}s restarting failed container={state.name} pod={self.name}_{self.namespace}({self.uid})"
            state.state = {"waiting": {"reason": "CrashLoopBackOff", "message": text}}
            self.event("Warning", "BackOff", f"Back-off restarting failed container {state.name} in pod {self.name}")
        loop = asyncio.get_running_loop()
        loop.call_later(delay, self._inbox.put_nowait, {"event": "restart", "name": state.name})

    async def _restart(self, state: ContainerState) -> None:
        if self.sandbox is None or state.running:
            return
        if "terminated" in state.state:
            state.last_state = state.state
        state.restarts += 1
        await self._start(state)
        self.report()

    async def _start(self, state: ContainerState) -> None:
        """Start a container; a failure becomes its state, and it is tried again later."""
        assert self.sandbox is not None
        state.container_id = f"minipod://{self.uid}/{state.name}/{state.restarts}"
        try:
            message = self._container(state)
            await self.sandbox.start(message)
        except (ConfigError, ImageError) as error:
            reason = "InvalidImageName" if isinstance(error, ImageError) else "CreateContainerConfigError"
            self._failed_to_start(state, reason, str(error))
        except ContainerStartError as error:
            state.state = terminated(127, 0, timestamp(), state.container_id, str(error))
            state.state["terminated"]["reason"] = "StartError"
            self.event("Warning", "Failed", f"Error: {error}")
            if self.policy != "Never":
                self._schedule_restart(state)
        else:
            state.state = {"running": {"startedAt": timestamp()}}
            state.ready = True

    def _failed_to_start(self, state: ContainerState, reason: str, message: str) -> None:
        state.state = {"waiting": {"reason": reason, "message": message}}
        self.event("Warning", "Failed", f"Error: {message}")
        asyncio.get_running_loop().call_later(
            FIRST_BACK_OFF, self._inbox.put_nowait, {"event": "restart", "name": state.name}
        )

    def _container(self, state: ContainerState) -> Obj:
        """What topo.pod_init needs to start a container. Raises ConfigError, ImageError."""
        spec = self._specs[state.name]
        program = resolve(spec["image"], spec.get("command"), spec.get("args"), spec.get("ports") or ())
        if not program.known and not state.restarts:
            self.event("Normal", "ImageStandIn", program.note)
        status = {"podIP": self.addresses[0], "podIPs": [{"ip": address} for address in self.addresses]}
        host = {"hostIP": self.kubelet.addresses[0], "hostIPs": [{"ip": ip} for ip in self.kubelet.addresses]}
        pod = {**self.pod, "status": {**(self.pod.get("status") or {}), **status, **host}}
        services = self.kubelet.services_for(self.namespace)
        env = container_env.environment(pod, spec, program.env, services, self.lookup)
        folder = self.folder / state.name
        folder.mkdir(parents=True, exist_ok=True)
        root = {
            "upper": str(folder / str(state.restarts)),
            "image": self.kubelet.images.layer(program.files),
            "files": self._name_files(),
            "mounts": volumes.mounts(spec, self._places),
        }
        return {
            "name": state.name,
            "argv": [container_env.expand(word, env) for word in program.argv],
            "env": env,
            "working_dir": spec.get("workingDir") or program.working_dir,
            "standin": program.standin,
            "log": str(self.log(state)),
            "root": root,
        }

    def _name_files(self) -> list[tuple[str, str, int]]:
        host_network = bool(self.pod["spec"].get("hostNetwork"))
        cluster = self.kubelet.cluster_dns
        hosts = (
            pod_files.node_hosts(self.pod, self.kubelet.node_file("hosts"))
            if host_network
            else pod_files.hosts(self.pod, self.addresses, cluster.domain)
        )
        resolv = pod_files.resolv_conf(self.pod, cluster, self.kubelet.node_file("resolv.conf"))
        name = self.kubelet.name if host_network else pod_files.hostname(self.pod)
        return [("/etc/hosts", hosts, 0o644), ("/etc/resolv.conf", resolv, 0o644), ("/etc/hostname", f"{name}\n", 0o644)]

    # ---------------------------------------------------------------- the end

    def _begin_again(self) -> None:
        """The sandbox died under the pod: everything is started again, under a new address."""
        self.event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        self.kubelet.release(self.uid)
        self.addresses, self.sandbox = (), None
        self._facts |= {"initialized": False, "networked": False}
        self._inbox = asyncio.Queue()
        for state in (*self.init_containers, *self.containers):
            if state.running:
                started = state.state["running"]["startedAt"]
                state.last_state = terminated(137, int(signal.SIGKILL), started, state.container_id)
                state.restarts += 1
            state.state, state.ready = {"waiting": {"reason": "ContainerCreating"}}, False
        if "deletionTimestamp" in self.pod["metadata"]:
            self._inbox.put_nowait({"event": "delete"})

    async def _terminate(self) -> None:
        """preStop and TERM, the grace period, KILL; then the object is removed."""
        if self._deadline is None:
            grace = self.pod["metadata"].get("deletionGracePeriodSeconds", 30)
            self._deadline = time.monotonic() + grace
        if self.sandbox is not None and self._deadline > time.monotonic():
            running = [state for state in self.containers if state.running]
            for state in running:
                self.event("Normal", "Killing", f"Stopping container {state.name}")
            await asyncio.gather(*(self._stop(state) for state in running))
            await self._until_ended()
        if self.sandbox is not None:
            self.sandbox.close()
        self.kubelet.remove(self.pod)

    async def _stop(self, state: ContainerState) -> None:
        assert self._deadline is not None
        hook = (self._specs[state.name].get("lifecycle") or {}).get("preStop")
        if hook:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._run_hook(state, hook), max(0.0, self._deadline - time.monotonic()))
        if self.sandbox is not None:
            self.sandbox.signal(state.name, signal.SIGTERM)

    async def _run_hook(self, state: ContainerState, hook: Obj) -> None:
        if "sleep" in hook:
            await asyncio.sleep(hook["sleep"]["seconds"])
        elif "exec" in hook and self.sandbox is not None and state.name in self.sandbox.containers:
            namespaces = self.sandbox.containers[state.name]
            result = await asyncio.to_thread(namespaces.run, hook["exec"]["command"])
            if result.status:
                text = f"PreStopHook failed: status {result.status}: {result.stderr.strip()[:200]}"
                self.event("Warning", "FailedPreStopHook", text)

    async def _until_ended(self) -> None:
        """Wait for every container to end, at most to the end of the grace period."""
        assert self._deadline is not None
        with contextlib.suppress(TimeoutError, _SandboxLost):
            async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                while any(state.running for state in self.containers):
                    message = await self._inbox.get()
                    if message["event"] == "gone":
                        return
                    if message["event"] == "exited":
                        self._state(message["name"]).state = terminated(message["status"], 0, timestamp(), "")
                    if message["event"] == "delete" and self._deadline == 0.0:
                        return

    # ---------------------------------------------------------------- helpers

    def report(self) -> None:
        """Write the pod's status."""
        facts = PodFacts(policy=self.policy, host_ip=self.kubelet.addresses[0], addresses=self.addresses, **self._facts)
        previous = self.pod.get("status") or {}
        self.kubelet.report(self, pod_status(facts, self.containers, self.init_containers, previous))

    def event(self, kind: str, reason: str, message: str) -> None:
        """Record an event on the pod."""
        self.kubelet.event(self.pod, kind, reason, message)

    def lookup(self, kind: str, name: str) -> Obj | None:
        """A ConfigMap or Secret of the pod's namespace."""
        return self.kubelet.api.find(kind, name, self.namespace)

    def log(self, state: ContainerState) -> Path:
        """Where the log of a container's present run is."""
        return self.folder / state.name / f"{state.restarts}.log"

    def _last_words(self, state: ContainerState, code: int) -> str:
        """With terminationMessagePolicy FallbackToLogsOnError: the end of the log of a container that failed."""
        policy = self._specs[state.name].get("terminationMessagePolicy")
        if code == 0 or policy != "FallbackToLogsOnError":
            return ""
        try:
            return self.log(state).read_bytes()[-MESSAGE_LIMIT:].decode(errors="replace")
        except OSError:
            return ""

    def _state(self, name: str) -> ContainerState:
        return next(state for state in (*self.containers, *self.init_containers) if state.name == name)

    async def _sleep(self, seconds: float) -> None:
        """Wait, unless the pod is deleted meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    if (await self._inbox.get())["event"] == "delete":
                        raise _Deleted


class _Deleted(Exception):
    """The pod is to go."""


class _SandboxLost(Exception):
    """The pod's first process died."""
