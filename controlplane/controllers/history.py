"""The templates that a DaemonSet or StatefulSet has had, each a ControllerRevision, for rollouts and undo.

    template --hash--> ControllerRevision NAME-HASH (found or made), numbered 1, 2, 3, …
    a template that comes back gets the highest number again; the oldest beyond revisionHistoryLimit go

A pod says by a label of which revision it is.

Source: Kubernetes documentation "Performing a Rolling Update on a DaemonSet"; k8s.io/kubernetes
pkg/controller/history.
"""

from __future__ import annotations

from collections.abc import Collection

from controlplane.api import API
from controlplane.controllers.pods import by_controller
from controlplane.controllers.rollout import template_hash
from controlplane.informers import Informers
from controlplane.meta import Obj, key_of, labels_of, owner_reference

HASH_LABEL = "controller-revision-hash"


class History:
    """The revisions of all owners of one kind."""

    def __init__(self, api: API, informers: Informers) -> None:
        self._api = api
        self._revisions = informers["ControllerRevision"]
        self._owned = self._revisions.index(by_controller)

    def of(self, owner: Obj) -> list[Obj]:
        """The owner's revisions, oldest first."""
        self._revisions.catch_up()
        return sorted(
            self._owned[owner["metadata"]["uid"]].values(), key=lambda entry: int(entry["revision"])
        )

    def current(self, owner: Obj) -> Obj:
        """The revision of the owner's present template, which has the highest number. Raises StatusError."""
        known = self.of(owner)
        data = {"spec": {"template": {**owner["spec"]["template"], "$patch": "replace"}}}
        match = next((entry for entry in known if entry["data"] == data), None)
        highest = int(known[-1]["revision"]) if known else 0
        if match is None:
            return self._create(owner, data, highest + 1)
        if int(match["revision"]) < highest:
            namespace, name = key_of(match)
            return self._api.patch("ControllerRevision", name, namespace, {"revision": highest + 1})
        return match

    def _create(self, owner: Obj, data: Obj, number: int) -> Obj:
        digest = template_hash(data)
        metadata = {
            "name": f"{owner['metadata']['name']}-{digest}",
            "labels": {**labels_of(owner), **_template_labels(owner), HASH_LABEL: digest},
            "ownerReferences": [owner_reference(owner)],
        }
        body = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata}
        return self._api.create({**body, "data": data, "revision": number}, owner["metadata"]["namespace"])

    def template(self, owner: Obj, name: str) -> Obj:
        """The template of the revision `name`; the present one if that is forgotten."""
        found = next((entry for entry in self.of(owner) if entry["metadata"]["name"] == name), None)
        if found is None:
            return owner["spec"]["template"]  # type: ignore[no-any-return]
        return {key: value for key, value in found["data"]["spec"]["template"].items() if key != "$patch"}

    def forget(self, owner: Obj, in_use: Collection[str]) -> None:
        """Keeps the newest `revisionHistoryLimit` revisions besides those whose name is in use."""
        idle = [entry for entry in self.of(owner) if entry["metadata"]["name"] not in in_use]
        for entry in idle[: max(0, len(idle) - owner["spec"]["revisionHistoryLimit"])]:
            namespace, name = key_of(entry)
            self._api.delete("ControllerRevision", name, namespace)


def hash_of(revision: Obj) -> str:
    """What the label of this revision's pods says."""
    return labels_of(revision)[HASH_LABEL]


def _template_labels(owner: Obj) -> Obj:
    """Kubectl rollout finds revisions by the workload's selector."""
    return owner["spec"]["template"]["metadata"].get("labels") or {}
