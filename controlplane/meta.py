"""The small questions that everybody asks an object: its key, its labels, its owner, its conditions.

An object is a plain `dict` as in JSON. Objects that came out of the store are shared: nobody changes them,
everybody builds new ones, which share the parts that stay the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Obj = dict[str, Any]
Key = tuple[str, str]  # (namespace, name); the namespace of a cluster-wide object is ""

_cached_second = (-1, "")


def now() -> str:
    """The present time as `metav1.Time`: UTC, whole seconds, e.g. `2024-05-01T12:00:00Z`."""
    global _cached_second
    second = int(time.time())
    if second != _cached_second[0]:
        _cached_second = (second, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second)))
    return _cached_second[1]


def micro_now() -> str:
    """The present time as `metav1.MicroTime`, e.g. `2024-05-01T12:00:00.000001Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def timestamp(seconds: float) -> str:
    """`seconds` since the epoch as `metav1.Time`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def seconds(text: str) -> float:
    """The inverse of `timestamp` and `micro_now`: seconds since the epoch. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()


def new_uid() -> str:
    """A random UUID, version 4 (RFC 9562), without the cost of the uuid module's object."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def key_of(obj: Obj) -> Key:
    """(namespace, name)."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def labels_of(obj: Obj) -> Mapping[str, str]:
    """metadata.labels, or an empty mapping."""
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Obj) -> Mapping[str, str]:
    """metadata.annotations, or an empty mapping."""
    return obj["metadata"].get("annotations") or {}


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference that says `controller: true`, if there is one."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return reference  # type: ignore[no-any-return]
    return None


def owner_reference(owner: Obj) -> Obj:
    """The owner reference with which `owner` controls what it makes."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def with_metadata(obj: Obj, **changes: Any) -> Obj:
    """A new object like `obj` but with these fields of metadata; a field that is None is left out."""
    metadata = {**obj["metadata"], **changes}
    return {**obj, "metadata": {name: value for name, value in metadata.items() if value is not None}}


def condition(obj: Obj, kind: str) -> Obj | None:
    """The condition of type `kind` in obj.status.conditions, if there is one."""
    for entry in (obj.get("status") or {}).get("conditions") or ():
        if entry["type"] == kind:
            return entry  # type: ignore[no-any-return]
    return None


def is_true(obj: Obj, kind: str) -> bool:
    """Whether the condition of type `kind` has status "True"."""
    entry = condition(obj, kind)
    return entry is not None and entry["status"] == "True"


def with_condition(conditions: list[Obj] | None, kind: str, status: str, **fields: Any) -> list[Obj]:
    """A new list of conditions in which `kind` has this status; lastTransitionTime moves only when the status
    does.
    """
    result = []
    previous: Obj = {}
    for entry in conditions or ():
        if entry["type"] == kind:
            previous = entry
        else:
            result.append(entry)
    moved = previous.get("status") != status
    since = now() if moved or "lastTransitionTime" not in previous else previous["lastTransitionTime"]
    return [*result, {"type": kind, "status": status, "lastTransitionTime": since, **fields}]


def reference_to(obj: Obj) -> Obj:
    """An ObjectReference to `obj`, as events carry it."""
    metadata = obj["metadata"]
    fields = {
        "kind": obj["kind"],
        "namespace": metadata.get("namespace"),
        "name": metadata["name"],
        "uid": metadata.get("uid"),
        "apiVersion": obj["apiVersion"],
        "resourceVersion": metadata.get("resourceVersion"),
    }
    return {name: value for name, value in fields.items() if value}
