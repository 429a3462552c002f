"""Storage that only pretends: a claim is Bound at once, to a volume of its own that stands in for a disk.

    claim Pending --> a matching Available volume, or a new one pvc-UID --> both Bound
    claim gone    --> its volume goes (Delete), or is Released (Retain)

A pod that mounts a claim gets an empty directory (agents/volumes.py): what matters here is that manifests with claims
run, not that their data last.

Source: Kubernetes documentation "Persistent Volumes: Lifecycle of a volume and claim".
"""

from __future__ import annotations

from controlplane.api import API
from controlplane.informers import Informers
from controlplane.meta import Key, Obj, annotations_of, key_of, reference_to
from controlplane.reconciler import Reconciler

COMPONENT = "persistentvolume-controller"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
STAND_IN = "minipod.dev/stand-in"


class StorageController:
    """Watches claims and volumes; writes both."""

    def __init__(self, api: API, informers: Informers) -> None:
        self._api = api
        self._claims = informers["PersistentVolumeClaim"]
        self._volumes = informers["PersistentVolume"]
        self._classes = informers["StorageClass"]
        self._by_claim = self._volumes.index(_claim_of)
        self.reconciler = Reconciler("storage", self._reconcile)
        self._claims.on_change(lambda old, new: self.reconciler.enqueue(key_of(new or old or {})))
        self._volumes.on_change(self._volume_changed)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _volume_changed(self, old: Obj | None, new: Obj | None) -> None:
        for volume in (old, new):
            for key in _claim_of(volume or {}):
                self.reconciler.enqueue(key)

    async def _reconcile(self, key: Key) -> None:
        for informer in (self._claims, self._volumes, self._classes):
            informer.catch_up()
        claim = self._claims.get(*key)
        if claim is None or "deletionTimestamp" in claim["metadata"]:
            self._give_back(key, "" if claim is None else claim["metadata"]["uid"])
        elif claim["status"].get("phase") != "Bound":
            self._bind(claim)

    def _bind(self, claim: Obj) -> None:
        namespace, name = key_of(claim)
        volume = self._volume_for(claim)
        volume_name = volume["metadata"]["name"]
        if "claimRef" not in volume["spec"]:
            self._api.patch("PersistentVolume", volume_name, "", {"spec": {"claimRef": reference_to(claim)}})
        self._api.update_status("PersistentVolume", volume_name, "", {"phase": "Bound"})
        given = {"volumeName": volume_name, "storageClassName": volume["spec"].get("storageClassName", "")}
        self._api.patch("PersistentVolumeClaim", name, namespace, {"spec": given})
        status = {
            "phase": "Bound",
            "accessModes": volume["spec"]["accessModes"],
            "capacity": volume["spec"]["capacity"],
        }
        self._api.update_status("PersistentVolumeClaim", name, namespace, status)

    def _volume_for(self, claim: Obj) -> Obj:
        """The volume that is the claim's already, or that fits, or a new one. Raises StatusError."""
        for volume in self._by_claim[key_of(claim)].values():
            if volume["spec"]["claimRef"].get("uid") in (None, claim["metadata"]["uid"]):
                return volume
        for volume in self._volumes.objects.values():
            if _fits(volume, claim):
                return volume
        return self._make_volume(claim)

    def _make_volume(self, claim: Obj) -> Obj:
        spec = claim["spec"]
        uid = claim["metadata"]["uid"]
        name = f"pvc-{uid}"
        message = f"Successfully provisioned volume {name}: an empty directory stands in for it"
        self._api.event(claim, "ProvisioningSucceeded", message, component=COMPONENT)
        return self._api.create(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": STAND_IN}},
                "spec": {
                    "accessModes": spec["accessModes"],
                    "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                    "claimRef": reference_to(claim),
                    "hostPath": {"path": f"/run/minipod/claims/{uid}"},
                    "persistentVolumeReclaimPolicy": "Delete",
                    "storageClassName": spec.get("storageClassName", self._default_class()),
                    "volumeMode": spec["volumeMode"],
                },
            }
        )

    def _default_class(self) -> str:
        classes = self._classes.objects.values()
        return next((entry["metadata"]["name"] for entry in classes if _is_default(entry)), "")

    def _give_back(self, key: Key, uid: str) -> None:
        for volume in tuple(self._by_claim[key].values()):
            name = volume["metadata"]["name"]
            if uid and volume["spec"]["claimRef"].get("uid") != uid:
                continue
            if volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
                self._api.delete("PersistentVolume", name)
            elif volume["status"].get("phase") == "Bound":
                self._api.update_status("PersistentVolume", name, "", {"phase": "Released"})


def _is_default(entry: Obj) -> bool:
    return annotations_of(entry).get(DEFAULT_CLASS) == "true"


def _claim_of(volume: Obj) -> list[Key]:
    reference = (volume.get("spec") or {}).get("claimRef")
    return [(reference["namespace"], reference["name"])] if reference else []


def _fits(volume: Obj, claim: Obj) -> bool:
    """A volume made by hand: of the claim's class, with its modes. Sizes are not compared: nothing is stored."""
    spec, wanted = volume["spec"], claim["spec"]
    if "claimRef" in spec or "deletionTimestamp" in volume["metadata"]:
        return False
    chosen = wanted.get("volumeName")
    if chosen:
        return bool(chosen == volume["metadata"]["name"])
    same_class = spec.get("storageClassName", "") == wanted.get("storageClassName", "")
    return same_class and set(wanted["accessModes"]) <= set(spec["accessModes"])
