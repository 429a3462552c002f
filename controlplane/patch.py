"""Two of Kubernetes' ways to say what should change: JSON Merge Patch (RFC 7386) and JSON Patch (RFC 6902).

Both are pure: object and patch in, new object out, and what does not change is shared with the old object.
"""

from __future__ import annotations

from typing import Any

from controlplane.errors import StatusError, bad_request

Json = Any


def merge(target: Json, patch: Json) -> Json:
    """RFC 7386: mappings are merged, null removes, everything else replaces. Returns `target` itself if
    nothing changes.
    """
    if not isinstance(patch, dict):
        return patch
    base = target if isinstance(target, dict) else {}
    result = base
    for name, wanted in patch.items():
        if wanted is None:
            if name in result:
                result = {key: value for key, value in result.items() if key != name}
            continue
        old = result.get(name)
        new = merge(old, wanted)
        if new is not old and (new != old or type(new) is not type(old)):
            result = {**result, name: new}
    return result if isinstance(target, dict) else dict(result)


def apply_json_patch(target: Json, operations: Json) -> Json:
    """RFC 6902. Raises StatusError 400 for a malformed patch, 422 for one that does not apply."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch must be a list of operations")
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise bad_request("each operation of a JSON patch needs op and path")
        target = _apply(target, operation)
    return target


def _apply(target: Json, operation: dict[str, Json]) -> Json:
    name, path = operation.get("op"), _pointer(operation["path"])
    if name in ("add", "replace", "test") and "value" not in operation:
        raise bad_request(f"operation {name!r} of a JSON patch needs a value")
    if name == "add":
        return _edit(target, path, operation["value"], insert=True)
    if name == "remove":
        return _remove(target, path)
    if name == "replace":
        _read(target, path)
        return _edit(target, path, operation["value"], insert=False)
    if name == "test":
        if _read(target, path) != operation["value"]:
            raise _rejected(f"testing value {operation['path']} failed: test failed")
        return target
    if name in ("move", "copy"):
        if not isinstance(operation.get("from"), str):
            raise bad_request(f"operation {name!r} of a JSON patch needs from")
        source = _pointer(operation["from"])
        value = _read(target, source)
        rest = _remove(target, source) if name == "move" else target
        return _edit(rest, path, value, insert=True)
    known = "add, copy, move, remove, replace and test"
    raise bad_request(f"Unexpected kind: {name}: the operations of a JSON patch are {known}")


def _pointer(text: str) -> list[str]:
    """The parts of a JSON pointer (RFC 6901)."""
    if text and not text.startswith("/"):
        raise bad_request(f"invalid JSON pointer {text!r}: it must start with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _index(items: list[Json], part: str, *, limit: int) -> int:
    if not part.isdigit() or int(part) >= limit:
        raise _rejected(f"index {part} is out of bounds: the list has {len(items)} items")
    return int(part)


def _read(target: Json, path: list[str]) -> Json:
    for part in path:
        if isinstance(target, dict) and part in target:
            target = target[part]
        elif isinstance(target, list):
            target = target[_index(target, part, limit=len(target))]
        else:
            raise _rejected(f"path {'/'.join(['', *path])} does not exist")
    return target


def _edit(target: Json, path: list[str], value: Json, *, insert: bool) -> Json:
    """A copy of `target` with `value` at `path`; in a list it is inserted, or replaces what is there."""
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(target, dict):
        if rest and part not in target:
            raise _rejected(f"path part {part!r} does not exist")
        return {**target, part: _edit(target[part], rest, value, insert=insert) if rest else value}
    if isinstance(target, list):
        if rest or not insert:
            index = _index(target, part, limit=len(target))
            return [*target[:index], _edit(target[index], rest, value, insert=insert), *target[index + 1 :]]
        index = len(target) if part == "-" else _index(target, part, limit=len(target) + 1)
        return [*target[:index], value, *target[index:]]
    raise _rejected(f"path part {part!r} is inside a value that has no parts")


def _remove(target: Json, path: list[str]) -> Json:
    if not path:
        raise _rejected("cannot remove the whole object")
    part, rest = path[0], path[1:]
    _read(target, [part])
    if isinstance(target, dict):
        if rest:
            return {**target, part: _remove(target[part], rest)}
        return {key: value for key, value in target.items() if key != part}
    index = int(part)
    middle = [_remove(target[index], rest)] if rest else []
    return [*target[:index], *middle, *target[index + 1 :]]


def _rejected(why: str) -> StatusError:
    return StatusError(
        422, "Invalid", f"the server rejected our request due to an error in our request: {why}"
    )
