"""Bodies in and out: JSON or YAML becomes a value, a value becomes bytes.

An object is written to the wire as often as there are watchers; the bytes of the last few thousand states are
kept.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

from aiohttp import web

from controlplane.errors import StatusError, bad_request
from controlplane.http import protobuf
from controlplane.json_text import to_json
from controlplane.meta import Obj
from controlplane.yaml_text import YamlError, dump, load_documents

BODY_LIMIT = 3 * 1024 * 1024  # bytes, as in a real API server
REMEMBERED = 2048
JSON_TYPES = ("application/json", "", "application/octet-stream")
_known: OrderedDict[tuple[str, str], bytes] = OrderedDict()  # (uid, resourceVersion) -> JSON


def object_json(obj: Obj) -> bytes:
    """Compact JSON of a stored object, remembered."""
    metadata = obj["metadata"]
    key = metadata.get("uid", ""), metadata.get("resourceVersion", "")
    known = _known.get(key)
    if known is None:
        known = to_json(obj)
        if all(key):
            _known[key] = known
            if len(_known) > REMEMBERED:
                _known.popitem(last=False)
    return known


async def read_body(request: web.Request) -> Any:
    """The request's body as a value; None when it is empty. Raises StatusError 400, 413, 415."""
    raw = await request.read()
    if not raw.strip():
        return None
    kind = request.content_type
    if kind in JSON_TYPES or kind.endswith("+json"):
        return _parse_json(raw)
    if kind in ("application/yaml", "application/x-yaml", "text/yaml") or kind.endswith("+yaml"):
        return _parse_yaml(raw)
    if kind == protobuf.MEDIA_TYPE:
        return protobuf.decode_object(raw)
    raise StatusError(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format ({kind}) - accepted media types include: "
        "application/json, application/yaml",
    )


def _parse_json(raw: bytes) -> Any:
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the object provided is unrecognized: couldn't parse JSON: {error}") from error


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _parse_yaml(raw: bytes) -> Any:
    try:
        documents = load_documents(raw.decode())
    except (YamlError, UnicodeDecodeError) as error:
        raise bad_request(f"the object provided is unrecognized: couldn't parse YAML: {error}") from error
    if len(documents) != 1:
        raise bad_request(f"the body must hold one object, got {len(documents)}")
    return documents[0][1]


def answer(
    request: web.Request, value: Any, status: int = 200, warnings: list[str] | None = None
) -> web.Response:
    """An answer in the form that the client asked for: JSON, indented JSON (?pretty=true) or YAML."""
    if "application/yaml" in request.headers.get("Accept", ""):
        body, kind = dump(value).encode(), "application/yaml"
    elif request.query.get("pretty") in ("true", "1"):
        body, kind = json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n", "application/json"
    else:
        body, kind = to_json(value) + b"\n", "application/json"
    response = web.Response(body=body, status=status, content_type=kind)
    for text in warnings or ():
        printable = "".join(
            c if c.isprintable() else "?" for c in text
        )  # a header holds no control characters
        escaped = printable.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{escaped}"')
    return response


def failure(request: web.Request, error: StatusError) -> web.Response:
    """A Status answer."""
    response = answer(request, error.status(), error.code)
    if "retryAfterSeconds" in error.details:
        response.headers["Retry-After"] = str(error.details["retryAfterSeconds"])
    return response
