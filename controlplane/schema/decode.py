"""Structure: does a value have the shape that the published schema gives its kind?

This is what Go's JSON decoder does in a real API server, before anybody asks what the values mean:

    bytes -> dict --decode--> dict of known fields with the right types --default--> --validate--> store

- a field of a wrong type is an error (400);
- a field that the schema does not know is dropped, and reported: strict callers refuse it, others warn;
- null means "not set".

A value that is already right is returned as it is, not copied: the usual case costs one walk. `required` is
not checked here: the semantic validators do, with better words (k8s.io/kubernetes/pkg/apis/*/validation).

Schemas are compiled on first use into a tree of small `Shape` objects. Source: the OpenAPI definitions in
kubernetes-1.37.json (see extract.py).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any

from controlplane import quantity
from controlplane.errors import FieldError

PREFIX = "#/$defs/"
MISSING = object()
Place = (
    tuple[Any, Any] | None
)  # (the place around it, field name or index): a path that costs nothing until printed

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_GO_KINDS = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


class Findings:
    """What a walk found: wrong types, and fields that the schema does not know."""

    def __init__(self) -> None:
        self.wrong: list[FieldError] = []
        self.unknown: list[str] = []
        self.hints: dict[str, str] = {}  # unknown field -> a known one that is spelt much like it

    def unknown_field(self, place: Place, known: Collection[str]) -> None:
        """A field that the schema does not know; `known` are those that it does."""
        field = render(place)
        self.unknown.append(field)
        alike = difflib.get_close_matches(field.rpartition(".")[2], known, 1)
        if alike:
            self.hints[field] = alike[0]

    def type_error(self, place: Place, value: Any, wanted: str) -> None:
        """A value of another type than the schema's."""
        found = _GO_KINDS.get(type(value), type(value).__name__)
        field = render(place)
        text = f"json: cannot unmarshal {found} into Go struct field {field} of type {wanted}"
        self.wrong.append(FieldError("FieldValueTypeInvalid", field, text))

    def syntax_error(self, place: Place, text: str) -> None:
        """A text that cannot be read as what it should be."""
        self.wrong.append(FieldError("FieldValueInvalid", render(place), text))


def render(place: Place) -> str:
    """A place as Kubernetes writes it: `spec.containers[0].image`."""
    parts: list[Any] = []
    while place is not None:
        place, part = place
        parts.append(part)
    text = ""
    for part in reversed(parts):
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


class Shape:
    """What a value may look like. The base class accepts anything."""

    def decode(self, value: Any, place: Place, findings: Findings) -> Any:
        """`value`, or a corrected copy; adds to `findings`."""
        return value


class Scalar(Shape):
    """A string, boolean, number, or one of the strings with a syntax (`check` returns a complaint or "")."""

    def __init__(
        self, types: tuple[type, ...], wanted: str, check: Callable[[Any], str] | None = None
    ) -> None:
        self.types = types
        self.wanted = wanted
        self.check = check

    def decode(self, value: Any, place: Place, findings: Findings) -> Any:
        """See Shape."""
        if type(value) not in self.types:
            findings.type_error(place, value, self.wanted)
        elif self.check is not None:
            complaint = self.check(value)
            if complaint:
                findings.syntax_error(place, complaint)
        return value


class Array(Shape):
    """A list of one shape."""

    def __init__(self, item: Shape) -> None:
        self.item = item

    def decode(self, value: Any, place: Place, findings: Findings) -> Any:
        """See Shape."""
        if type(value) is not list:
            findings.type_error(place, value, "array")
            return value
        decode = self.item.decode
        changed = None
        for index, old in enumerate(value):
            new = decode(old, (place, index), findings)
            if new is not old:
                changed = changed or list(value)
                changed[index] = new
        return value if changed is None else changed


class Map(Shape):
    """Any keys, one shape of values."""

    def __init__(self, item: Shape) -> None:
        self.item = item

    def decode(self, value: Any, place: Place, findings: Findings) -> Any:
        """See Shape."""
        if type(value) is not dict:
            findings.type_error(place, value, "map")
            return value
        return _decode_fields(value, place, findings, lambda _: self.item, ())


