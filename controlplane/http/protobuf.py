r"""Bodies in protobuf, as kubectl's typed commands send them (create, run, drain …): read into the JSON they stand for.

    k8s\0  Unknown{typeMeta, raw}      raw is the message that typeMeta.apiVersion and kind name
    field: key (number << 3 | wire type), value: varint, 8 bytes, or length and bytes

Go writes every field that is no pointer, set or not; so zero values of those are left out, as `omitempty` does in
JSON. Fields that the table (schema/protobuf-1.37.json) does not know are skipped, as protobuf wants it. Answers are
JSON, which every client accepts beside protobuf.

Source: Kubernetes API concepts, "Kubernetes Protobuf encoding"; protobuf documentation "Encoding".
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from controlplane.errors import bad_request

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\0"
DEEPEST = 64  # messages within messages; Kubernetes' own go to about 20
TABLE = Path(__file__).parents[1] / "schema" / "protobuf-1.37.json"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Field = tuple[int, Any]  # number, and an int (varint) or bytes


class Malformed(ValueError):
    """Bytes that are not what they should be."""


def decode_object(raw: bytes) -> dict[str, Any]:
    """The object in a request's body. Raises StatusError 400."""
    try:
        if not raw.startswith(MAGIC):
            raise Malformed("it does not begin with k8s\\0")
        envelope = dict(_fields(raw[len(MAGIC) :]))
        type_meta = dict(_fields(_bytes(envelope.get(1, b""))))
        api_version, kind = (_text(type_meta.get(number, b"")) for number in (1, 2))
        obj: dict[str, Any] = _message(_bytes(envelope.get(2, b"")), message_name(api_version, kind), 0)
    except Malformed as error:
        raise bad_request(
            f"the object provided is unrecognized: couldn't parse protobuf: {error}: send application/json"
        ) from None
    return {"apiVersion": api_version, "kind": kind, **obj}


@cache
def _table() -> dict[str, dict[int, tuple[str, str]]]:
    """Message -> field number -> (name, type)."""
    listed: dict[str, dict[str, str]] = json.loads(TABLE.read_text())
    return {
        message: {int(number): (text.split(" ")[0], text.split(" ")[1]) for number, text in fields.items()}
        for message, fields in listed.items()
    }


def message_name(api_version: str, kind: str) -> str:
    """The message of a kind: `networking.k8s.io/v1`, Ingress is `networking.v1.Ingress`. Raises Malformed."""
    group, _, version = api_version.rpartition("/")
    for package in (group.split(".")[0] or "core", "meta"):
        name = f"{package}.{version}.{kind}"
        if name in _table():
            return name
    raise Malformed(f"no protobuf is known of {api_version}, Kind={kind}")


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(raw) or shift > 63:
            raise Malformed("a number has no end")
        byte = raw[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, place
        shift += 7


def _fields(raw: bytes) -> Iterator[Field]:
    place = 0
    while place < len(raw):
        key, place = _varint(raw, place)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, place = _varint(raw, place)
            yield number, value
            continue
        if wire == BYTES:
            size, place = _varint(raw, place)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise Malformed(f"wire type {wire}")
        if place + size > len(raw):
            raise Malformed("a field is longer than the body")
        yield number, raw[place : place + size]
        place += size


def _message(raw: bytes, name: str, depth: int) -> Any:
    if depth > DEEPEST:
        raise Malformed("it is too deeply nested")
    special = _SPECIAL.get(name)
    if special is not None:
        return special(dict(_fields(raw)))
    known = _table()[name]
    result: dict[str, Any] = {}
    for number, value in _fields(raw):
        if number in known:
            _take(result, *known[number], value, depth + 1)
    return result


def _take(result: dict[str, Any], name: str, kind: str, value: Any, depth: int) -> None:
    """Puts one field into `result`."""
    if name == ">":
        result |= _message(_bytes(value), kind.removeprefix("*"), depth)
    elif kind.startswith("[]"):
        result.setdefault(name, []).append(_value(kind[2:], value, depth))
    elif kind.startswith("map[string]"):
        entry = dict(_fields(_bytes(value)))
        of = kind.removeprefix("map[string]")
        empty = 0 if of in ("bool", "int32", "int64") else b""
        result.setdefault(name, {})[_text(entry.get(1, b""))] = _value(of, entry.get(2, empty), depth)
    else:
        found = _value(kind.removeprefix("*"), value, depth)
        if kind.startswith("*") or found not in ("", 0, {}, None):
            result[name] = found


def _value(kind: str, value: Any, depth: int) -> Any:
    if kind in ("int32", "int64", "bool"):
        number = _number(value)
        return bool(number) if kind == "bool" else number
    if kind == "float64":
        return struct.unpack("<d", _bytes(value, 8))[0]
    if kind == "string":
        return _text(value)
    if kind == "bytes":
        return base64.b64encode(_bytes(value)).decode()
    return _message(_bytes(value), kind, depth)


def _number(value: Any) -> int:
    """A signed number: negative ones are written as two's complement of 64 bits."""
    if not isinstance(value, int):
        raise Malformed("a number was expected")
    return value - (1 << 64) if value >> 63 else value


def _bytes(value: Any, size: int | None = None) -> bytes:
    if not isinstance(value, bytes) or (size is not None and len(value) != size):
        raise Malformed("a field has another type")
    return value


def _text(value: Any) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        raise Malformed("a text is not UTF-8") from None


def _time(form: str) -> Any:
    def read(fields: dict[int, Any]) -> str | None:
        if not fields:
            return None
        try:
            moment = datetime.fromtimestamp(_number(fields.get(1, 0)), UTC)
        except (ValueError, OverflowError, OSError):
            raise Malformed("a time is out of range") from None
        return moment.replace(microsecond=_number(fields.get(2, 0)) // 1000 % 10**6).strftime(form)

    return read


def _int_or_string(fields: dict[int, Any]) -> int | str:
    return _text(fields.get(3, b"")) if fields.get(1) else _number(fields.get(2, 0))


def _raw_json(fields: dict[int, Any]) -> Any:
    try:
        return json.loads(_bytes(fields.get(1, b"")) or b"{}")
    except (ValueError, RecursionError):
        raise Malformed("a field does not hold JSON") from None


_SPECIAL: dict[str, Any] = {  # messages that are not objects in JSON
    "meta.v1.Time": _time("%Y-%m-%dT%H:%M:%SZ"),
    "meta.v1.MicroTime": _time("%Y-%m-%dT%H:%M:%S.%fZ"),
    "meta.v1.FieldsV1": _raw_json,
    "api.resource.Quantity": lambda fields: _text(fields.get(1, b"")),
    "util.intstr.IntOrString": _int_or_string,
}
