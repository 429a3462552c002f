"""The control plane in one process: store, API, scheduler and controllers, put together and kept running.

    ControlPlane() --start()--> a new cluster's objects exist --run()--> everything reacts until cancelled

Nothing here touches the kernel: agents and the HTTP server get `api`, and that is all they need.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

from controlplane.api import API
from controlplane.bootstrap import bootstrap
from controlplane.controllers.cronjob import CronJobController
from controlplane.controllers.daemonset import DaemonSetController
from controlplane.controllers.deployment import DeploymentController
from controlplane.controllers.disruption import DisruptionController
from controlplane.controllers.endpoints_mirror import EndpointsMirror
from controlplane.controllers.endpointslice import EndpointSliceController
from controlplane.controllers.garbage import GarbageCollector
from controlplane.controllers.job import FIRST_RETRY, JobController
from controlplane.controllers.kubernetes_service import KubernetesService
from controlplane.controllers.namespace import NamespaceController
from controlplane.controllers.node_ipam import POD_RANGE, NodeIpamController
from controlplane.controllers.node_lifecycle import GRACE, NodeLifecycleController, TaintNewNodes
from controlplane.controllers.replicaset import ReplicaSetController
from controlplane.controllers.statefulset import StatefulSetController
from controlplane.controllers.storage import StorageController
from controlplane.custom.definitions import Definitions
from controlplane.informers import Informers
from controlplane.namespace_gifts import NamespaceGifts
from controlplane.pod_admission import PodAdmission
from controlplane.scheduling.scheduler import Scheduler
from controlplane.service_allocation import SERVICE_RANGE, ServiceAllocation
from controlplane.store import Store


class Controller(Protocol):
    """What the control plane runs."""

    def run(self) -> Awaitable[None]:
        """Works until cancelled."""


class ControlPlane:
    """A cluster's deciders. `node_grace` (seconds) is how long a node may be silent, `job_retry` how long a Job
    waits after its first failure; `store` is a new one, or one that was restored from a journal;
    `root_ca` the certificate of the API server's authority, PEM, "" without a server.
    """

    def __init__(
        self,
        *,
        service_ranges: Sequence[str] = (SERVICE_RANGE,),
        pod_ranges: Sequence[str] = (POD_RANGE,),
        node_grace: float = GRACE,
        job_retry: float = FIRST_RETRY,
        store: Store | None = None,
        root_ca: str = "",
    ) -> None:
        self.api = API(store)
        self._family = "IPv6" if ":" in service_ranges[0] else "IPv4"
        self.api.admit_with("Pod", PodAdmission(self.api.store))
        self.api.admit_with("Service", ServiceAllocation(service_ranges))
        self.api.admit_with("Node", TaintNewNodes())
        self.api.admit_with("CustomResourceDefinition", Definitions(self.api))
        gifts = NamespaceGifts(self.api, root_ca)
        self.api.admit_with("Namespace", gifts)
        self.informers = Informers(self.api)
        self.controllers: tuple[Controller, ...] = (
            Scheduler(self.api, self.informers),
            DeploymentController(self.api, self.informers),
            ReplicaSetController(self.api, self.informers),
            ReplicaSetController(self.api, self.informers, "ReplicationController"),
            DaemonSetController(self.api, self.informers),
            StatefulSetController(self.api, self.informers),
            JobController(self.api, self.informers, first_retry=job_retry),
            CronJobController(self.api, self.informers),
            StorageController(self.api, self.informers),
            DisruptionController(self.api, self.informers),
            KubernetesService(self.api, self.informers, self._family),
            EndpointsMirror(self.api, self.informers),
            EndpointSliceController(self.api, self.informers),
            NodeIpamController(self.api, self.informers, pod_ranges),
            NodeLifecycleController(self.api, self.informers, grace=node_grace),
            NamespaceController(self.api, self.informers, gifts),
            GarbageCollector(self.api, self.informers),
        )

    def start(self) -> None:
        """Makes the objects that every cluster has, as far as they are missing; afterwards the API may be used."""
        bootstrap(self.api, self._family)
        self.informers.start()

    async def run(self) -> None:
        """Keeps everything reacting until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.informers.run())
            for controller in self.controllers:
                group.create_task(_run(controller))


async def _run(controller: Controller) -> None:
    await controller.run()