class Struct(Shape):
    """Named fields, each of its own shape. Fields are filled in after construction, so that a schema may
    contain itself.
    """

    def __init__(self) -> None:
        self.fields: dict[str, Shape] = {}

    def decode(self, value: Any, place: Place, findings: Findings) -> Any:
        """See Shape."""
        if type(value) is not dict:
            findings.type_error(place, value, "object")
            return value
        return _decode_fields(value, place, findings, self.fields.get, self.fields)


def _decode_fields(
    value: dict[str, Any],
    place: Place,
    findings: Findings,
    shape_of: Callable[[str], Shape | None],
    known: Collection[str],
) -> dict[str, Any]:
    changed = None
    for name, old in value.items():
        shape = shape_of(name)
        if shape is None:
            findings.unknown_field((place, name), known)
            new = MISSING
        elif old is None:
            new = MISSING
        else:
            new = shape.decode(old, (place, name), findings)
        if new is not old:
            if changed is None:
                changed = dict(value)
            if new is MISSING:
                del changed[name]
            else:
                changed[name] = new
    return value if changed is None else changed


def _integer(bits: int) -> Shape:
    limit = 1 << (bits - 1)

    def check(value: int) -> str:
        return (
            ""
            if -limit <= value < limit
            else f"json: cannot unmarshal number {value} into Go value of type int{bits}"
        )

    return Scalar((int,), f"int{bits}", check)


class Quantity(Shape):
    """A quantity, in its canonical form."""

    def decode(self, value: Any, place: Place, findings: Findings) -> Any:
        """See Shape."""
        if type(value) not in (str, int, float):
            findings.type_error(place, value, "quantity")
            return value
        try:
            canonical = quantity.canonical(value if type(value) is str else repr(value))
        except ValueError:
            pattern = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
            findings.syntax_error(place, f"quantities must match the regular expression '{pattern}'")
            return value
        return value if canonical == value else canonical


def _check_time(value: str) -> str:
    return (
        ""
        if _TIME.fullmatch(value)
        else f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse'
    )


ANYTHING = Shape()
_STRING = Scalar((str,), "string")
_BY_NAME: dict[str, Shape] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": Scalar((int, str), "int or string"),
    "io.k8s.apimachinery.pkg.api.resource.Quantity": Quantity(),
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": Scalar((str,), "time", _check_time),
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": Scalar((str,), "time", _check_time),
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": ANYTHING,
}


@cache
def definitions() -> dict[str, Any]:
    """All published definitions, by name."""
    text = Path(__file__).with_name("kubernetes-1.37.json").read_text()
    return json.loads(text)  # type: ignore[no-any-return]


@cache
def shape(name: str) -> Shape:
    """The shape of the definition `name`, e.g. `io.k8s.api.core.v1.Pod`. Raises KeyError."""
    special = _BY_NAME.get(name)
    if special is not None:
        return special
    definition = definitions()[name]
    if "properties" not in definition:
        return compile_schema(definition)
    struct = Struct()
    _BY_NAME[name] = struct
    _fill(struct, definition)
    return struct


def compile_schema(schema: dict[str, Any]) -> Shape:
    """The shape that an OpenAPI schema describes; what it cannot say is accepted."""
    reference = schema.get("$ref")
    if reference is not None:
        return shape(reference.removeprefix(PREFIX))
    if "properties" in schema:
        struct = Struct()
        _fill(struct, schema)
        return struct
    types = schema.get("type", "")
    kind = next((t for t in types if t != "null"), "") if isinstance(types, list) else types
    if kind == "string":
        return _STRING
    if kind == "boolean":
        return Scalar((bool,), "bool")
    if kind == "integer":
        return _integer(32 if schema.get("format") == "int32" else 64)
    if kind == "number":
        return Scalar((int, float), "float64")
    if kind == "array":
        return Array(compile_schema(schema.get("items", {})))
    if kind == "object" and "additionalProperties" in schema:
        return Map(compile_schema(schema["additionalProperties"]))
    return ANYTHING


def _fill(struct: Struct, definition: dict[str, Any]) -> None:
    for field, schema in definition["properties"].items():
        struct.fields[field] = compile_schema(schema)
