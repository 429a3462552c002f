"""ReplicaSet, and its older sister ReplicationController: as many pods as `spec.replicas` says; a lost one is replaced.

    pods of mine (pod_control.py)
    too few -> create from the template; too many -> delete, the least useful first; then tell it in status

Source: Kubernetes documentation "ReplicaSet"; k8s.io/kubernetes pkg/controller/replicaset.
"""

from __future__ import annotations

import asyncio

from controlplane.api import API
from controlplane.controllers.pod_control import PodControl, pod_from_template
from controlplane.controllers.pods import (
    deletion_order,
    is_active,
    seconds_until_available,
)
from controlplane.errors import StatusError
from controlplane.informers import Informers
from controlplane.meta import Key, Obj, key_of, labels_of, with_condition
from controlplane.reconciler import Reconciler

BURST = 4  # pods created or deleted before others may have the event loop: pods that are there can start
AHEAD = 4  # turns of the event loop that the first ones get more: by then their nodes have begun with them
# Seconds between two looks at the same ReplicaSet: a look costs a pass over its pods, so many are looked at less often.
STATUS_INTERVAL, STATUS_INTERVAL_OF_A_POD = 0.05, 0.0002
COMPONENTS = {"ReplicaSet": "replicaset-controller", "ReplicationController": "replication-controller"}


class ReplicaSetController:
    """Watches ReplicaSets (or the other `kind`) and pods, writes pods and the status of ReplicaSets."""

    def __init__(self, api: API, informers: Informers, kind: str = "ReplicaSet") -> None:
        self._api = api
        self._kind = kind
        self._sets = informers[kind]
        self._pods = informers["Pod"]
        self._control = PodControl(api, self._sets, self._pods, COMPONENTS[kind])
        self.reconciler = Reconciler(kind.lower(), self._reconcile, min_interval=self._interval)
        self._sets.on_change(lambda old, new: self.reconciler.enqueue(key_of(new or old or {})))
        self._control.wake(self.reconciler.enqueue)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _interval(self, key: Key) -> float:
        owner = self._sets.get(*key)
        return STATUS_INTERVAL + STATUS_INTERVAL_OF_A_POD * (owner["spec"]["replicas"] if owner else 0)

    async def _reconcile(self, key: Key) -> None:
        self._sets.catch_up()
        self._pods.catch_up()
        namespace, name = key
        owner = self._sets.get(namespace, name)
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            return
        pods = self._control.claim(owner)
        problem = await self._keep_replicas(owner, [pod for pod in pods if is_active(pod)])
        self._pods.catch_up()
        self._write_status(owner, problem)
        if problem is not None:
            raise problem

    async def _keep_replicas(self, owner: Obj, active: list[Obj]) -> StatusError | None:
        """Creates or deletes; returns what went wrong, if anything."""
        missing = owner["spec"]["replicas"] - len(active)
        try:
            if missing > 0:
                pod = pod_from_template(owner, owner["spec"]["template"])
                for count in range(missing):
                    self._control.create(owner, pod)
                    if count % BURST == BURST - 1:
                        await _let_others_run(1 if count >= BURST else 1 + AHEAD)
            elif missing < 0:
                for count, pod in enumerate(sorted(active, key=deletion_order)[:-missing]):
                    self._control.delete(owner, pod)
                    if count % BURST == BURST - 1:
                        await asyncio.sleep(0)
        except StatusError as error:
            return error
        return None

    def _write_status(self, owner: Obj, problem: StatusError | None) -> None:
        namespace, name = key_of(owner)
        pods = [pod for pod in self._control.of(owner) if is_active(pod)]
        waits = [seconds_until_available(pod, owner["spec"].get("minReadySeconds", 0)) for pod in pods]
        template = (owner["spec"]["template"]["metadata"].get("labels") or {}).items()
        status: Obj = {
            "replicas": len(pods),
            "fullyLabeledReplicas": sum(template <= labels_of(pod).items() for pod in pods) or None,
            "readyReplicas": sum(wait is not None for wait in waits) or None,
            "availableReplicas": sum(wait == 0 for wait in waits) or None,
            "observedGeneration": owner["metadata"]["generation"],
            "conditions": self._conditions(owner, problem),
        }
        self._api.update_status(self._kind, name, namespace, status)
        rest = [wait for wait in waits if wait]
        if rest:
            self.reconciler.enqueue_after((namespace, name), min(rest) + 0.01)

    @staticmethod
    def _conditions(owner: Obj, problem: StatusError | None) -> list[Obj] | None:
        if problem is None:
            return None
        conditions = (owner.get("status") or {}).get("conditions")
        return with_condition(
            conditions, "ReplicaFailure", "True", reason="FailedCreate", message=problem.message
        )


async def _let_others_run(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
