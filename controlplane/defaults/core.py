"""Defaults of Namespace and Secret."""

from __future__ import annotations

import base64

from controlplane.meta import Obj


def namespace(obj: Obj) -> Obj:
    """A namespace carries its name as a label, and the finalizer that empties it before it goes."""
    metadata = obj["metadata"]
    labels = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}
    spec = obj.get("spec") or ({"finalizers": ["kubernetes"]} if "deletionTimestamp" not in metadata else {})
    return {**obj, "metadata": {**metadata, "labels": labels}, "spec": spec}


def secret(obj: Obj) -> Obj:
    """Type Opaque; `stringData` is a way to write, `data` (base64) the way that is kept."""
    result = {"type": "Opaque", **obj}
    plain = result.pop("stringData", None)
    if plain:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
        result["data"] = {**(obj.get("data") or {}), **encoded}
    return result
