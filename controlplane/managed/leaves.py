"""An object as a set of fields: every leaf by its path, and elements of lists by their keys.

    spec.replicas: 3                      ("f:spec", "f:replicas")                                         -> 3
    spec.ports: [{port: 80, name: web}]   ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:name") -> "web"
    metadata.finalizers: [x]              ("f:metadata", "f:finalizers", 'v:"x"')                          -> None

The words of a path are those of FieldsV1, the form in which paths are stored. The schema says which lists have keys
(x-kubernetes-list-type: map, set) and which values are owned as a whole (atomic, the default of lists).

Source: Kubernetes documentation "Server-Side Apply: Merge strategy"; the comment on FieldsV1 in the API reference.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from controlplane.meta import Obj
from controlplane.schema.decode import PREFIX, definitions

Path = tuple[str, ...]
Leaves = dict[Path, Any]
Schema = dict[str, Any]

KEY_DEFAULTS = {"protocol": "TCP"}  # of fields that are part of a key, but may be left out
UNOWNED = frozenset({("f:apiVersion",), ("f:kind",)}) | {
    ("f:metadata", f"f:{name}")
    for name in (
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "managedFields",
        "selfLink",
    )
}


def leaves(obj: Obj, schema: Schema) -> Leaves:
    """All fields of an object that somebody can own. An element of a keyed list is a field too, of value None."""
    found: Leaves = {}
    _collect(obj, schema, (), found)
    return found


def _collect(value: Any, schema: Schema, path: Path, found: Leaves) -> None:
    if path in UNOWNED:
        return
    schema = resolve(schema)
    if isinstance(value, dict) and value and not is_atomic_map(schema):
        for name, part in value.items():
            _collect(part, field_of(schema, name), (*path, f"f:{name}"), found)
        return
    words = words_of(value, schema) if isinstance(value, list) and value else None
    if words is None:
        found[path] = value
        return
    item = schema.get("items", {})
    for word, part in zip(words, value, strict=True):
        found[(*path, word)] = None
        if word.startswith("k:"):
            _collect(part, item, (*path, word), found)


def words_of(items: list[Any], schema: Schema) -> list[str] | None:
    """What each element is called in a path; None when the list is owned as a whole."""
    kind = schema.get("x-kubernetes-list-type")
    if kind == "set":
        return _distinct([f"v:{_compact(item)}" for item in items])
    keys = schema.get("x-kubernetes-list-map-keys")
    if kind != "map" or not keys or not all(isinstance(item, dict) for item in items):
        return None
    return _distinct([f"k:{_compact(_key(item, keys))}" for item in items])


def _distinct(words: list[str]) -> list[str] | None:
    return words if len(set(words)) == len(words) else None


def _key(item: Obj, keys: Iterable[str]) -> Obj:
    found = {name: item.get(name, KEY_DEFAULTS.get(name)) for name in sorted(keys)}
    return {name: value for name, value in found.items() if value is not None}


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def is_atomic_map(schema: Schema) -> bool:
    """Whether a mapping is owned as a whole."""
    return schema.get("x-kubernetes-map-type") == "atomic"


def field_of(schema: Schema, name: str) -> Schema:
    """What the schema says about a field; nothing for one that it does not know."""
    found = (schema.get("properties") or {}).get(name) or schema.get("additionalProperties")
    return found if isinstance(found, dict) else {}


def resolve(schema: Schema) -> Schema:
    """The schema itself where there is a reference to one; marks beside the reference count too."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    return {**definitions()[reference.removeprefix(PREFIX)], **schema}


def show(path: Path) -> str:
    """A path as people write it: `.spec.containers[name="web"].image`."""
    text = ""
    for word in path:
        kind, _, rest = word.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            pairs = json.loads(rest).items()
            text += "[" + ",".join(f"{name}={json.dumps(value)}" for name, value in pairs) + "]"
        else:
            text += f"[={rest}]"
    return text
