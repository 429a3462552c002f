"""Garbage collection: what an object made goes when the object goes.

    Background: owner gone --> dependents without any living owner are deleted
    Foreground: owner waits (finalizer foregroundDeletion) until the dependents that block it are gone
    Orphan:     owner waits (finalizer orphan) until its dependents have forgotten it

Source: Kubernetes documentation "Garbage Collection", "Owners and Dependents"; k8s.io/kubernetes
pkg/controller/garbagecollector.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from functools import partial

from controlplane.api import API
from controlplane.deletion import FOREGROUND, ORPHAN, without_finalizer
from controlplane.errors import StatusError
from controlplane.informer import Index
from controlplane.informers import Informers
from controlplane.kinds import Kind
from controlplane.meta import Obj, key_of
from controlplane.reconciler import Reconciler


class GarbageCollector:
    """Watches every kind but Event, deletes dependents. Keys are (kind, namespace, name)."""

    def __init__(self, api: API, informers: Informers) -> None:
        self._api = api
        self._dependents: dict[str, Index] = {}
        self.reconciler = Reconciler("garbage", self._reconcile)
        self._informers = informers
        api.kinds.follow(self._follow)

    def _follow(self, kind: Kind) -> None:
        if kind.name != "Event":
            informer = self._informers[kind.key]
            self._dependents[kind.key] = informer.index(_owner_uids)
            informer.on_change(partial(self._changed, kind))

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _changed(self, kind: Kind, old: Obj | None, new: Obj | None) -> None:
        if new is not None:
            metadata = new["metadata"]
            home, references = metadata.get("namespace", ""), metadata.get("ownerReferences") or ()
            orphaned = old is None and any(self._owner(entry, home) is None for entry in references)
            if orphaned or ("deletionTimestamp" in metadata and metadata.get("finalizers")):
                self.reconciler.enqueue((kind.key, *key_of(new)))
        elif old is not None:
            for dependent_kind, dependent in self._of(old["metadata"]["uid"]):
                self.reconciler.enqueue((dependent_kind, *key_of(dependent)))
            for owner in old["metadata"].get("ownerReferences") or ():
                found = self._owner(owner, old["metadata"].get("namespace", ""))
                if found is not None and "deletionTimestamp" in found[1]["metadata"]:
                    self.reconciler.enqueue((found[0], *key_of(found[1])))

    def _of(self, uid: str) -> Iterator[tuple[str, Obj]]:
        for kind, index in self._dependents.items():
            for dependent in tuple(index[uid].values()):
                yield kind, dependent

    def _owner(self, reference: Obj, namespace: str) -> tuple[str, Obj] | None:
        """(kind, object) of the living owner that a reference means."""
        try:
            kind = self._api.kinds.of(reference)
        except StatusError:
            return None
        owner = self._api.find(kind.key, reference["name"], namespace if kind.namespaced else "")
        if owner is None or owner["metadata"]["uid"] != reference["uid"]:
            return None
        return kind.key, owner

    async def _reconcile(self, key: tuple[str, str, str]) -> None:
        kind, namespace, name = key
        try:
            obj = self._api.find(kind, name, namespace)
        except StatusError:  # a custom kind whose definition is gone
            return
        if obj is None:
            return
        finalizers = obj["metadata"].get("finalizers") or ()
        if "deletionTimestamp" in obj["metadata"] and FOREGROUND in finalizers:
            self._finish_foreground(obj)
        elif "deletionTimestamp" in obj["metadata"] and ORPHAN in finalizers:
            self._finish_orphan(obj)
        elif obj["metadata"].get("ownerReferences"):
            self._collect(kind, obj)

    def _collect(self, kind: str, obj: Obj) -> None:
        references = obj["metadata"]["ownerReferences"]
        namespace, name = key_of(obj)
        alive = [entry for entry in references if self._owner(entry, namespace) is not None]
        if not alive:
            self._api.delete(kind, name, namespace, uid=obj["metadata"]["uid"])
        elif len(alive) < len(references):
            self._api.patch(kind, name, namespace, {"metadata": {"ownerReferences": alive}})

    def _finish_foreground(self, owner: Obj) -> None:
        uid = owner["metadata"]["uid"]
        blocked = False
        for kind, dependent in list(self._of(uid)):
            namespace, name = key_of(dependent)
            present = self._api.find(kind, name, namespace)
            if present is None:
                continue
            references = [
                entry for entry in present["metadata"].get("ownerReferences") or () if entry["uid"] == uid
            ]
            blocked = blocked or any(entry.get("blockOwnerDeletion") for entry in references)
            if "deletionTimestamp" not in present["metadata"]:
                self._api.delete(kind, name, namespace, propagation="Foreground")
        if not blocked:
            self._api.replace(without_finalizer(owner, FOREGROUND))

    def _finish_orphan(self, owner: Obj) -> None:
        uid = owner["metadata"]["uid"]
        for kind, dependent in list(self._of(uid)):
            namespace, name = key_of(dependent)
            rest = [
                entry for entry in dependent["metadata"].get("ownerReferences") or () if entry["uid"] != uid
            ]
            self._api.patch(kind, name, namespace, {"metadata": {"ownerReferences": rest}})
        self._api.replace(without_finalizer(owner, ORPHAN))


def _owner_uids(obj: Obj) -> Iterable[Hashable]:
    return [entry["uid"] for entry in obj["metadata"].get("ownerReferences") or ()]
