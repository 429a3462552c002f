"""Claims, volumes and their classes."""

from __future__ import annotations

from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.meta import one_of

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
CLAIM_CHANGE = (
    "spec is immutable after creation except resources.requests "
    "and volumeAttributesClassName for bound claims"
)
_GIVEN_LATER = ("volumeName", "storageClassName", "resources", "volumeAttributesClassName")


def claim(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A PersistentVolumeClaim; what it asks for is for ever."""
    validate_claim_spec(new["spec"], "spec", errors)
    if old is None:
        return
    before, after = old["spec"], new["spec"]
    fixed = set(before) | set(after)
    fixed -= {name for name in _GIVEN_LATER if name not in before} | {
        "resources",
        "volumeAttributesClassName",
    }
    if any(before.get(name) != after.get(name) for name in fixed):
        errors.forbidden("spec", CLAIM_CHANGE)


def validate_claim_spec(spec: Obj, field: str, errors: FieldErrors) -> None:
    """Access modes and a size."""
    modes = spec.get("accessModes") or []
    if not modes:
        errors.required(f"{field}.accessModes", "at least 1 access mode is required")
    for mode in modes:
        if mode not in ACCESS_MODES:
            errors.unsupported(f"{field}.accessModes", mode, ACCESS_MODES)
    if "storage" not in ((spec.get("resources") or {}).get("requests") or {}):
        errors.required(f"{field}.resources[storage]")
    one_of(errors, f"{field}.volumeMode", spec.get("volumeMode"), VOLUME_MODES)


def volume(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A PersistentVolume: a size, access modes and a source."""
    spec = new["spec"]
    if not spec.get("accessModes"):
        errors.required("spec.accessModes")
    for mode in spec.get("accessModes") or ():
        if mode not in ACCESS_MODES:
            errors.unsupported("spec.accessModes", mode, ACCESS_MODES)
    if not spec.get("capacity"):
        errors.required("spec.capacity")
    one_of(
        errors, "spec.persistentVolumeReclaimPolicy", spec["persistentVolumeReclaimPolicy"], RECLAIM_POLICIES
    )
    one_of(errors, "spec.volumeMode", spec["volumeMode"], VOLUME_MODES)


def storage_class(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A StorageClass; nothing of what it promises may change."""
    if not new.get("provisioner"):
        errors.required("provisioner")
    one_of(errors, "reclaimPolicy", new.get("reclaimPolicy"), RECLAIM_POLICIES)
    one_of(errors, "volumeBindingMode", new.get("volumeBindingMode"), BINDING_MODES)
    if old is not None:
        for field in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
            if new.get(field) != old.get(field):
                errors.forbidden(field, f"updates to {field} are forbidden.")
