"""ReplicaSet: as many pods as `spec.replicas` says; a lost one is replaced.

    pods of mine = controlled by me, or orphans that my selector matches (adopted)
    too few -> create from the template; too many -> delete, the least useful first; then tell it in status

Source: Kubernetes documentation "ReplicaSet"; k8s.io/kubernetes pkg/controller/replicaset.
"""

from __future__ import annotations

import asyncio

from controlplane.api import API
from controlplane.controllers.pods import (
    by_controller,
    deletion_order,
    is_active,
    is_ready,
    seconds_until_available,
)
from controlplane.errors import StatusError
from controlplane.informers import Informers
from controlplane.meta import Key, Obj, controller_of, key_of, labels_of, owner_reference, with_condition
from controlplane.reconciler import Reconciler
from controlplane.selectors import LabelSelector, from_object

BURST = 16  # pods created or deleted before others may have the event loop
STATUS_INTERVAL = 0.05  # seconds between two looks at the same ReplicaSet
COMPONENT = "replicaset-controller"


class ReplicaSetController:
    """Watches ReplicaSets and pods, writes pods and the status of ReplicaSets."""

    def __init__(self, api: API, informers: Informers) -> None:
        self._api = api
        self._sets = informers["ReplicaSet"]
        self._pods = informers["Pod"]
        self._owned = self._pods.index(by_controller)
        self._by_namespace = self._sets.index(lambda obj: (obj["metadata"]["namespace"],))
        self.reconciler = Reconciler("replicaset", self._reconcile, min_interval=STATUS_INTERVAL)
        self._sets.on_change(lambda old, new: self.reconciler.enqueue(key_of(new or old or {})))
        self._pods.on_change(self._pod_changed)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        for pod in (old, new):
            owner = controller_of(pod) if pod is not None else None
            if pod is not None and owner is not None and owner["kind"] == "ReplicaSet":
                self.reconciler.enqueue((pod["metadata"]["namespace"], owner["name"]))
        if new is not None and controller_of(new) is None:
            for key, candidate in self._by_namespace[new["metadata"]["namespace"]].items():
                selector = from_object(candidate["spec"]["selector"])
                if selector is not None and selector.matches(labels_of(new)):
                    self.reconciler.enqueue(key)

    async def _reconcile(self, key: Key) -> None:
        self._sets.catch_up()
        self._pods.catch_up()
        namespace, name = key
        owner = self._sets.get(namespace, name)
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            return
        pods = self._claim(owner)
        problem = await self._keep_replicas(owner, [pod for pod in pods if is_active(pod)])
        self._pods.catch_up()
        self._write_status(owner, problem)
        if problem is not None:
            raise problem

    def _claim(self, owner: Obj) -> list[Obj]:
        """Pods of mine: orphans that match are adopted, mine that no longer match are released."""
        selector = from_object(owner["spec"]["selector"]) or LabelSelector()
        for pod in tuple(self._owned[("orphan", owner["metadata"]["namespace"])].values()):
            if is_active(pod) and selector.matches(labels_of(pod)):
                self._set_owners(
                    pod, [*(pod["metadata"].get("ownerReferences") or ()), owner_reference(owner)]
                )
        uid = owner["metadata"]["uid"]
        for pod in tuple(self._owned[uid].values()):
            if not selector.matches(labels_of(pod)):
                owners = [entry for entry in pod["metadata"]["ownerReferences"] if entry["uid"] != uid]
                self._set_owners(pod, owners)
        self._pods.catch_up()
        return list(self._owned[uid].values())

    def _set_owners(self, pod: Obj, owners: list[Obj]) -> None:
        namespace, name = key_of(pod)
        self._api.patch(
            "Pod", name, namespace, {"metadata": {"uid": pod["metadata"]["uid"], "ownerReferences": owners}}
        )

    async def _keep_replicas(self, owner: Obj, active: list[Obj]) -> StatusError | None:
        """Creates or deletes; returns what went wrong, if anything."""
        missing = owner["spec"]["replicas"] - len(active)
        try:
            if missing > 0:
                pod = _pod_from_template(owner)
                for count in range(missing):
                    self._create(owner, pod)
                    if count % BURST == BURST - 1:
                        await asyncio.sleep(0)
            elif missing < 0:
                for count, pod in enumerate(sorted(active, key=deletion_order)[:-missing]):
                    self._delete(owner, pod)
                    if count % BURST == BURST - 1:
                        await asyncio.sleep(0)
        except StatusError as error:
            return error
        return None

    def _create(self, owner: Obj, pod: Obj) -> None:
        try:
            created = self._api.create(pod, owner["metadata"]["namespace"])
        except StatusError as error:
            self._tell(owner, "FailedCreate", f"Error creating: {error.message}", "Warning")
            raise
        self._tell(owner, "SuccessfulCreate", f"Created pod: {created['metadata']['name']}")

    def _delete(self, owner: Obj, pod: Obj) -> None:
        namespace, name = key_of(pod)
        if self._api.find("Pod", name, namespace) is not None:
            self._api.delete("Pod", name, namespace)
            self._tell(owner, "SuccessfulDelete", f"Deleted pod: {name}")

    def _tell(self, owner: Obj, reason: str, message: str, kind: str = "Normal") -> None:
        self._api.event(owner, reason, message, type=kind, component=COMPONENT)

    def _write_status(self, owner: Obj, problem: StatusError | None) -> None:
        namespace, name = key_of(owner)
        pods = [pod for pod in self._owned[owner["metadata"]["uid"]].values() if is_active(pod)]
        waits = [seconds_until_available(pod, owner["spec"].get("minReadySeconds", 0)) for pod in pods]
        template = (owner["spec"]["template"]["metadata"].get("labels") or {}).items()
        status: Obj = {
            "replicas": len(pods),
            "fullyLabeledReplicas": sum(template <= labels_of(pod).items() for pod in pods) or None,
            "readyReplicas": sum(is_ready(pod) for pod in pods) or None,
            "availableReplicas": sum(wait == 0 for wait in waits) or None,
            "observedGeneration": owner["metadata"]["generation"],
            "conditions": self._conditions(owner, problem),
        }
        self._api.update_status("ReplicaSet", name, namespace, status)
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


def _pod_from_template(owner: Obj) -> Obj:
    template = owner["spec"]["template"]
    metadata = {
        name: template["metadata"][name]
        for name in ("labels", "annotations", "finalizers")
        if name in template["metadata"]
    }
    metadata |= {"generateName": f"{owner['metadata']['name']}-", "ownerReferences": [owner_reference(owner)]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
