"""StatefulSet: pods with names that stay: web-0, web-1, …, one after the other.

    OrderedReady  web-1 is made when web-0 is available; the last goes first, and only while all before it are well
    Parallel      all at once
    new template  from the last to spec.updateStrategy.rollingUpdate.partition, each when the one before is available;
                  OnDelete: whenever somebody deletes a pod

A pod that is lost comes back under its name, with its claims, of the revision that its ordinal has to be of.

Source: Kubernetes documentation "StatefulSets"; k8s.io/kubernetes pkg/controller/statefulset.
"""

from __future__ import annotations

from controlplane.api import API
from controlplane.controllers import stateful_pod
from controlplane.controllers.history import HASH_LABEL, History, hash_of
from controlplane.controllers.pod_control import PodControl
from controlplane.controllers.pods import is_finished, is_ready, seconds_until_available
from controlplane.controllers.rollout import share
from controlplane.informers import Informers
from controlplane.meta import Key, Obj, key_of, labels_of, owner_reference
from controlplane.reconciler import Reconciler

COMPONENT = "statefulset-controller"


class StatefulSetController:
    """Watches StatefulSets and pods; writes pods, claims, ControllerRevisions and the status of StatefulSets."""

    def __init__(self, api: API, informers: Informers) -> None:
        self._api = api
        self._sets = informers["StatefulSet"]
        self._pods = informers["Pod"]
        self._control = PodControl(api, self._sets, self._pods, COMPONENT)
        self._history = History(api, informers)
        self.reconciler = Reconciler("statefulset", self._reconcile)
        self._sets.on_change(lambda old, new: self.reconciler.enqueue(key_of(new or old or {})))
        self._control.wake(self.reconciler.enqueue)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    async def _reconcile(self, key: Key) -> None:
        self._sets.catch_up()
        self._pods.catch_up()
        owner = self._sets.get(*key)
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            return
        update = self._history.current(owner)
        current = (owner.get("status") or {}).get("currentRevision") or update["metadata"]["name"]
        pods = self._slots(owner, self._control.claim(owner, lambda pod: _may_adopt(owner, pod)))
        try:
            self._act(owner, pods, update, current)
        finally:
            self._pods.catch_up()
            pods = self._slots(owner, self._control.of(owner))
            self._write_status(owner, pods, update, current)
        self._history.forget(owner, {current, update["metadata"]["name"]})

    @staticmethod
    def _slots(owner: Obj, pods: list[Obj]) -> dict[int, Obj]:
        """The set's pods by ordinal, in ascending order."""
        numbered = ((stateful_pod.ordinal_of(owner, pod), pod) for pod in pods)
        return dict(sorted((number, pod) for number, pod in numbered if number is not None))

    def _act(self, owner: Obj, pods: dict[int, Obj], update: Obj, current: str) -> None:
        """The next step, or with Parallel all steps that can be taken now."""
        ordered = owner["spec"]["podManagementPolicy"] == "OrderedReady"
        first = stateful_pod.first_ordinal(owner)
        wanted = range(first, first + owner["spec"]["replicas"])
        for ordinal in wanted:
            pod = pods.get(ordinal)
            if pod is None or (is_finished(pod) and "deletionTimestamp" not in pod["metadata"]):
                self._make(owner, ordinal, pod, update, current)
                healthy = False
            else:
                healthy = self._is_healthy(owner, pod)
            if ordered and not healthy:
                return
        for ordinal in sorted((number for number in pods if number not in wanted), reverse=True):
            if "deletionTimestamp" not in pods[ordinal]["metadata"]:
                self._give_up_claims(owner, pods[ordinal])
                self._delete(owner, pods[ordinal])
            if ordered:
                return
        if owner["spec"]["updateStrategy"]["type"] == "RollingUpdate":
            self._roll(owner, pods, wanted, hash_of(update))

    def _make(self, owner: Obj, ordinal: int, ended: Obj | None, update: Obj, current: str) -> None:
        """The pod with this ordinal and its claims, in place of one that has ended. Raises StatusError."""
        if ended is not None:
            self._delete(owner, ended)
            return  # its going brings us back here
        for claim in stateful_pod.make_claims(owner, ordinal):
            self._make_claim(owner, claim, ordinal)
        template, digest = owner["spec"]["template"], hash_of(update)
        strategy = owner["spec"]["updateStrategy"]
        kept = stateful_pod.first_ordinal(owner) + (strategy.get("rollingUpdate") or {}).get("partition", 0)
        if strategy["type"] == "RollingUpdate" and ordinal < kept and current != update["metadata"]["name"]:
            template = self._history.template(owner, current)
            digest = current.rpartition("-")[2]
        name = owner["metadata"]["name"]
        message = f"create Pod {{name}} in StatefulSet {name} successful"
        self._control.create(owner, stateful_pod.make_pod(owner, template, digest, ordinal), message)

    def _make_claim(self, owner: Obj, claim: Obj, ordinal: int) -> None:
        namespace, name = owner["metadata"]["namespace"], claim["metadata"]["name"]
        if self._api.find("PersistentVolumeClaim", name, namespace) is not None:
            return
        if owner["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete":
            claim = {**claim, "metadata": {**claim["metadata"], "ownerReferences": [owner_reference(owner)]}}
        self._api.create(claim, namespace)
        of_set = owner["metadata"]["name"]
        message = f"create Claim {name} Pod {of_set}-{ordinal} in StatefulSet {of_set} success"
        self._control.tell(owner, "SuccessfulCreate", message)

    def _give_up_claims(self, owner: Obj, pod: Obj) -> None:
        """whenScaled: Delete: the claims belong to the pod that goes, and go with it."""
        if owner["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] != "Delete":
            return
        ordinal = stateful_pod.ordinal_of(owner, pod) or 0
        for claim in stateful_pod.make_claims(owner, ordinal):
            namespace, name = owner["metadata"]["namespace"], claim["metadata"]["name"]
            if self._api.find("PersistentVolumeClaim", name, namespace) is not None:
                patch = {"metadata": {"ownerReferences": [owner_reference(pod)]}}
                self._api.patch("PersistentVolumeClaim", name, namespace, patch)

    def _delete(self, owner: Obj, pod: Obj) -> None:
        name = owner["metadata"]["name"]
        self._control.delete(owner, pod, f"delete Pod {{name}} in StatefulSet {name} successful")

    def _roll(self, owner: Obj, pods: dict[int, Obj], wanted: range, digest: str) -> None:
        """From the last to the partition: a pod of another revision goes, while few enough are missing."""
        values = owner["spec"]["updateStrategy"].get("rollingUpdate") or {}
        room = max(1, share(values.get("maxUnavailable", 1), len(wanted), round_up=False))
        room -= sum(1 for number in wanted if number not in pods or not self._is_healthy(owner, pods[number]))
        for ordinal in reversed(wanted[values.get("partition", 0) :]):
            pod = pods.get(ordinal)
            if pod is None or "deletionTimestamp" in pod["metadata"]:
                continue
            if labels_of(pod).get(HASH_LABEL) == digest:
                continue
            if not self._is_healthy(owner, pod):
                self._delete(owner, pod)
            elif room > 0:
                self._delete(owner, pod)
                room -= 1
            else:
                return

    @staticmethod
    def _is_healthy(owner: Obj, pod: Obj) -> bool:
        if "deletionTimestamp" in pod["metadata"]:
            return False
        return seconds_until_available(pod, owner["spec"].get("minReadySeconds", 0)) == 0

    def _write_status(self, owner: Obj, pods: dict[int, Obj], update: Obj, current: str) -> None:
        first, digest = stateful_pod.first_ordinal(owner), hash_of(update)
        wanted = range(first, first + owner["spec"]["replicas"])
        alive = [pod for pod in pods.values() if not is_finished(pod)]
        ready = [pod for pod in alive if is_ready(pod)]
        waits = [seconds_until_available(pod, owner["spec"].get("minReadySeconds", 0)) for pod in alive]
        staying = [pod for pod in alive if "deletionTimestamp" not in pod["metadata"]]
        updated = [pod for pod in staying if labels_of(pod).get(HASH_LABEL) == digest]
        name_of_update = update["metadata"]["name"]
        if len(updated) == len(alive) == len(ready) == len(wanted):
            current = name_of_update  # the roll-out is complete
        of_current = [pod for pod in staying if labels_of(pod).get(HASH_LABEL) == current.rpartition("-")[2]]
        status: Obj = {
            "observedGeneration": owner["metadata"]["generation"],
            "replicas": len(alive),
            "readyReplicas": len(ready) or None,
            "availableReplicas": sum(wait == 0 for wait in waits),
            "currentReplicas": len(of_current) or None,
            "updatedReplicas": len(updated) or None,
            "currentRevision": current,
            "updateRevision": name_of_update,
            "collisionCount": 0,
        }
        namespace, name = key_of(owner)
        self._api.update_status("StatefulSet", name, namespace, status)
        rest = [wait for wait in waits if wait]
        if rest:
            self.reconciler.enqueue_after((namespace, name), min(rest) + 0.01)


def _may_adopt(owner: Obj, pod: Obj) -> bool:
    """An orphan is one of the set's only if it bears one of the set's names."""
    going = "deletionTimestamp" in pod["metadata"]
    return not going and stateful_pod.ordinal_of(owner, pod) is not None
