"""The schema of a custom resource at work: unknown fields are pruned, defaults filled in, values checked.

    decode   drops what the schema does not know (kept where x-kubernetes-preserve-unknown-fields says so)
    default  `default:` of fields that are missing
    validate types, required, enum, ranges, patterns, allOf/anyOf/oneOf/not: 422 with the field's path

Source: Kubernetes documentation "Extend the Kubernetes API with CustomResourceDefinitions" (structural schemas,
pruning, defaulting); the messages are those of k8s.io/kube-openapi pkg/validation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from controlplane.errors import FieldErrors, quote
from controlplane.schema.decode import ANYTHING, Findings, Place, Shape

Schema = dict[str, Any]
PRESERVE, INT_OR_STRING = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
_NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


class Structural(Shape):
    """A shape that prunes; what is wrong with values is left to `validate`."""

    def __init__(self, schema: Schema, known: dict[str, Shape] | None = None) -> None:
        self._known = known or {}  # fields of a shape of their own: metadata
        self._fields = {name: Structural(below) for name, below in (schema.get("properties") or {}).items()}
        rest = schema.get("additionalProperties")
        self._rest: Shape | None = Structural(rest) if isinstance(rest, dict) else ANYTHING if rest else None
        if self._rest is None and (
            schema.get(PRESERVE) or (not self._fields and schema.get("type") != "object")
        ):
            self._rest = ANYTHING
        self._item = Structural(schema["items"]) if isinstance(schema.get("items"), dict) else None
        self._nullable = bool(schema.get("nullable"))

    def decode(self, value: Any, place: Place, findings: Findings) -> Any:
        """See Shape."""
        if isinstance(value, list) and self._item is not None:
            item = self._item
            return [item.decode(entry, (place, index), findings) for index, entry in enumerate(value)]
        if not isinstance(value, dict):
            return value
        result = {}
        for name, below in value.items():
            shape = self._known.get(name) or self._fields.get(name) or self._rest
            if shape is None:
                findings.unknown_field((place, name), self._fields)
            elif below is not None or (isinstance(shape, Structural) and shape._nullable):
                result[name] = shape.decode(below, (place, name), findings)
        return value if result == value else result


def default(value: Any, schema: Schema) -> Any:
    """`value` with what its author left out."""
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [default(entry, schema["items"]) for entry in value]
    if not isinstance(value, dict):
        return value
    properties: Schema = schema.get("properties") or {}
    missing = {
        name: s["default"] for name, s in properties.items() if "default" in s and value.get(name) is None
    }
    if not missing and not properties and not isinstance(schema.get("additionalProperties"), dict):
        return value
    rest = schema.get("additionalProperties")
    rest = rest if isinstance(rest, dict) else {}
    return {name: default(below, properties.get(name, rest)) for name, below in (value | missing).items()}


def validate(value: Any, schema: Schema, place: str, errors: FieldErrors) -> None:
    """Adds all that is wrong with `value` at `place`, e.g. `spec.replicas`."""
    if value is None and schema.get("nullable"):
        return
    kind = schema.get("type", "")
    if schema.get(INT_OR_STRING):
        if not isinstance(value, int | str) or isinstance(value, bool):
            _wrong_type(value, "integer,string", place, errors)
        return
    if kind in _TYPES and not _TYPES[kind](value):
        _wrong_type(value, kind, place, errors)
        return
    choices = schema.get("enum")
    if isinstance(choices, list) and value not in choices:
        errors.unsupported(place, value, [str(choice) for choice in choices])
    if isinstance(value, dict):
        _validate_object(value, schema, place, errors)
    elif isinstance(value, list):
        _validate_array(value, schema, place, errors)
    elif isinstance(value, str):
        _validate_string(value, schema, place, errors)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _validate_number(value, schema, place, errors)
    _validate_combinations(value, schema, place, errors)


def _wrong_type(value: Any, wanted: str, place: str, errors: FieldErrors) -> None:
    found = _NAMES.get(type(value), "null")
    errors.invalid(place, found, f'{place or "body"} in body must be of type {wanted}: "{found}"')


def _validate_object(value: dict[str, Any], schema: Schema, place: str, errors: FieldErrors) -> None:
    prefix = f"{place}." if place else ""
    for name in schema.get("required") or ():
        if name not in value:
            errors.required(prefix + name)
    properties = schema.get("properties") or {}
    rest = schema.get("additionalProperties")
    for name, below in value.items():
        found = properties.get(name, rest)
        if isinstance(found, dict):
            validate(below, found, prefix + name, errors)
    if len(value) > schema.get("maxProperties", len(value)):
        errors.too_many(place, len(value), schema["maxProperties"])
    if len(value) < schema.get("minProperties", 0):
        errors.invalid(
            place, value, f"{place} in body should have at least {schema['minProperties']} properties"
        )


def _validate_array(value: list[Any], schema: Schema, place: str, errors: FieldErrors) -> None:
    item = schema.get("items")
    for index, entry in enumerate(value):
        if isinstance(item, dict):
            validate(entry, item, f"{place}[{index}]", errors)
    if len(value) > schema.get("maxItems", len(value)):
        errors.too_many(place, len(value), schema["maxItems"])
    if len(value) < schema.get("minItems", 0):
        errors.invalid(place, len(value), f"{place} in body should have at least {schema['minItems']} items")
    keys = schema.get("x-kubernetes-list-map-keys")
    seen: list[Any] = []
    for index, entry in enumerate(value):
        if keys and isinstance(entry, dict):
            identity: Any = {key: entry.get(key) for key in keys}
        elif schema.get("x-kubernetes-list-type") == "set":
            identity = entry
        else:
            return
        if identity in seen:
            errors.duplicate(f"{place}[{index}]", identity)
        seen.append(identity)


def _validate_string(value: str, schema: Schema, place: str, errors: FieldErrors) -> None:
    if len(value) > schema.get("maxLength", len(value)):
        errors.too_long(place, schema["maxLength"])
    if len(value) < schema.get("minLength", 0):
        errors.invalid(place, value, f"{place} in body should be at least {schema['minLength']} chars long")
    pattern = schema.get("pattern")
    if pattern and not _matches(pattern, value):
        errors.invalid(place, value, f"{place} in body should match '{pattern}'")


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern.replace("\\z", "\\Z"), value) is not None
    except re.error:  # a pattern of Go's that Python does not know
        return True


def _validate_number(value: float, schema: Schema, place: str, errors: FieldErrors) -> None:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value < low or (schema.get("exclusiveMinimum") and value == low)):
        relation = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        errors.invalid(place, value, f"{place} in body should be {relation} {quote(low)}")
    if high is not None and (value > high or (schema.get("exclusiveMaximum") and value == high)):
        relation = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        errors.invalid(place, value, f"{place} in body should be {relation} {quote(high)}")
    factor = schema.get("multipleOf")
    if factor and value % factor:
        errors.invalid(place, value, f"{place} in body should be a multiple of {quote(factor)}")


def _validate_combinations(value: Any, schema: Schema, place: str, errors: FieldErrors) -> None:
    def fitting(name: str) -> int:
        return sum(not _complaints(value, each, place) for each in schema[name])

    for each in schema.get("allOf") or ():
        validate(value, each, place, errors)
    if schema.get("anyOf") and not fitting("anyOf"):
        errors.invalid(place, value, f'"{place}" must validate at least one schema (anyOf)')
    if schema.get("oneOf") and fitting("oneOf") != 1:
        errors.invalid(place, value, f'"{place}" must validate one and only one schema (oneOf)')
    if isinstance(schema.get("not"), dict) and not _complaints(value, schema["not"], place):
        errors.invalid(place, value, f'"{place}" must not validate the schema (not)')


def _complaints(value: Any, schema: Schema, place: str) -> FieldErrors:
    found = FieldErrors()
    validate(value, schema, place, found)
    return found
