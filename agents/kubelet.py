"""The kubelet of one node: says that the node is there, and keeps a worker for every pod bound to it.

    Node object <── register, Ready, Lease ── kubelet ──> PodWorker (agents/pod_worker.py), one a pod
                                                │
                       netfns.bridge, netfns.ipam: the node's bridge, each pod's veth pair and addresses

Invariants: a pod is wired before a container of it starts; its address and its policies are let go only when its
port is gone (agents/pod_ports.py); what the kubelet tells the API is status and events, nothing else.

Source: Kubernetes documentation, "kubelet", "Nodes: heartbeats".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.host_ports import HostPortMapper
from agents.image_store import ImageStore
from agents.node_kernel import NodeKernel
from agents.pod_files import ClusterDns
from agents.pod_ports import PodPorts
from agents.pod_sandbox import PodSandbox
from agents.pod_worker import PODS, PodWorker
from agents.resource_fields import CAPACITY
from agents.service_accounts import ServiceAccounts
from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.informer import Index, Informer
from controlplane.meta import now as timestamp
from controlplane.scheduling.ledger import collide, host_ports
from netfns import bridge, ipam
from netfns.kernel import HAS_IPV6, Kernel
from topo.departures import Departures
from topo.enter import NETWORK
from topo.machine import Machine
from topo.runtime import Runtime, Wiring

if TYPE_CHECKING:
    from agents.policy import PolicyAgent

Obj = dict[str, Any]
LEASE_NAMESPACE, LEASE_SECONDS, RENEW_EVERY = "kube-node-lease", 40, 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shared:
    """What the kubelets of a lab share: the API, the pod runtime, image layers, Services by namespace, and the files of
    service accounts.
    """

    api: API
    runtime: Runtime
    cluster_dns: ClusterDns
    services: Informer
    services_by_namespace: Index
    all_nodes: (
        asyncio.Barrier
    )  # the nodes of a new lab become Ready together, so that the first pods are spread
    accounts: ServiceAccounts
    images: ImageStore = field(default_factory=ImageStore)


class Kubelet:
    """See the head of this file. `addresses` are the node's own."""

    def __init__(
        self,
        shared: Shared,
        machine: Machine,
        kernel: Kernel,
        addresses: Iterable[str],
        role: str = "",
        policy: PolicyAgent | None = None,
    ) -> None:
        """`role`: "control-plane" for a node that takes only pods that tolerate its taint; `policy`: lets them run."""
        self.api, self.runtime, self.images = shared.api, shared.runtime, shared.images
        self.accounts = shared.accounts
        self.cluster_dns = shared.cluster_dns
        self.name = machine.name
        self.addresses = tuple(addresses)
        self.namespaces = machine.namespaces
        self.network = os.dup(machine.namespaces.descriptor(NETWORK))
        self.workers: dict[str, PodWorker] = {}
        self._shared = shared
        self._kernel = kernel
        self._policy = policy
        self._labels = {f"node-role.kubernetes.io/{role}": ""} if role else {}
        self._taints = [{"key": f"node-role.kubernetes.io/{role}", "effect": "NoSchedule"}] if role else []
        self._bridge: bridge.Bridge | None = None
        self._host_ports: HostPortMapper | None = None
        self._pool: ipam.Pool | None = None
        self._ports = PodPorts(kernel, machine.namespaces.call(Departures))
        self._tasks: set[asyncio.Task[None]] = set()
        self._files: dict[str, tuple[int, str]] = {}  # when it changed, its text
        self._pods = Informer(self.api, "Pod", field_selector=f"spec.nodeName={self.name}")

    async def run(self) -> None:
        """Register the node, wait for its range of addresses, then serve pods until cancelled."""
        PODS.mkdir(parents=True, exist_ok=True)
        self.register()
        self._ports.follow()
        await self._take_pod_range()
        await self._shared.all_nodes.wait()
        self._set_ready()
        self._pods.on_change(self._pod_changed)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pods.run())
            group.create_task(self._heartbeat())

    async def rules_changed(self) -> None:
        """Somebody else has changed the node's rules: see that the pods' host ports are open."""
        if self._host_ports is not None:
            await self._host_ports.rules_changed()

    # ---------------------------------------------------------------- the node

    def register(self) -> None:
        """Make the Node object, unless it is there from before."""
        if self.api.find("Node", self.name) is None:
            labels = {
                "kubernetes.io/hostname": self.name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": _node_info()["architecture"],
                **self._labels,
            }
            metadata = {"name": self.name, "labels": labels}
            spec = {"taints": self._taints} if self._taints else {}
            self.api.create({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec})
        addresses = [{"type": "InternalIP", "address": address} for address in self.addresses]
        status = {
            "addresses": [*addresses, {"type": "Hostname", "address": self.name}],
            "capacity": CAPACITY,
            "allocatable": CAPACITY,
            "nodeInfo": _node_info(),
        }
        self.api.update_status("Node", self.name, "", status)
        self._renew_lease()

    async def _take_pod_range(self) -> None:
        """Wait until the control plane has given the node its ranges, and make the bridge."""
        nodes = Informer(self.api, "Node", field_selector=f"metadata.name={self.name}")
        given: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()

        def look(_: Obj | None, node: Obj | None) -> None:
            cidrs = tuple(((node or {}).get("spec") or {}).get("podCIDRs") or ())
            if cidrs and not given.done():
                given.set_result(cidrs)

        nodes.on_change(look)
        watching = asyncio.create_task(nodes.run())
        try:
            pod_cidrs = await given
        finally:
            watching.cancel()
        self._bridge = bridge.Bridge(pod_cidrs, ipv6=HAS_IPV6)
        self._pool = ipam.new_pool(pod_cidrs)
        families = ["ip6" if ":" in cidr else "ip" for cidr in pod_cidrs]
        self._host_ports = HostPortMapper(self._kernel, families)
        await asyncio.to_thread(bridge.apply_bridge, self._kernel, self._bridge)

    def _set_ready(self) -> None:
        now = timestamp()
        good = {
            "MemoryPressure": (
                "False",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
            "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
        }
        conditions = [
            {"type": name, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now,
             "lastTransitionTime": now}
            for name, (status, reason, message) in good.items()
        ]  # fmt: skip
        self.api.update_status("Node", self.name, "", {"conditions": conditions})

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY)
            try:
                self._renew_lease()
            except StatusError as error:  # the journal is full: the node lives on all the same
                log.warning("kubelet %s: its Lease is not renewed: %s", self.name, error)
            with contextlib.suppress(OSError):  # the tokens are good for a while yet
                self.accounts.refresh()
            for worker in tuple(self.workers.values()):
                worker.refresh_volumes()

    def _renew_lease(self) -> None:
        spec = {
            "holderIdentity": self.name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": timestamp().replace("Z", ".000000Z"),
        }
        if self.api.find("Lease", self.name, LEASE_NAMESPACE) is not None:
            self.api.patch("Lease", self.name, LEASE_NAMESPACE, {"spec": spec})
            return
        metadata = {"name": self.name, "namespace": LEASE_NAMESPACE}
        self.api.create(
            {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        )

    # ---------------------------------------------------------------- pods

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        uid = (new or old or {})["metadata"]["uid"]
        worker = self.workers.get(uid)
        if new is None:
            if worker is not None:
                worker.removed()
        elif old is not None and old["metadata"]["uid"] != uid:  # deleted and made again under the same name
            self._pod_changed(old, None)
            self._pod_changed(None, new)
        elif worker is not None:
            worker.changed(new)
        elif "deletionTimestamp" in new["metadata"]:
            self.remove(new)
        elif new["status"].get("phase") not in ("Succeeded", "Failed") and not self._turned_away(new):
            self.workers[uid] = PodWorker(self, new)
            self.workers[uid].begin().add_done_callback(lambda _: self.workers.pop(uid))

    def _turned_away(self, pod: Obj) -> bool:
        """Whether the pod fails at once: whoever bound it did not see that a port of the node is taken."""
        wanted = set(host_ports(pod["spec"]))
        if not wanted:
            return False
        here = (worker.pod for worker in self.workers.values() if not worker.ending)
        if not any(
            collide(one, taken) for other in here for taken in host_ports(other["spec"]) for one in wanted
        ):
            return False
        message = "Pod was rejected: Node didn't have free ports for the requested pod ports"
        self.event(pod, "Warning", "NodePorts", "Predicate NodePorts failed: " + message.partition(": ")[2])
        metadata = pod["metadata"]
        status = {"phase": "Failed", "reason": "NodePorts", "message": message, "startTime": timestamp()}
        self.api.update_status("Pod", metadata["name"], metadata["namespace"], status)
        return True

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine beside everything else; an error of it is logged."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("kubelet %s: a pod's worker failed", self.name, exc_info=task.exception())

    def allocate(self, uid: str) -> tuple[str, ...]:
        """Give a pod its addresses, one of each family. Raises IpamError."""
        assert self._pool is not None
        self._pool = ipam.allocate(self._pool, uid)
        return self._pool.addresses(uid)

    def wiring(self, pod: str, uid: str, addresses: tuple[str, ...]) -> Wiring:
        """How a pod is to be plugged into the bridge, by whoever makes its namespaces."""
        assert self._bridge is not None
        attachment = bridge.Attachment(pod, uid, self.runtime.pid, addresses)
        self._ports.expect(attachment.port)
        text = bridge.render(self._bridge, attachment)
        return Wiring(self.name, text.node, text.pod, text.port)

    async def unplug(self, uid: str) -> None:
        """Take a pod off the bridge that came no further: what is left of it may hold its port."""
        await self._ports.delete(bridge.port_of(uid))

    async def secure(self, pod: Obj, addresses: Sequence[str]) -> bool:
        """Wait until the node enforces the pod's NetworkPolicies; whether there are any in the cluster."""
        return self._policy is not None and await self._policy.secure(pod, addresses)

    async def open_host_ports(self, uid: str, pod: Obj, addresses: Iterable[str]) -> None:
        """Let the ports of the node that the pod asks for lead into it. Raises CommandError."""
        assert self._host_ports is not None
        await self._host_ports.open(uid, pod, tuple(addresses))

    @staticmethod
    def set_sysctls(sandbox: PodSandbox, settings: Mapping[str, str]) -> None:
        """Set what a pod's own network is to have otherwise. Raises CommandError. Blocks a little."""
        kernel = NodeKernel("pod", sandbox.namespaces)
        try:
            for key, value in settings.items():
                kernel.sysctl(key, value)
        finally:
            kernel.close()

    def release(self, uid: str) -> asyncio.Task[None]:
        """A pod ends: take back the node's ports that led to it, and once nothing comes from it any more its
        addresses, which is when the task is done.
        """
        if self._host_ports is not None:
            closed = self._host_ports.close(uid)
            if closed:
                self.spawn(self._host_ports.write(closed))
        return self.spawn(self._let_go(uid))

    async def _let_go(self, uid: str) -> None:
        await self._ports.gone(bridge.port_of(uid))
        if self._policy is not None:
            self._policy.release(uid)
        if self._pool is not None:
            self._pool = ipam.release(self._pool, uid)

    def services_for(self, namespace: str) -> list[Obj]:
        """The Services whose variables a pod of the namespace gets: its namespace's, and default/kubernetes."""
        own = list(self._shared.services_by_namespace[namespace].values())
        kubernetes = self._shared.services.get("default", "kubernetes")
        return own if kubernetes is None or namespace == "default" else [kubernetes, *own]

    def node_file(self, name: str) -> str:
        """The text of the node's own hosts or resolv.conf; read again only when it has changed."""
        path = f"/run/minipod/machines/{self.name}/{name}"
        changed = os.stat(path).st_mtime_ns
        known = self._files.get(name)
        if known is None or known[0] != changed:
            known = self._files[name] = changed, Path(path).read_text()
        return known[1]

    def report(self, worker: PodWorker, status_after: Callable[[Obj], Obj]) -> None:
        """Write a pod's status, made from the one before, which others write too; a pod that is gone needs none."""
        pod = self.api.find("Pod", worker.name, worker.namespace)
        if pod is not None and pod["metadata"]["uid"] == worker.uid:
            with contextlib.suppress(StatusError):
                status = status_after(pod.get("status") or {})
                worker.pod = self.api.update_status("Pod", worker.name, worker.namespace, status)

    def remove(self, pod: Obj) -> None:
        """Remove the object of a pod that has ended."""
        metadata = pod["metadata"]
        with contextlib.suppress(StatusError):
            self.api.delete(
                "Pod", metadata["name"], metadata["namespace"], grace_period=0, uid=metadata["uid"]
            )

    def event(self, involved: Obj, kind: str, reason: str, message: str) -> None:
        """Record an event, signed by this kubelet."""
        self.api.event(involved, reason, message, type=kind, component="kubelet", host=self.name)


def _node_info() -> Obj:
    uname = os.uname()
    return {
        "kernelVersion": uname.release,
        "operatingSystem": "linux",
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(uname.machine, uname.machine),
        "kubeletVersion": "v1.37.0-minipod",
        "kubeProxyVersion": "",
        "containerRuntimeVersion": "minipod://1",
        "osImage": "Minipod",
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
    }
