"""OpenAPI v3: the schemas that the server decodes with, told to clients; `kubectl explain` and client-side checks.

    /openapi/v3                  which documents there are
    /openapi/v3/apis/apps/v1     paths and schemas of one group and version

The schemas are the published ones (schema/kubernetes-1.37.json), with the references and types written as OpenAPI 3.0
does; those of custom resources come from their definitions. Of the paths, what clients look at: each verb's
`x-kubernetes-group-version-kind` and parameters.

Source: Kubernetes documentation "The Kubernetes API", OpenAPI V3; OpenAPI Specification 3.0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from controlplane.json_text import to_json
from controlplane.kinds import Kind, Kinds
from controlplane.meta import Obj
from controlplane.patching import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from controlplane.schema.decode import PREFIX, definitions

COMPONENTS = "#/components/schemas/"
INFO = {"title": "Kubernetes", "version": "v1.37.0"}
WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")
PATCH_TYPES = (APPLY_PATCH, JSON_PATCH, MERGE_PATCH)


def root(kinds: Kinds) -> Obj:
    """The list of documents. A document's address changes with its content, so that clients may keep it."""
    paths = {}
    for place, members in sorted(_by_version(kinds).items()):
        digest = hashlib.sha256(
            to_json([_schemas(members), sorted(kind.key for kind in members)])
        ).hexdigest()
        paths[place] = {"serverRelativeURL": f"/openapi/v3/{place}?hash={digest[:32].upper()}"}
    return {"paths": paths}


def places(kinds: Kinds) -> list[str]:
    """`api/v1`, `apis/apps/v1`, …: what there is a document of."""
    return sorted(_by_version(kinds))


def document(kinds: Kinds, place: str) -> Obj | None:
    """The document of `api/v1` or `apis/GROUP/VERSION`; None when there is no such version."""
    members = _by_version(kinds).get(place)
    if members is None:
        return None
    paths: dict[str, Any] = {}
    for kind in members:
        paths |= _paths(kind, f"/{place}")
    return {"openapi": "3.0.0", "info": INFO, "paths": paths, "components": {"schemas": _schemas(members)}}


def _by_version(kinds: Kinds) -> dict[str, list[Kind]]:
    found: dict[str, list[Kind]] = {}
    for kind in kinds.served():
        found.setdefault(f"apis/{kind.api_version}" if kind.group else "api/v1", []).append(kind)
    return found


def _paths(kind: Kind, base: str) -> dict[str, Obj]:
    start = f"{base}/namespaces/{{namespace}}" if kind.namespaced else base
    collection = {"get": "list", "post": "post", "delete": "deletecollection"}
    one = {"get": "get", "put": "put", "patch": "patch", "delete": "delete"}
    paths = {
        f"{start}/{kind.plural}": {
            verb: _operation(kind, verb, action) for verb, action in collection.items()
        },
        f"{start}/{kind.plural}/{{name}}": {
            verb: _operation(kind, verb, action) for verb, action in one.items()
        },
    }
    if kind.namespaced:
        paths[f"{base}/{kind.plural}"] = {"get": _operation(kind, "get", "list")}
    return paths


def _operation(kind: Kind, verb: str, action: str) -> Obj:
    operation: Obj = {
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _type_of(kind),
        "responses": {"200": {"description": "OK"}},
    }
    if verb in ("post", "put", "patch"):
        operation["parameters"] = [
            {"name": name, "in": "query", "schema": {"type": "string"}} for name in WRITE_PARAMETERS
        ]
        types = _patch_types(kind) if verb == "patch" else ("application/json",)
        schema = {"$ref": COMPONENTS + kind.definition} if verb != "patch" else {"type": "object"}
        operation["requestBody"] = {"content": {name: {"schema": schema} for name in types}}
    return operation


def _patch_types(kind: Kind) -> tuple[str, ...]:
    """Strategic merge needs a published schema, which custom resources do not have."""
    return (*PATCH_TYPES, STRATEGIC_PATCH) if kind.definition in definitions() else PATCH_TYPES


def _type_of(kind: Kind) -> Obj:
    return {"group": kind.group, "version": kind.version, "kind": kind.name}


def _schemas(members: Iterable[Kind]) -> dict[str, Any]:
    """The definitions of some kinds, and all that they refer to."""
    schemas: dict[str, Any] = {}
    waiting: list[str] = []
    for kind in members:
        schema = kind.schema
        schemas[kind.definition] = {**translate(schema), "x-kubernetes-group-version-kind": [_type_of(kind)]}
        waiting.extend(_references(schema))
    while waiting:
        name = waiting.pop()
        if name not in schemas:
            schemas[name] = translate(definitions()[name])
            waiting.extend(_references(definitions()[name]))
    return schemas


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix(PREFIX)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def translate(schema: Any) -> Any:
    """A published schema as OpenAPI 3.0 writes it: one type instead of `[type, null]`; a reference with words of its
    own stands in an `allOf`.
    """
    if isinstance(schema, list):
        return [translate(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    result = {name: translate(value) for name, value in schema.items() if name not in ("$ref", "properties")}
    kinds = schema.get("type")
    if isinstance(kinds, list):
        result["type"] = next((kind for kind in kinds if kind != "null"), "object")
    if "properties" in schema:
        result["type"] = "object"
        result["properties"] = {name: translate(value) for name, value in schema["properties"].items()}
        for name in ("apiVersion", "kind"):  # the one possible value, which the published schemas here add
            result["properties"].get(name, {}).pop("enum", None)
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return result
    target = {"$ref": COMPONENTS + reference.removeprefix(PREFIX)}
    return {**result, "allOf": [target]} if result else target
