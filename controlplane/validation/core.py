"""ConfigMap, Secret, Lease and Event."""

from __future__ import annotations

import base64

from controlplane import names
from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.meta import complain, unchanged

SIZE_LIMIT = 1024 * 1024  # bytes of all values together


def config_map(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """Keys are file names; text and binary data share one set of keys; at most 1 MiB; `immutable` is for
    ever.
    """
    data, binary = new.get("data") or {}, new.get("binaryData") or {}
    for field, entries in (("data", data), ("binaryData", binary)):
        for key in entries:
            complain(errors, f"{field}[{key}]", key, names.config_key(key))
    for key in binary:
        if key in data:
            errors.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    if sum(len(value) for entries in (data, binary) for value in entries.values()) > SIZE_LIMIT:
        errors.too_long("", SIZE_LIMIT)
    _validate_immutable(new, old, ("data", "binaryData"), errors)


def secret(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """Values are base64; the type is for ever."""
    total = 0
    for key, value in (new.get("data") or {}).items():
        complain(errors, f"data[{key}]", key, names.config_key(key))
        try:
            total += len(base64.b64decode(value, validate=True))
        except ValueError:  # binascii.Error is one, and so is what becomes of a letter beyond ASCII
            errors.invalid(f"data[{key}]", "<secret contents redacted>", "illegal base64 data")
    if total > SIZE_LIMIT:
        errors.too_long("data", SIZE_LIMIT)
    if old is not None:
        unchanged(errors, "type", new["type"], old["type"])
    _validate_immutable(new, old, ("data",), errors)


def _validate_immutable(new: Obj, old: Obj | None, fields: tuple[str, ...], errors: FieldErrors) -> None:
    if old is None or not old.get("immutable"):
        return
    if not new.get("immutable"):
        errors.forbidden("immutable", "field is immutable when `immutable` is set")
    for field in fields:
        if new.get(field) != old.get(field):
            errors.forbidden(field, "field is immutable when `immutable` is set")


def lease(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A lease lasts some seconds."""
    spec = new.get("spec") or {}
    if spec.get("leaseDurationSeconds", 1) <= 0:
        errors.invalid("spec.leaseDurationSeconds", spec["leaseDurationSeconds"], "must be greater than 0")
    if spec.get("leaseTransitions", 0) < 0:
        errors.invalid(
            "spec.leaseTransitions", spec["leaseTransitions"], "must be greater than or equal to 0"
        )


def event(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """An event lives in the namespace of the object that it is about."""
    involved = (new.get("involvedObject") or {}).get("namespace") or "default"
    if involved != new["metadata"]["namespace"]:
        errors.invalid("involvedObject.namespace", involved, "does not match event.namespace")
