"""The old Endpoints kind beside EndpointSlices: whoever writes or reads one of them finds the other.

    Service with selector     its slices --> one Endpoints object of the Service's name
    Service without selector  Endpoints written by hand --> slices (managed by endpointslicemirroring-controller)

Not mirrored: what is labelled endpointslice.kubernetes.io/skip-mirror=true, and leader-election records.

Sources: Kubernetes documentation "EndpointSlices: EndpointSlice mirroring", "Services: Endpoints".
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from controlplane.api import API
from controlplane.controllers.endpointslice import MANAGED_BY as BY_SELECTOR
from controlplane.informers import Informers
from controlplane.meta import Key, Obj, annotations_of, key_of, labels_of, owner_reference
from controlplane.reconciler import Reconciler

MANAGED_BY = "endpointslicemirroring-controller.k8s.io"
INTERVAL = 0.05  # seconds between two looks at the same Service
MAX_ADDRESSES = 1000
SERVICE, MANAGER = "kubernetes.io/service-name", "endpointslice.kubernetes.io/managed-by"
SKIP, LEADER = "endpointslice.kubernetes.io/skip-mirror", "control-plane.alpha.kubernetes.io/leader"
OURS = "endpoints.kubernetes.io/managed-by"


class EndpointsMirror:
    """Watches Services, EndpointSlices and Endpoints; writes the last two."""

    def __init__(self, api: API, informers: Informers) -> None:
        self._api = api
        self._services = informers["Service"]
        self._slices = informers["EndpointSlice"]
        self._endpoints = informers["Endpoints"]
        self._by_service = self._slices.index(_service_of)
        self.reconciler = Reconciler("endpoints-mirror", self._reconcile, min_interval=INTERVAL)
        for informer in (self._services, self._endpoints):
            informer.on_change(lambda old, new: self.reconciler.enqueue(key_of(new or old or {})))
        self._slices.on_change(self._slice_changed)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _slice_changed(self, old: Obj | None, new: Obj | None) -> None:
        for entry in (old, new):
            for key in _service_of(entry) if entry is not None else ():
                self.reconciler.enqueue(key)

    async def _reconcile(self, key: Key) -> None:
        for informer in (self._services, self._slices, self._endpoints):
            informer.catch_up()
        service, endpoints = self._services.get(*key), self._endpoints.get(*key)
        slices = list(self._by_service[key].values())
        mirrored = [entry for entry in slices if labels_of(entry)[MANAGER] == MANAGED_BY]
        if service is not None and service["spec"].get("selector"):
            own = [entry for entry in slices if labels_of(entry)[MANAGER] == BY_SELECTOR]
            self._write_endpoints(service, endpoints, own)
            endpoints = None
        elif endpoints is not None and OURS in labels_of(endpoints):
            self._api.delete("Endpoints", key[1], key[0])
            return
        if service is None or endpoints is None or not _is_mirrored(endpoints):
            self._write_slices(endpoints, [], mirrored)
        else:
            self._write_slices(endpoints, _slices(endpoints), mirrored)

    def _write_endpoints(self, service: Obj, present: Obj | None, slices: list[Obj]) -> None:
        namespace, name = key_of(service)
        labels = {**labels_of(service), OURS: "endpoint-controller"}
        subsets = _subsets(slices, service)
        if present is None:
            body = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name, "labels": labels}}
            self._api.create({**body, "subsets": subsets} if subsets else body, namespace)
        elif (present.get("subsets") or []) != subsets or labels_of(present) != labels:
            metadata = {**present["metadata"], "labels": labels}
            self._api.replace({**present, "metadata": metadata, "subsets": subsets})

    def _write_slices(self, endpoints: Obj | None, wanted: list[Obj], present: list[Obj]) -> None:
        left = sorted(present, key=lambda entry: entry["metadata"]["name"])
        for body in wanted:
            match = next((entry for entry in left if entry["addressType"] == body["addressType"]), None)
            if match is not None:
                left.remove(match)
                if any(match.get(field) != body[field] for field in ("ports", "endpoints")):
                    self._api.replace({**match, **body})
            elif endpoints is not None:
                self._create_slice(endpoints, body)
        for entry in left:
            namespace, name = key_of(entry)
            if self._api.find("EndpointSlice", name, namespace) is not None:
                self._api.delete("EndpointSlice", name, namespace)

    def _create_slice(self, endpoints: Obj, body: Obj) -> None:
        namespace, name = key_of(endpoints)
        metadata = {
            "generateName": f"{name}-",
            "labels": {**labels_of(endpoints), SERVICE: name, MANAGER: MANAGED_BY},
            "ownerReferences": [owner_reference(endpoints)],
        }
        slice_ = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, **body}
        self._api.create(slice_, namespace)


def _service_of(entry: Obj) -> Iterable[Key]:
    labels = labels_of(entry)
    if MANAGER not in labels or SERVICE not in labels:
        return ()
    return [(entry["metadata"]["namespace"], labels[SERVICE])]


def _is_mirrored(endpoints: Obj) -> bool:
    if "deletionTimestamp" in endpoints["metadata"] or labels_of(endpoints).get(SKIP) == "true":
        return False
    return LEADER not in annotations_of(endpoints)


def _subsets(slices: list[Obj], service: Obj) -> list[Obj]:
    """Slices of the Service's first address family as subsets: one for each set of ports."""
    family = (service["spec"].get("ipFamilies") or ["IPv4"])[0]
    groups: dict[Hashable, Obj] = {}
    for entry in sorted(slices, key=lambda entry: entry["metadata"]["name"]):
        ports = [_port(port) for port in entry.get("ports") or ()]
        group = groups.setdefault(tuple(tuple(port.items()) for port in ports), {"ports": ports})
        for endpoint in entry.get("endpoints") or () if entry["addressType"] == family else ():
            side = "addresses" if endpoint["conditions"].get("ready") else "notReadyAddresses"
            address = {"ip": endpoint["addresses"][0]}
            address |= {
                name: endpoint[name] for name in ("hostname", "nodeName", "targetRef") if name in endpoint
            }
            listed = group.setdefault(side, [])
            if len(listed) < MAX_ADDRESSES:
                listed.append(address)
    found = [group for group in groups.values() if "addresses" in group or "notReadyAddresses" in group]
    return [
        {name: group[name] for name in ("addresses", "notReadyAddresses", "ports") if group.get(name)}
        for group in found
    ]


def _port(port: Obj) -> Obj:
    return {name: port[name] for name in ("name", "port", "protocol", "appProtocol") if port.get(name)}


def _slices(endpoints: Obj) -> list[Obj]:
    """The slices of Endpoints written by hand: for each subset one of each address family in it."""
    result = []
    for subset in endpoints.get("subsets") or ():
        ports = [{"name": "", **_port(port)} for port in subset.get("ports") or ()]
        families: dict[str, list[Obj]] = {}
        for side, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in subset.get(side) or ():
                family = "IPv6" if ":" in address["ip"] else "IPv4"
                endpoint: Obj = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
                endpoint |= {
                    name: address[name] for name in ("hostname", "nodeName", "targetRef") if name in address
                }
                families.setdefault(family, []).append(endpoint)
        result += [
            {"addressType": family, "ports": ports, "endpoints": found}
            for family, found in sorted(families.items())
        ]
    return result
