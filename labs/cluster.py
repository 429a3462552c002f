"""What the supervisor runs: the underlay, the control plane, and the agents of every machine, put together.

    topo.underlay ──> machines ──┬─> each node: kubelet, overlay, masquerade, kube-proxy, policy
    controlplane  ──> API ───────┼─> lb1: the load balancer      outside: its name server and a page
                                 └─> the cluster's DNS records, the guardian

Everything meets in the API and nowhere else: an agent can be taken out, and the others go on.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from agents.container_env import ConfigError
from agents.desired import PYTHON_CLASS
from agents.dns import DnsAgent
from agents.haproxy import HAProxy
from agents.health_check import HealthChecks
from agents.kube_proxy import KubeProxy
from agents.kubelet import Kubelet, Shared
from agents.load_balancer import LoadBalancerAgent, Pool
from agents.masquerade import MasqueradeAgent
from agents.node_kernel import NodeKernel
from agents.outside import OutsideWorld
from agents.overlay import OverlayAgent
from agents.pod_files import ClusterDns
from agents.policy import PolicyAgent, PolicyFeed
from agents.python_balancer import BalancerHolder, PythonBalancer
from agents.rules_watch import RulesWatch
from agents.seats import AgentHolder, Seats
from agents.service_accounts import ServiceAccounts
from controlplane import pki
from controlplane.errors import StatusError
from controlplane.http import account_token
from controlplane.informer import Informer
from controlplane.manager import ControlPlane
from controlplane.store import Store
from labs.cluster_file import ClusterConfig
from labs.guardian import Guardian
from netfns import overlay
from netfns.balancer_types import Frontend, Server
from netfns.proxy_mode import proxy_mode
from topo import plan, underlay
from topo.machine import Machine
from topo.runtime import Runtime
from topo.underlay import Underlay

log = logging.getLogger(__name__)
DNS_FOLDER = Path("/run/minipod/dns")
MACHINE_FILES = Path("/run/minipod/files")


class Cluster:
    """A lab's cluster. `build` makes the hardware, `run` keeps everything going until cancelled."""

    def __init__(
        self, config: ClusterConfig, progress: Callable[[str], None], store: Store | None = None
    ) -> None:
        """`store`: where the objects live; one that was restored is gone on with."""
        self.config = config
        self.authority, self.key = pki.make_authority(), os.urandom(32).hex()
        self._ranges = [plan.RANGES[family] for family in config.ip_families]
        self._pod_cidrs = tuple(str(one.pods) for one in self._ranges)
        self._service_cidrs = tuple(str(one.services) for one in self._ranges)
        self.control_plane = ControlPlane(
            service_ranges=self._service_cidrs,
            pod_ranges=self._pod_cidrs,
            store=store,
            root_ca=self.authority.certificate,
        )
        self.api = self.control_plane.api
        self.kubelets: dict[str, Kubelet] = {}
        self.seats = Seats()
        self._progress = progress
        self.underlay: Underlay
        self.runtime: Runtime
        self._parts: list[Coroutine[Any, Any, None]] = []
        self._running_kubelets: dict[str, asyncio.Task[None]] = {}

    async def build(self) -> None:
        """Make the machines, the pod runtime and the first objects. Raises UnderlayError."""
        self.runtime = Runtime("agents.images.standins:preload", on_restart=self._runtime_restarted)
        families = self.config.ip_families
        self.underlay = await asyncio.to_thread(underlay.build, self.config.workers, self._progress, families)
        self.runtime.attach(asyncio.get_running_loop())
        self.control_plane.start()
        self._add_nodes()
        self._add_services()
        self._progress(f"{len(self.kubelets)} nodes start their agents")

    async def run(self) -> None:
        """Run the control plane and every agent until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.control_plane.run())
            for part in self._parts:
                group.create_task(part)
            for name, kubelet in self.kubelets.items():
                self._running_kubelets[name] = group.create_task(kubelet.run())

    def stop_kubelet(self, node: str) -> None:
        """What a node is like whose kubelet has died: its pods go on, and nobody speaks for it. Raises KeyError."""
        self._running_kubelets[node].cancel()

    def machine(self, name: str) -> Machine:
        """A machine by name. Raises KeyError."""
        return self.underlay.machines[name]

    def _add_nodes(self) -> None:
        services = Informer(self.api, "Service")
        by_namespace = services.index(lambda service: [service["metadata"]["namespace"]])
        self._parts.append(services.run())
        dns = ClusterDns((str(self._ranges[0].dns_service),))
        nodes = asyncio.Barrier(sum(spot.kind == "node" for spot in plan.spots(self.config.workers)))
        accounts = ServiceAccounts(self.authority.certificate, self._token)
        shared = Shared(self.api, self.runtime, dns, services, by_namespace, nodes, accounts)
        policies = PolicyFeed(self.api)
        self._parts.append(policies.run())
        guardian = Guardian(self.underlay, self.machine_event)
        mode = proxy_mode(self.config.proxy_mode)
        for spot in plan.spots(self.config.workers):
            if spot.kind != "node":
                continue
            machine = self.machine(spot.name)
            kernel = NodeKernel(spot.name, machine.namespaces)
            role = "control-plane" if spot.name == plan.CONTROL_PLANE else ""
            policy = PolicyAgent(self.api, spot.name, kernel, policies)
            addresses = spot.addresses(self.config.ip_families)
            kubelet = Kubelet(shared, machine, kernel, addresses, role, policy)
            self.kubelets[spot.name] = kubelet
            carrier = OverlayAgent(self.api, spot.name, kernel)
            way_out = MasqueradeAgent(self.api, spot.name, kernel, self._pod_cidrs)
            health = HealthChecks(kernel.listen)
            proxy = KubeProxy(self.api, spot.name, kernel, self._pod_cidrs, self._service_cidrs, mode, health)
            self._parts += [agent.run() for agent in (carrier, policy, way_out, proxy)]
            with_rules = [
                policy.rules_changed,
                way_out.rules_changed,
                proxy.rules_changed,
                kubelet.rules_changed,
            ]
            self._parts.append(RulesWatch(kernel, with_rules).run())
            self._add_seats(kernel, carrier, proxy)
        self._parts.append(guardian.run())

    def _add_seats(self, kernel: NodeKernel, carrier: OverlayAgent, proxy: KubeProxy) -> None:
        """The seats of one node that a student's file can take."""
        put = partial(setattr, carrier, "functions")
        self.seats.add("overlay", AgentHolder(carrier, kernel, overlay, put))
        # A student's Services are nftables' table `service`, which another mode's rules would stand beside.
        beside = self.config.proxy_mode != "nftables"
        put = partial(setattr, proxy, "mode")
        self.seats.add("service", AgentHolder(proxy, kernel, proxy.mode, put, beside=beside))

    def _token(self, namespace: str, account: str, seconds: int, audience: str) -> str:
        """A service account's token. Raises ConfigError: the pod waits for its account."""
        try:
            audiences = [audience] if audience else []
            return account_token(self.api, self.key, namespace, account, seconds, audiences)
        except StatusError as error:
            raise ConfigError(error.message) from None

    def _add_services(self) -> None:
        """What serves the cluster from machines that are no nodes, and the records of its DNS."""
        api_server = Server(plan.CONTROL_PLANE, str(plan.NODES.ipv4[10]), plan.API_PORT)
        api_frontend = Frontend(
            "default/kubernetes:https", str(plan.API_ADDRESS), plan.API_PORT, (api_server,)
        )
        lb1, lb2, outside = (
            NodeKernel(name, self.machine(name).namespaces) for name in ("lb1", "lb2", "outside")
        )
        addresses = Pool([str(address) for one in self._ranges for address in one.balancer_pool()])
        haproxy = HAProxy(lb1, _folder("lb1"), self._told("lb1"), [api_frontend])
        in_python = PythonBalancer(lb2, _folder("lb2"), self._told("lb2"))
        python_agent = LoadBalancerAgent(self.api, in_python, addresses, PYTHON_CLASS)
        self.seats.add("python_balancer", BalancerHolder(python_agent, in_python))
        ranges = (*self._service_cidrs, *self._pod_cidrs)
        here = next(spot for spot in plan.spots(self.config.workers) if spot.name == "outside")
        outside_addresses = here.addresses(self.config.ip_families)
        self._parts += [
            LoadBalancerAgent(self.api, haproxy, addresses).run(),
            python_agent.run(),
            DnsAgent(self.api, _made(DNS_FOLDER), [str(self._ranges[0].dns_service)], ranges).run(),
            OutsideWorld(outside, outside_addresses, _folder("outside"), self._ended("outside")).run(),
        ]

    def machine_event(self, machine: str, reason: str, message: str) -> None:
        """Record an event on a machine: on its Node object, or on one that would be its."""
        involved = self.api.find("Node", machine) or {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": machine},
        }
        self.api.event(involved, reason, message, type="Warning", component="supervisor", host=machine)
        log.warning("%s: %s: %s", machine, reason, message)

    def _runtime_restarted(self, message: str) -> None:
        self.machine_event(plan.CONTROL_PLANE, "RuntimeRestarted", message)

    def _told(self, machine: str) -> Callable[[str], None]:
        return lambda message: self.machine_event(machine, "BalancerFailed", message)

    def _ended(self, machine: str) -> Callable[[int], None]:
        return lambda status: self.machine_event(
            machine, "ProcessRestarted", f"a server ended with status {status}"
        )


def _folder(machine: str) -> Path:
    return _made(MACHINE_FILES / machine)


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
