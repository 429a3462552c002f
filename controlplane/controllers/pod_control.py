"""What every controller does with the pods that it owns: claims them, makes them, deletes them, and says so.

    pods of mine = controlled by me, or orphans that my selector matches (adopted); mine that it no longer matches are
    released

Source: k8s.io/kubernetes pkg/controller/controller_ref_manager.go, controller_utils.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controlplane.api import API
from controlplane.controllers.pods import by_controller, is_active
from controlplane.errors import StatusError
from controlplane.informer import Informer
from controlplane.meta import Key, Obj, controller_of, key_of, labels_of, owner_reference
from controlplane.selectors import LabelSelector, from_object, selector_of


class PodControl:
    """The pods of one kind of owner. `component` signs the events, `kind` is the owners' kind."""

    def __init__(self, api: API, owners: Informer, pods: Informer, component: str) -> None:
        self._api = api
        self._owners = owners
        self._pods = pods
        self._component = component
        self._owned = pods.index(by_controller)
        self._in_namespace = owners.index(lambda obj: (obj["metadata"]["namespace"],))

    def wake(self, enqueue: Callable[[Key], None]) -> None:
        """From now on, `enqueue` is called with the owner of every pod that changes."""

        def changed(old: Obj | None, new: Obj | None) -> None:
            owner = None
            for pod in (old, new):
                owner = controller_of(pod) if pod is not None else None
                if pod is not None and owner is not None and owner["kind"] == self._owners.kind:
                    enqueue((pod["metadata"]["namespace"], owner["name"]))
            if new is not None and owner is None:
                for key, candidate in self._in_namespace[new["metadata"]["namespace"]].items():
                    selector = from_object(selector_of(candidate))
                    if selector is not None and selector.matches(labels_of(new)):
                        enqueue(key)

        self._pods.on_change(changed)

    def of(self, owner: Obj) -> list[Obj]:
        """The owner's pods, as they are known now."""
        return list(self._owned[owner["metadata"]["uid"]].values())

    def claim(self, owner: Obj, may_adopt: Callable[[Obj], bool] = is_active) -> list[Obj]:
        """The owner's pods, after adopting and releasing what must be. Raises StatusError."""
        selector = from_object(selector_of(owner)) or LabelSelector()
        for pod in tuple(self._owned[("orphan", owner["metadata"]["namespace"])].values()):
            if may_adopt(pod) and selector.matches(labels_of(pod)):
                owners = pod["metadata"].get("ownerReferences") or ()
                self._set_owners(pod, [*owners, owner_reference(owner)])
        uid = owner["metadata"]["uid"]
        for pod in tuple(self._owned[uid].values()):
            if not selector.matches(labels_of(pod)):
                owners = [entry for entry in pod["metadata"]["ownerReferences"] if entry["uid"] != uid]
                self._set_owners(pod, owners)
        self._pods.catch_up()
        return self.of(owner)

    def _set_owners(self, pod: Obj, owners: list[Obj]) -> None:
        namespace, name = key_of(pod)
        patch = {"metadata": {"uid": pod["metadata"]["uid"], "ownerReferences": owners}}
        self._api.patch("Pod", name, namespace, patch)

    def create(self, owner: Obj, pod: Obj, message: str = "Created pod: {name}") -> Obj:
        """Makes a pod and tells it. Raises StatusError, told too."""
        try:
            created = self._api.create(pod, owner["metadata"]["namespace"])
        except StatusError as error:
            self.tell(owner, "FailedCreate", f"Error creating: {error.message}", "Warning")
            raise
        self.tell(owner, "SuccessfulCreate", message.format(name=created["metadata"]["name"]))
        return created

    def delete(self, owner: Obj, pod: Obj, message: str = "Deleted pod: {name}") -> None:
        """Deletes a pod, if it is still there, and tells it."""
        namespace, name = key_of(pod)
        present = self._api.find("Pod", name, namespace)
        if present is not None and present["metadata"]["uid"] == pod["metadata"]["uid"]:
            self._api.delete("Pod", name, namespace)
            self.tell(owner, "SuccessfulDelete", message.format(name=name))

    def tell(self, owner: Obj, reason: str, message: str, kind: str = "Normal") -> None:
        """An event on the owner."""
        self._api.event(owner, reason, message, type=kind, component=self._component)


def pod_from_template(owner: Obj, template: Obj, **metadata: Any) -> Obj:
    """A new pod of a template, named after its owner unless `metadata` says otherwise; `labels` and `annotations` are
    added to the template's.
    """
    given = template.get("metadata") or {}
    merged: Obj = {"ownerReferences": [owner_reference(owner)]}
    if given.get("finalizers"):
        merged["finalizers"] = given["finalizers"]
    for name in ("labels", "annotations"):
        values = {**(given.get(name) or {}), **metadata.pop(name, {})}
        if values:
            merged[name] = values
    if "name" not in metadata:
        merged["generateName"] = f"{owner['metadata']['name']}-"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**merged, **metadata}, "spec": template["spec"]}
