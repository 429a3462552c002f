"""OpenAPI v2 (Swagger): one document with all schemas, for kubectl before 1.27 and as the newer ones' second choice.

kubectl asks for it as protobuf, in the message that the project gnostic defines; the numbers here are those of its
fields. Extensions (`x-kubernetes-…`) travel as YAML text, of which JSON is a part.

    definition --openapi.translate, references re-written--> Schema --message()--> bytes

Source: OpenAPI Specification 2.0; github.com/google/gnostic-models openapiv2/OpenAPIv2.proto; k8s.io/kube-openapi
pkg/util/proto, which is what kubectl reads it with.
"""

from __future__ import annotations

import json
from typing import Any

from controlplane.http import openapi
from controlplane.json_text import to_json
from controlplane.kinds import Kinds

MEDIA_TYPE = (
    "application/com.github.proto-openapi.spec.v2"  # what follows in requests and answers is a version
)
REFERENCE = "#/definitions/"

_SCHEMA = {"$ref": 1, "format": 2, "description": 4}
_REQUIRED, _ADDITIONAL, _TYPE, _ITEMS, _PROPERTIES, _SCHEMA_EXTENSION = 19, 21, 22, 23, 25, 31
_METHOD = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}
_OPERATION_PARAMETERS, _OPERATION_RESPONSES, _OPERATION_EXTENSION = 8, 9, 13


def document(kinds: Kinds) -> dict[str, Any]:
    """The document as JSON has it."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for place in openapi.places(kinds):
        found = openapi.document(kinds, place)
        if found is not None:
            paths |= found["paths"]
            schemas |= found["components"]["schemas"]
    definitions = json.loads(to_json(schemas).replace(openapi.COMPONENTS.encode(), REFERENCE.encode()))
    return {"swagger": "2.0", "info": openapi.INFO, "paths": paths, "definitions": definitions}


def encode(described: dict[str, Any]) -> bytes:
    """The document as gnostic's message."""
    info = _field(1, described["info"]["title"]) + _field(2, described["info"]["version"])
    paths = b"".join(
        _field(2, _field(1, path) + _field(2, _path_item(item))) for path, item in described["paths"].items()
    )
    definitions = b"".join(
        _named(1, name, _schema(schema)) for name, schema in described["definitions"].items()
    )
    return _field(1, described["swagger"]) + _field(2, info) + _field(8, paths) + _field(9, definitions)


def _field(number: int, value: bytes | str) -> bytes:
    """A field of text, bytes or a message."""
    raw = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def _named(number: int, name: str, value: bytes) -> bytes:
    """An entry of one of gnostic's lists of name and value."""
    return _field(number, _field(1, name) + _field(2, value))


def _extensions(number: int, source: dict[str, Any]) -> bytes:
    return b"".join(
        _named(number, name, _field(2, to_json(value)))
        for name, value in source.items()
        if name.startswith("x-")
    )


def _path_item(item: dict[str, Any]) -> bytes:
    return b"".join(_field(_METHOD[verb], _operation(operation)) for verb, operation in item.items())


def _operation(operation: dict[str, Any]) -> bytes:
    parameters = b"".join(_parameter(entry["name"]) for entry in operation.get("parameters", ()))
    return parameters + _field(_OPERATION_RESPONSES, b"") + _extensions(_OPERATION_EXTENSION, operation)


def _parameter(name: str) -> bytes:
    """ParametersItem{parameter{non_body_parameter{query_parameter_sub_schema}}}: a text in the query."""
    query = _field(2, "query") + _field(4, name) + _field(6, "string")
    return _field(_OPERATION_PARAMETERS, _field(1, _field(2, _field(3, query))))


def _schema(schema: dict[str, Any]) -> bytes:
    """A Schema. A reference that stands in an `allOf` for its description's sake is one beside it here."""
    if len(schema.get("allOf", ())) == 1:
        schema = {**schema, **schema["allOf"][0]}
        schema.pop("allOf")
    parts = [_field(_SCHEMA[name], schema[name]) for name in _SCHEMA if isinstance(schema.get(name), str)]
    parts += [_field(_REQUIRED, name) for name in schema.get("required", ())]
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        parts.append(_field(_ADDITIONAL, _field(1, _schema(additional))))
    if isinstance(schema.get("type"), str) and "$ref" not in schema:
        parts.append(_field(_TYPE, _field(1, schema["type"])))
    if isinstance(schema.get("items"), dict):
        parts.append(_field(_ITEMS, _field(1, _schema(schema["items"]))))
    if "properties" in schema:
        fields = (_named(1, name, _schema(below)) for name, below in schema["properties"].items())
        parts.append(_field(_PROPERTIES, b"".join(fields)))
    return b"".join(parts) + _extensions(_SCHEMA_EXTENSION, schema)
