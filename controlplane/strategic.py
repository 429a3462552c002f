"""Strategic merge patch: a merge patch that knows what Kubernetes' lists mean.

    containers: [{name: web, image: x:2}]     changes the container `web`, leaves the others where they are

The schema says of a list whether its elements are merged and by which key (`x-kubernetes-patch-merge-key`); a
list without such a mark is replaced. The patch may carry directives:

    $patch: replace | delete        this mapping, or this element, as a whole
    $retainKeys: [a, b]             of this mapping keep only these fields
    $setElementOrder/FIELD: […]     the order of the merged list
    $deleteFromPrimitiveList/FIELD: […]

Source: Kubernetes documentation "Update API Objects in Place Using kubectl patch"; the design document
"Strategic Merge Patch" (community, contributors/devel/sig-api-machinery).
"""

from __future__ import annotations

from typing import Any

from controlplane.errors import bad_request
from controlplane.schema.decode import PREFIX, definitions

Json = Any
Schema = dict[str, Any]
STRATEGY, MERGE_KEY = "x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key"
ORDER, DELETE, RETAIN, DIRECTIVE = "$setElementOrder/", "$deleteFromPrimitiveList/", "$retainKeys", "$patch"


def strategic_merge(target: Json, patch: Json, definition: str) -> Json:
    """The patched object of the kind whose schema is `definition`. Raises StatusError 400 for a malformed
    patch.
    """
    if not isinstance(patch, dict):
        raise bad_request("a strategic merge patch must be an object")
    return _merge_mapping(target, patch, definitions()[definition])


def _merge_mapping(target: Json, patch: dict[str, Json], schema: Schema) -> dict[str, Json]:
    directive = patch.get(DIRECTIVE)
    base = target if isinstance(target, dict) else {}
    if directive == "delete":
        return {}
    if directive not in (None, "merge", "replace"):
        raise bad_request(f"Unknown patch type found: {directive}")
    result = {} if directive == "replace" else dict(base)
    for name, value in patch.items():
        if name.startswith("$"):
            continue
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merge_value(result.get(name), value, _field(schema, name), _order(patch, name))
    for name, values in _directives(patch, DELETE):
        if isinstance(result.get(name), list):
            result[name] = [value for value in result[name] if value not in values]
    for name, order in _directives(patch, ORDER):
        if name not in patch and isinstance(result.get(name), list):
            result[name] = _sorted(result[name], order, _field(schema, name).get(MERGE_KEY))
    retained = patch.get(RETAIN)
    if retained is not None:
        result = {name: value for name, value in result.items() if name in retained}
    return result


def _directives(patch: dict[str, Json], prefix: str) -> list[tuple[str, list[Json]]]:
    found = []
    for name, values in patch.items():
        if name.startswith(prefix):
            if not isinstance(values, list):
                raise bad_request(f"{name} must be a list")
            found.append((name.removeprefix(prefix), values))
    return found


def _order(patch: dict[str, Json], name: str) -> list[Json]:
    order = patch.get(ORDER + name, [])
    return order if isinstance(order, list) else []


def _merge_value(target: Json, patch: Json, schema: Schema, order: list[Json]) -> Json:
    if isinstance(patch, dict):
        return _merge_mapping(target, patch, _resolve(schema))
    if not isinstance(patch, list):
        return patch
    key = schema.get(MERGE_KEY)
    if "merge" not in schema.get(STRATEGY, "").split(","):
        return patch
    items = target if isinstance(target, list) else []
    if key is None:
        merged = [*items, *(value for value in patch if value not in items)]
    else:
        merged = _merge_list(items, patch, key, _resolve(schema.get("items", {})))
    return _sorted(merged, order, key)


def _merge_list(items: list[Json], patch: list[Json], key: str, schema: Schema) -> list[Json]:
    """Elements with the same key are merged, new ones are added at the end."""
    result = list(items)
    if any(
        isinstance(entry, dict) and entry.get(DIRECTIVE) == "replace" and key not in entry for entry in patch
    ):
        result, patch = [], [entry for entry in patch if entry.get(DIRECTIVE) != "replace"]
    for entry in patch:
        if not isinstance(entry, dict) or key not in entry:
            raise bad_request(f"map: {entry} does not contain declared merge key: {key}")
        place = next(
            (i for i, item in enumerate(result) if isinstance(item, dict) and item.get(key) == entry[key]),
            None,
        )
        if entry.get(DIRECTIVE) == "delete":
            if place is not None:
                del result[place]
        elif place is None:
            result.append(_merge_mapping({}, entry, schema))
        else:
            result[place] = _merge_mapping(result[place], entry, schema)
    return result


def _sorted(items: list[Json], order: list[Json], key: str | None) -> list[Json]:
    """The named elements in the given order; each other one stays behind the element that it stood behind."""
    if not order:
        return items

    def identity(item: Json) -> Json:
        return item.get(key) if key is not None and isinstance(item, dict) else item

    positions = {repr(identity(entry)): place for place, entry in enumerate(order)}
    groups: list[tuple[int, list[Json]]] = [(-1, [])]
    for item in items:
        place = positions.get(repr(identity(item)))
        if place is None:
            groups[-1][1].append(item)
        else:
            groups.append((place, [item]))
    groups.sort(key=lambda group: group[0])
    return [item for _, group in groups for item in group]


def _field(schema: Schema, name: str) -> Schema:
    """What the schema says about a field; nothing for a field that it does not know."""
    found = (schema.get("properties") or {}).get(name) or schema.get("additionalProperties") or {}
    return found if isinstance(found, dict) else {}


def _resolve(schema: Schema) -> Schema:
    reference = schema.get("$ref")
    found: Schema = definitions()[reference.removeprefix(PREFIX)] if isinstance(reference, str) else schema
    return found
