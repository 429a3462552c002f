"""EndpointSlices: which pods stand behind a Service just now.

pod changed --labels--> the Services that select it (index) --coalesced--> slices wanted / slices there -->
difference

Pods are found by one label of the selector (index) and then held against all of it, so neither many Services
nor many pods make one change expensive. A Service without selector is left alone: its slices are written by
hand.

Source: Kubernetes documentation "EndpointSlices"; k8s.io/kubernetes pkg/controller/endpointslice.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from controlplane.api import API
from controlplane.controllers import endpoints
from controlplane.informers import Informers
from controlplane.meta import Key, Obj, key_of, labels_of, owner_reference
from controlplane.reconciler import Reconciler
from controlplane.selectors import from_map

MANAGED_BY = "endpointslice-controller.k8s.io"
INTERVAL = 0.02  # seconds between two looks at the same Service: a storm of pods becomes a few writes


class EndpointSliceController:
    """Watches Services and pods, writes EndpointSlices."""

    def __init__(self, api: API, informers: Informers) -> None:
        self._api = api
        self._services = informers["Service"]
        self._pods = informers["Pod"]
        self._slices = informers["EndpointSlice"]
        self._nodes = informers["Node"]
        self._pods_by_label = self._pods.index(_label_keys)
        self._services_by_label = self._services.index(_selector_key)
        self._slices_by_service = self._slices.index(_service_key)
        self.reconciler = Reconciler("endpointslice", self._reconcile, min_interval=INTERVAL)
        self._services.on_change(lambda old, new: self.reconciler.enqueue(key_of(new or old or {})))
        self._pods.on_change(self._pod_changed)
        self._slices.on_change(self._slice_changed)
        self._nodes.on_change(self._node_changed)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        for pod in (old, new):
            if pod is None or (pod is old and new is not None and labels_of(old) == labels_of(new)):
                continue
            for key in _label_keys(pod):
                self.reconciler.enqueue_all(self._services_by_label[key])

    def _slice_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Somebody else's hand on our slice is put right."""
        for key in _service_key(new or old or {}):
            self.reconciler.enqueue(key)

    def _node_changed(self, old: Obj | None, new: Obj | None) -> None:
        """A node that is in another zone now takes its endpoints with it."""
        if _zone(old) != _zone(new):
            self.reconciler.enqueue_all(self._services.objects)

    def _zone_of(self, node: str) -> str:
        return _zone(self._nodes.objects.get(("", node)))

    async def _reconcile(self, key: Key) -> None:
        for informer in (self._services, self._pods, self._slices, self._nodes):
            informer.catch_up()
        namespace, name = key
        service = self._services.get(namespace, name)
        present = list(self._slices_by_service[key].values())
        if (
            service is None
            or "deletionTimestamp" in service["metadata"]
            or not service["spec"].get("selector")
        ):
            for stale in present:
                self._delete(stale)
            return
        if service["spec"]["type"] == "ExternalName":
            return
        wanted = endpoints.slices(service, self._selected(service), self._zone_of)
        self._write(service, wanted, present)

    def _selected(self, service: Obj) -> Iterable[Obj]:
        selector = from_map(service["spec"]["selector"])
        for key in _selector_key(service):
            for pod in self._pods_by_label[key].values():
                if selector is not None and selector.matches(labels_of(pod)):
                    yield pod

    def _write(self, service: Obj, wanted: list[Obj], present: list[Obj]) -> None:
        """Slices that fit best are kept, the rest is made or deleted."""
        labels = endpoints.slice_labels(service, MANAGED_BY)
        left = sorted(present, key=lambda entry: entry["metadata"]["name"])
        for body in wanted:
            match = _best(body, left)
            if match is None:
                self._create(service, labels, body)
                continue
            left.remove(match)
            if (
                any(match.get(field) != body[field] for field in ("ports", "endpoints"))
                or labels_of(match) != labels
            ):
                self._api.replace({**match, **body, "metadata": {**match["metadata"], "labels": labels}})
        for stale in left:
            self._delete(stale)

    def _create(self, service: Obj, labels: object, body: Obj) -> None:
        metadata = {
            "generateName": f"{service['metadata']['name']}-",
            "namespace": service["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(service)],
        }
        self._api.create(
            {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, **body}
        )

    def _delete(self, stale: Obj) -> None:
        namespace, name = key_of(stale)
        if self._api.find("EndpointSlice", name, namespace) is not None:
            self._api.delete("EndpointSlice", name, namespace)


def _best(body: Obj, candidates: list[Obj]) -> Obj | None:
    """The present slice of the same family that shares most endpoints, so that few slices change."""
    fitting = [entry for entry in candidates if entry["addressType"] == body["addressType"]]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    wanted = {entry["addresses"][0] for entry in body["endpoints"]}
    return max(
        fitting, key=lambda entry: len(wanted & {e["addresses"][0] for e in entry.get("endpoints") or ()})
    )


def _zone(node: Obj | None) -> str:
    return str(labels_of(node).get("topology.kubernetes.io/zone", "")) if node is not None else ""


def _label_keys(pod: Obj) -> Iterable[Hashable]:
    namespace = pod["metadata"]["namespace"]
    return [(namespace, label, value) for label, value in labels_of(pod).items()]


def _selector_key(service: Obj) -> Iterable[Hashable]:
    """One label of the selector is enough to find the candidates: the last by name (`app` is what everybody
    shares).
    """
    selector = service["spec"].get("selector")
    return [(service["metadata"]["namespace"], *max(selector.items()))] if selector else ()


def _service_key(entry: Obj) -> Iterable[Key]:
    """The Service of a slice that this controller keeps."""
    labels = labels_of(entry)
    if labels.get("endpointslice.kubernetes.io/managed-by") != MANAGED_BY:
        return ()
    return [(entry["metadata"]["namespace"], labels.get("kubernetes.io/service-name", ""))]
