"""The Service kubernetes.default, by which pods find the API server: whoever deletes or bends it gets it back.

Source: k8s.io/kubernetes pkg/controlplane/controller/kubernetesservice.
"""

from __future__ import annotations

from controlplane.api import API
from controlplane.bootstrap import cluster_objects
from controlplane.informers import Informers
from controlplane.meta import Obj, key_of
from controlplane.reconciler import Reconciler

KEY = ("default", "kubernetes")


class KubernetesService:
    """Watches the objects of the cluster's own Service; writes them as bootstrap did."""

    def __init__(self, api: API, informers: Informers, family: str = "IPv4") -> None:
        """`family`: the cluster's first one."""
        self._api = api
        self._wanted = [obj for obj in cluster_objects(family) if _key(obj) == KEY]
        self.reconciler = Reconciler("kubernetes-service", self._reconcile)
        for obj in self._wanted:
            informers[obj["kind"]].on_change(self._changed)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        if key_of(new or old or {}) == KEY:
            self.reconciler.enqueue((new or old or {})["kind"])

    async def _reconcile(self, kind: str) -> None:
        wanted = next(obj for obj in self._wanted if obj["kind"] == kind)
        namespace, name = KEY
        if self._api.find(kind, name, namespace) is None:
            self._api.create(wanted)
        else:
            parts = {field: value for field, value in wanted.items() if field not in ("apiVersion", "kind")}
            self._api.patch(kind, name, namespace, parts)


def _key(obj: Obj) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
