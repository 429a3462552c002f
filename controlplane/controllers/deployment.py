"""Deployment: one ReplicaSet for each template it ever had; a rollout moves replicas from the old ones to the
new.

    template --hash--> ReplicaSet NAME-HASH (found or made)
    RollingUpdate: new one up while pods <= replicas + maxSurge,
                   old ones down while available >= replicas - maxUnavailable
    Recreate:      old ones to 0, wait until their pods are gone, then the new one up

Invariant of a rolling update: at every moment at least `replicas - maxUnavailable` pods are available (if
they were before).

Source: Kubernetes documentation "Deployments"; k8s.io/kubernetes pkg/controller/deployment.
"""

from __future__ import annotations

from controlplane.api import API
from controlplane.controllers import proportion, rollout
from controlplane.controllers.pods import by_controller
from controlplane.informers import Informers
from controlplane.meta import Key, Obj, annotations_of, controller_of, key_of, owner_reference
from controlplane.reconciler import Reconciler

COMPONENT = "deployment-controller"


class DeploymentController:
    """Watches Deployments, their ReplicaSets and those's pods; writes ReplicaSets and the status of
    Deployments.
    """

    def __init__(self, api: API, informers: Informers) -> None:
        self._api = api
        self._deployments = informers["Deployment"]
        self._sets = informers["ReplicaSet"]
        self._pods = informers["Pod"]
        self._owned = self._sets.index(by_controller)
        self._pods_of = self._pods.index(by_controller)
        self.reconciler = Reconciler("deployment", self._reconcile)
        self._deployments.on_change(lambda old, new: self.reconciler.enqueue(key_of(new or old or {})))
        self._sets.on_change(self._set_changed)
        self._pods.on_change(self._pod_changed)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _set_changed(self, old: Obj | None, new: Obj | None) -> None:
        owner = controller_of(new or old or {"metadata": {}})
        if owner is not None and owner["kind"] == "Deployment":
            self.reconciler.enqueue(((new or old or {})["metadata"]["namespace"], owner["name"]))

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Only a pod that is gone for good matters here: Recreate waits for it."""
        owner = controller_of(old) if old is not None and new is None else None
        if old is not None and owner is not None and owner["kind"] == "ReplicaSet":
            parent = self._sets.get(old["metadata"]["namespace"], owner["name"])
            if parent is not None:
                self._set_changed(None, parent)

    async def _reconcile(self, key: Key) -> None:
        for informer in (self._deployments, self._sets, self._pods):
            informer.catch_up()
        namespace, name = key
        deployment = self._deployments.get(namespace, name)
        if deployment is None or "deletionTimestamp" in deployment["metadata"]:
            return
        old, new = self._sets_of(deployment)
        sets = [*old, *([new] if new else [])]
        if deployment["spec"].get("paused") or proportion.is_scaling(deployment, sets):
            self._scale_in_proportion(deployment, old, new)
        elif deployment["spec"]["strategy"]["type"] == "Recreate":
            self._recreate(deployment, old, new)
        else:
            self._roll(deployment, old, self._ensure_new(deployment, old, new))
        self._sets.catch_up()
        old, new = self._sets_of(deployment)
        self._write_status(deployment, old, new)
        if not deployment["spec"].get("paused"):
            self._forget_history(deployment, old)

    def _sets_of(self, deployment: Obj) -> tuple[list[Obj], Obj | None]:
        """(old ReplicaSets, oldest first; the one of the present template, if it exists)."""
        owned = [
            entry
            for entry in self._owned[deployment["metadata"]["uid"]].values()
            if "deletionTimestamp" not in entry["metadata"]
        ]
        owned.sort(key=rollout.revision_of)
        template = rollout.without_hash(deployment["spec"]["template"])
        new = next(
            (entry for entry in owned if rollout.without_hash(entry["spec"]["template"]) == template), None
        )
        return [entry for entry in owned if entry is not new], new

    # strategies

    def _roll(self, deployment: Obj, old: list[Obj], new: Obj) -> None:
        wanted = rollout.rolling_step(deployment, old, new)
        for replica_set in (new, *old):
            self._scale(deployment, replica_set, wanted[replica_set["metadata"]["name"]])

    def _recreate(self, deployment: Obj, old: list[Obj], new: Obj | None) -> None:
        for replica_set in old:
            self._scale(deployment, replica_set, 0)
        self._sets.catch_up()
        if not any(self._pods_of[replica_set["metadata"]["uid"]] for replica_set in old):
            new = self._ensure_new(deployment, old, new)
            self._scale(deployment, new, deployment["spec"]["replicas"])

    def _scale_in_proportion(self, deployment: Obj, old: list[Obj], new: Obj | None) -> None:
        """Nothing is rolled out, but another number of replicas is carried out by the ReplicaSets in use."""
        wanted = proportion.sizes(deployment, old, new)
        for replica_set in (*old, *([new] if new else [])):
            present = replica_set["spec"]["replicas"]
            self._scale(deployment, replica_set, wanted.get(replica_set["metadata"]["name"], present))

    def _ensure_new(self, deployment: Obj, old: list[Obj], new: Obj | None) -> Obj:
        """The ReplicaSet of the present template: made when missing, and carrying the highest revision."""
        highest = max((rollout.revision_of(entry) for entry in old), default=0)
        if new is None:
            return self._create_new(deployment, highest + 1)
        revision = rollout.revision_of(new)
        if revision <= highest:
            revision = highest + 1
        wanted = {**rollout.copied_annotations(deployment), rollout.REVISION: str(revision)}
        spec = {"minReadySeconds": deployment["spec"].get("minReadySeconds", 0) or None}
        namespace, name = key_of(new)
        new = self._api.patch(
            "ReplicaSet", name, namespace, {"metadata": {"annotations": wanted}, "spec": spec}
        )
        self._note_revision(deployment, revision)
        return new

    def _create_new(self, deployment: Obj, revision: int) -> Obj:
        spec = deployment["spec"]
        digest = rollout.template_hash(spec["template"])
        labelled = rollout.with_hash(spec["template"], digest)
        selector = spec["selector"]
        made = self._api.create(
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {
                    "name": f"{deployment['metadata']['name']}-{digest}",
                    "labels": labelled["metadata"]["labels"],
                    "annotations": {
                        **rollout.copied_annotations(deployment),
                        **proportion.sized_for(deployment),
                        rollout.REVISION: str(revision),
                    },
                    "ownerReferences": [owner_reference(deployment)],
                },
                "spec": {
                    "replicas": 0,
                    **({"minReadySeconds": spec["minReadySeconds"]} if spec.get("minReadySeconds") else {}),
                    "selector": {
                        **selector,
                        "matchLabels": {**(selector.get("matchLabels") or {}), rollout.HASH_LABEL: digest},
                    },
                    "template": labelled,
                },
            },
            deployment["metadata"]["namespace"],
        )
        self._note_revision(deployment, revision)
        return made

    def _note_revision(self, deployment: Obj, revision: int) -> None:
        if annotations_of(deployment).get(rollout.REVISION) != str(revision):
            namespace, name = key_of(deployment)
            self._api.patch(
                "Deployment",
                name,
                namespace,
                {"metadata": {"annotations": {rollout.REVISION: str(revision)}}},
            )

    def _scale(self, deployment: Obj, replica_set: Obj, replicas: int) -> None:
        before = replica_set["spec"]["replicas"]
        sized = proportion.sized_for(deployment)
        if before == replicas and sized.items() <= annotations_of(replica_set).items():
            return
        namespace, name = key_of(replica_set)
        patch = {"metadata": {"annotations": sized}, "spec": {"replicas": replicas}}
        self._api.patch("ReplicaSet", name, namespace, patch)
        if before == replicas:
            return
        direction = "up" if replicas > before else "down"
        message = f"Scaled {direction} replica set {name} from {before} to {replicas}"
        self._api.event(deployment, "ScalingReplicaSet", message, component=COMPONENT)

    # status and history

    def _write_status(self, deployment: Obj, old: list[Obj], new: Obj | None) -> None:
        namespace, name = key_of(deployment)
        current = self._api.find("Deployment", name, namespace)
        if current is None:
            return
        status, deadline = rollout.status(current, deployment, old, new)
        self._api.update_status("Deployment", name, namespace, status)
        if deadline is not None:
            self.reconciler.enqueue_after((namespace, name), deadline)

    def _forget_history(self, deployment: Obj, old: list[Obj]) -> None:
        """Keeps the newest `revisionHistoryLimit` old ReplicaSets, for undo."""
        idle = [
            entry for entry in old if entry["spec"]["replicas"] == 0 and not entry["status"].get("replicas")
        ]
        limit = deployment["spec"]["revisionHistoryLimit"]
        for replica_set in idle[: max(0, len(idle) - limit)]:
            namespace, name = key_of(replica_set)
            self._api.delete("ReplicaSet", name, namespace)
