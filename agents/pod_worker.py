"""The life of one pod on its node, from bound to gone: one worker a pod.

    volumes -> sandbox (namespaces) -> network (bridge, address, policies) -> init containers -> containers
        -> Running ... a container ends, is due again, fails a probe ... -> all have ended: Succeeded, Failed
        -> sandbox dies: all of it again, under a new address
        -> deletion, at any moment: preStop, TERM, grace period, KILL -> address given back -> object removed

Whatever happens only wakes the worker. It then looks at what is and does what is missing (agents/pod_plan.py), one
thing after another: so no two things are ever done to a pod at once, and a message that was lost does no harm.

Invariant: the pod's object goes only when its containers are gone, and an error that nobody foresaw does not leave
the pod dead: an event tells of it and all begins again.

Sources: Kubernetes documentation, "Pod Lifecycle"; the kubelet's SyncPod and its events.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import pod_files, security, volumes
from agents.back_off import BackOff
from agents.container import Container, namespaces_of
from agents.container_env import ConfigError
from agents.container_start import Run, start_message
from agents.handlers import Target, named_ports
from agents.images.catalogue import Program
from agents.pod_plan import plan
from agents.pod_sandbox import GONE, PodSandbox
from agents.pod_status import ContainerState, PodFacts, pod_status
from controlplane.meta import now as timestamp
from netfns.ipam import IpamError
from netfns.kernel import CommandError
from topo import rootfs
from topo.runtime import RuntimeUnavailable

if TYPE_CHECKING:
    from agents.kubelet import Kubelet

Obj = dict[str, Any]
PODS = Path("/run/minipod/pods")
SANDBOX_RETRY = 1.0
DEADLINE_EXCEEDED = "Pod was active on the node longer than the specified deadline"

log = logging.getLogger(__name__)


class PodWorker:
    """See the head of this file. `pod` is always the newest object; `addresses` are the pod's own.

    ending: no container is started any more. grace: seconds that a container has to end.
    """

    def __init__(self, kubelet: Kubelet, pod: Obj) -> None:
        self.kubelet = kubelet
        self.pod = pod
        self.namespace, self.name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self.uid = pod["metadata"]["uid"]
        self.folder = PODS / self.uid
        self.policy = pod["spec"].get("restartPolicy") or "Always"
        self.grace = float(pod["spec"].get("terminationGracePeriodSeconds", 30))
        self.sandbox: PodSandbox | None = None
        self.addresses: tuple[str, ...] = ()
        self.ending = False
        self.waiting_reason = "PodInitializing" if pod["spec"].get("initContainers") else "ContainerCreating"
        self.init_containers = [
            Container(self, spec, init=True) for spec in pod["spec"].get("initContainers") or ()
        ]
        self.containers = [Container(self, spec) for spec in pod["spec"]["containers"]]
        self.ephemeral_containers: list[Container] = []
        self._by_name = {container.name: container for container in (*self.init_containers, *self.containers)}
        self._places: dict[str, Path] = {}
        self._initialized = self._finished = False
        self._reason = ""
        status = pod.get("status") or {}
        self._started_at, self._born = status.get("startTime") or timestamp(), time.monotonic()
        self._awake, self._deleted = asyncio.Event(), asyncio.Event()
        self._expiry: asyncio.TimerHandle | None = None
        self._deadline_seconds: int | None = None
        self._add_ephemeral(pod["spec"])
        self._time_active_deadline()
        for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
            for one in status.get(kind) or ():
                self._by_name[one["name"]].resume(one)

    # ---------------------------------------------------------------- from the kubelet

    def changed(self, pod: Obj) -> None:
        """The object has changed."""
        self.pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self._end_within(float(pod["metadata"].get("deletionGracePeriodSeconds", 0)))
            self._deleted.set()
            return
        spec = pod["spec"]
        for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
            self._by_name[container["name"]].redefine(container)
        self._add_ephemeral(spec)
        self._time_active_deadline()
        if spec.get("readinessGates"):
            self.wake()

    def _add_ephemeral(self, spec: Obj) -> None:
        """The object may have ephemeral containers more; none of them is ever changed or taken away."""
        known = len(self.ephemeral_containers)
        for added in (spec.get("ephemeralContainers") or ())[known:]:
            container = Container(self, added, ephemeral=True)
            self.ephemeral_containers.append(container)
            self._by_name[container.name] = container
        if len(self.ephemeral_containers) > known:
            self.wake()

    def removed(self) -> None:
        """The object is gone without waiting for us: end the pod now."""
        self._end_within(0.0)
        self._deleted.set()

    def wake(self) -> None:
        """Something has changed: look what is to be done."""
        self._awake.set()

    def refresh_volumes(self) -> None:
        """Write again what has changed in the ConfigMaps, Secrets and fields that the pod shows as files."""
        if self._places:
            with contextlib.suppress(ConfigError, OSError):  # they stay as they are
                volumes.prepare(self.pod, self.folder / "volumes", self._lookup, self.kubelet.accounts)

    def begin(self) -> asyncio.Task[None]:
        """Begin to live, in the event loop's next turn; the task is over when the pod is, and its object removed."""
        return self.kubelet.spawn(self._run(asyncio.create_task(self._live())))

    async def _run(self, life: asyncio.Task[None]) -> None:
        """Live until the pod's object is to go, then end the pod and remove it."""
        try:
            await self._deleted.wait()
            self.ending = True
            life.cancel()
            await asyncio.wait({life})
            await self._terminate()
        finally:
            life.cancel()
            self._close_sandbox()
            rootfs.remove_tree(str(self.folder))

    # ---------------------------------------------------------------- life

    async def _live(self) -> None:
        """One sandbox's life after the other, until cancelled."""
        back_off = BackOff(first=1.0, last=60.0)
        while True:
            since = time.monotonic()
            try:
                await self._make_sandbox()
                await self._secure()
                while not self._lost:
                    await self._look()
                    await self._awake.wait()
                self.event(
                    "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
                )
            except Exception as error:  # a pod must not stay dead: see the head of this file
                log.exception("pod %s/%s: its worker failed", self.namespace, self.name)
                self.event("Warning", "FailedSync", f"error syncing pod: {type(error).__name__}: {error}")
                self._close_sandbox()
                await asyncio.sleep(back_off.next(time.monotonic() - since))
            await self._begin_again()

    @property
    def _lost(self) -> bool:
        """The sandbox died under the pod, which is not over."""
        return self.sandbox is not None and self.sandbox.closed and not self._finished

    async def _look(self) -> None:
        """See what is missing, do it, and write the status."""
        self._awake.clear()
        while not self._finished:
            if self._past_active_deadline():
                self._reason = "DeadlineExceeded"
                self.event("Normal", self._reason, DEADLINE_EXCEEDED)
                await self._finish()
                break
            init, containers, ephemeral = self._states()
            step = plan(init, containers, time.monotonic(), self._initialized, ephemeral)
            self._initialized = step.initialized
            if step.finished:
                await self._finish()
            elif not step.start or self._lost:
                break
            else:
                await self._by_name[step.start].start()
        if not self._lost:
            self.report()

    async def _make_sandbox(self) -> None:
        """Volumes, namespaces and network; again and again until they are there."""
        while True:
            try:
                self._make_volumes()
                await self._try_sandbox()
                return
            except ConfigError as error:
                self.event("Warning", "FailedMount", f"MountVolume.SetUp failed: {error}")
            except (RuntimeUnavailable, CommandError, IpamError, OSError, ValueError) as error:
                self.event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
                released = self._close_sandbox()
                await self.kubelet.unplug(self.uid)
                await released
            self.report()
            await asyncio.sleep(SANDBOX_RETRY)

    def _make_volumes(self) -> None:
        self._places = volumes.prepare(self.pod, self.folder / "volumes", self._lookup, self.kubelet.accounts)
        for volume in self.pod["spec"].get("volumes") or ():
            if volumes.is_stand_in(volume):
                text = f'volume "{volume["name"]}": an empty directory stands in for it'
                self.event("Warning", "VolumeStandIn", text)

    async def _try_sandbox(self) -> None:
        spec = self.pod["spec"]
        kubelet, wiring = self.kubelet, None
        if spec.get("hostNetwork"):
            name, addresses = kubelet.name, kubelet.addresses
        else:
            name, addresses = pod_files.hostname(self.pod), kubelet.allocate(self.uid)
            wiring = kubelet.wiring(f"{self.namespace}/{self.name}", self.uid, addresses)
        self.sandbox = await PodSandbox.create(
            kubelet.runtime,
            name,
            kubelet.network,
            wiring,
            self._sandbox_says,
            shares_pids=bool(spec.get("shareProcessNamespace")),
        )
        self.addresses = addresses
        if wiring is not None:
            await kubelet.open_host_ports(self.uid, self.pod, addresses)
        settings = security.sysctls(self.pod)
        if settings:
            await asyncio.to_thread(kubelet.set_sysctls, self.sandbox, settings)

    async def _secure(self) -> None:
        """Wait until the node enforces the pod's NetworkPolicies: no container of it starts before."""
        if not self.pod["spec"].get("hostNetwork") and await self.kubelet.secure(self.pod, self.addresses):
            self.report()  # the other nodes must know the address of whoever may be a peer

    def _sandbox_says(self, message: Obj) -> None:
        if message is not GONE:
            self._by_name[message["name"]].exited(message["status"], message["signal"])
            return
        for container in self._by_name.values():
            container.exited(137, 9)
        self.wake()

    async def _begin_again(self) -> None:
        """Everything that has not ended for good is started again, under a new address."""
        await self._close_sandbox()
        self.addresses, self._initialized = (), False
        for container in self._by_name.values():
            container.renew()

    def _past_active_deadline(self) -> bool:
        seconds = self._deadline_seconds
        return seconds is not None and time.monotonic() >= self._born + seconds

    def _time_active_deadline(self) -> None:
        """Look again when spec.activeDeadlineSeconds, which may become less, are over."""
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        if seconds is not None and seconds != self._deadline_seconds:
            self._deadline_seconds = seconds
            left = self._born + seconds - time.monotonic()
            asyncio.get_running_loop().call_later(left, self.wake)

    # ---------------------------------------------------------------- the end

    async def _finish(self) -> None:
        """Every container has ended, or must: end the sidecars too, and let go of all that the pod had."""
        self.ending = True
        self._end_within(self.grace)
        await self._stop_containers()
        self._close_sandbox()
        self._finished = True

    async def _terminate(self) -> None:
        """End the containers within the grace period; then the object is removed."""
        probed = any(container.get("readinessProbe") for container in self.pod["spec"]["containers"])
        telling = asyncio.create_task(self._report_changes()) if probed else None
        try:
            await self._stop_containers()
        except Exception:  # the sandbox is closed all the same, and the kernel ends what is in it
            log.exception("pod %s/%s: cannot be ended in good order", self.namespace, self.name)
        finally:
            if telling is not None:
                telling.cancel()
        self._close_sandbox()
        if self.pod["metadata"].get("finalizers"):
            self.report()
        self.kubelet.remove(self.pod)

    async def _report_changes(self) -> None:
        """Tell on while the containers end: one that fails its readiness probe serves nobody any more."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            self.report()

    async def _stop_containers(self) -> None:
        """The ordinary ones at once; then the sidecars, the last one first, for the others may need them."""
        sidecars = [container for container in reversed(self.init_containers) if container.state.sidecar]
        await asyncio.gather(*(c.stop() for c in self._by_name.values() if not c.state.sidecar))
        for sidecar in sidecars:
            await sidecar.stop()
        if self._expiry is not None:
            self._expiry.cancel()

    def _end_within(self, seconds: float) -> None:
        """What still runs then is killed. Said again, it can only become sooner."""
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        if self._expiry is None or self._expiry.cancelled() or when < self._expiry.when():
            if self._expiry is not None:
                self._expiry.cancel()
            self._expiry = loop.call_at(when, self._expire, seconds > 0)

    def _expire(self, gracefully: bool) -> None:
        for container in self._by_name.values():
            if gracefully:
                container.expire()
            else:
                container.kill()

    def _close_sandbox(self) -> asyncio.Task[None]:
        """End what still runs in the pod; when the task is done, its address is free again."""
        if self.sandbox is not None:
            self.sandbox.close()
        for container in self._by_name.values():
            container.exited(137, 9)
        return self.kubelet.release(self.uid)

    # ---------------------------------------------------------------- for its containers

    def start_message(self, spec: Obj, run: Run) -> tuple[Obj, Program]:
        """See agents.container_start."""
        return start_message(self.kubelet, self.pod, self.addresses, self._places, spec, run)

    def target(self, spec: Obj, env: Mapping[str, str], working_dir: str) -> Target:
        """What the handlers of a container's probes and hooks act on."""
        return Target(
            node=self.kubelet.namespaces,
            address=self.addresses[0],
            ports=named_ports(spec),
            namespaces=lambda: namespaces_of(self, spec["name"]),
            env=env,
            working_dir=working_dir,
            rights=security.rights(self.pod["spec"], spec),
        )

    def event(self, kind: str, reason: str, message: str) -> None:
        """Record an event on the pod."""
        self.kubelet.event(self.pod, kind, reason, message)

    def report(self) -> None:
        """Write the pod's status."""
        facts = PodFacts(
            policy=self.policy,
            host_ip=self.kubelet.addresses[0],
            host_ips=self.kubelet.addresses,
            addresses=self.addresses,
            started_at=self._started_at,
            initialized=self._initialized,
            networked=self.sandbox is not None and not self.sandbox.closed,
            gates=[gate["conditionType"] for gate in self.pod["spec"].get("readinessGates") or ()],
            reason=self._reason,
            message=DEADLINE_EXCEEDED if self._reason else "",
        )
        init, containers, ephemeral = self._states()
        self.kubelet.report(self, lambda previous: pod_status(facts, containers, init, previous, ephemeral))

    def _states(self) -> tuple[list[ContainerState], list[ContainerState], list[ContainerState]]:
        """Of the init containers, the ordinary ones, the ephemeral ones."""
        init, containers, ephemeral = (
            [container.state for container in each]
            for each in (self.init_containers, self.containers, self.ephemeral_containers)
        )
        return init, containers, ephemeral

    def _lookup(self, kind: str, name: str) -> Obj | None:
        """A ConfigMap or Secret of the pod's namespace."""
        return self.kubelet.api.find(kind, name, self.namespace)
