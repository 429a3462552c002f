"""Namespaces: one that is deleted is emptied first; one that is there has what belongs to it (namespace_gifts.py).

delete --> phase Terminating --> everything in it is deleted --last one gone--> finalizer `kubernetes` off -->
gone

Source: Kubernetes documentation "Namespaces"; k8s.io/kubernetes pkg/controller/namespace.
"""

from __future__ import annotations

from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.informers import Informers
from controlplane.kinds import Kind
from controlplane.meta import Obj
from controlplane.namespace_gifts import NamespaceGifts
from controlplane.reconciler import Reconciler

FINALIZER = "kubernetes"


class NamespaceController:
    """Watches namespaces and everything in them."""

    def __init__(self, api: API, informers: Informers, gifts: NamespaceGifts) -> None:
        self._api = api
        self._gifts = gifts
        self._namespaces = informers["Namespace"]
        self.reconciler = Reconciler("namespace", self._reconcile)
        self._namespaces.on_change(
            lambda old, new: self.reconciler.enqueue((new or old or {})["metadata"]["name"])
        )
        self._informers = informers
        api.kinds.follow(self._follow)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _follow(self, kind: Kind) -> None:
        if kind.namespaced:
            self._informers[kind.key].on_change(self._content_changed)

    def _kinds(self) -> list[Kind]:
        return [kind for kind in self._api.kinds if kind.namespaced]

    def _content_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is None or new is not None:
            return
        name = old["metadata"]["namespace"]
        home = self._namespaces.get("", name)
        if home is not None and "deletionTimestamp" in home["metadata"]:
            self.reconciler.enqueue(name)

    async def _reconcile(self, name: str) -> None:
        self._namespaces.catch_up()
        namespace = self._namespaces.get("", name)
        if namespace is None:
            return
        if "deletionTimestamp" not in namespace["metadata"]:
            self._gifts.give(name)
            return
        self._empty(name)
        if not any(self._api.store.count(kind.key, name) for kind in self._kinds()):
            rest = [entry for entry in namespace["spec"].get("finalizers") or () if entry != FINALIZER]
            self._api.patch("Namespace", name, "", {"spec": {"finalizers": rest}}, subresource="finalize")

    def _empty(self, namespace: str) -> None:
        """Deletes what is not yet being deleted; pods get their grace period."""
        for kind in self._kinds():
            for obj in list(self._api.store.objects(kind.key, namespace)):
                if "deletionTimestamp" in obj["metadata"]:
                    continue
                try:
                    self._api.delete(kind.key, obj["metadata"]["name"], namespace)
                except StatusError as error:
                    if error.code != 404:
                        raise
