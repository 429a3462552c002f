"""Defaults of PersistentVolumeClaim, PersistentVolume and StorageClass."""

from __future__ import annotations

from controlplane.meta import Obj


def claim(obj: Obj) -> Obj:
    """A file system, of what the class gives."""
    return {**obj, "spec": {"volumeMode": "Filesystem", **(obj.get("spec") or {})}}


def volume(obj: Obj) -> Obj:
    """A file system that stays when its claim goes."""
    defaults = {"volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain"}
    return {**obj, "spec": {**defaults, **(obj.get("spec") or {})}}


def storage_class(obj: Obj) -> Obj:
    """Volumes are bound at once, and go with their claim."""
    return {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate", **obj}
