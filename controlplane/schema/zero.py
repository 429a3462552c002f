"""What Go's decoder leaves where a required field is missing: the zero value of its type.

A status is not held against rules, neither by a real API server nor here; so those who read it must find what the
schema promises. `conditions: [{status: "True"}]` is stored as `[{status: "True", type: ""}]`.
"""

from __future__ import annotations

from typing import Any

from controlplane.schema.decode import PREFIX, definitions

Schema = dict[str, Any]
_ZEROS: dict[str, Any] = {
    "string": "",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "array": [],
    "object": {},
}


def with_zeros(value: Any, schema: Schema) -> Any:
    """`value` with its schema's required fields; `value` itself when nothing is missing."""
    reference = schema.get("$ref")
    if isinstance(reference, str):
        schema = definitions()[reference.removeprefix(PREFIX)]
    if isinstance(value, list):
        item = schema.get("items") or {}
        filled = [with_zeros(entry, item) for entry in value]
        return value if all(new is old for new, old in zip(filled, value, strict=True)) else filled
    properties = schema.get("properties")
    if not isinstance(value, dict) or not properties:
        return value
    result = value
    for name in schema.get("required", ()):
        kind = properties[name].get("type")
        if name not in value and kind is not None:  # a structure of its own is left out
            result = {**result, name: _ZEROS[kind[0] if isinstance(kind, list) else kind]}
    for name, below in value.items():
        new = with_zeros(below, properties.get(name) or {})
        if new is not below:
            result = {**result, name: new}
    return result
