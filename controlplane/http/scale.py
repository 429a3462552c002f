"""The scale subresource: the number of replicas of any workload, in one shape. The kind says where it stands:

    (".spec.replicas", ".status.replicas", ".status.selector")    wanted, actual, the selector's text

Source: Kubernetes API reference, Scale v1 autoscaling.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from controlplane.errors import FieldErrors, bad_request, invalid
from controlplane.meta import Obj
from controlplane.patching import apply_patch
from controlplane.selectors import selector_of, to_text

DEFINITION = "io.k8s.api.autoscaling.v1.Scale"
Paths = tuple[str, str, str]


def of(obj: Obj, paths: Paths) -> Obj:
    """The Scale of a workload."""
    metadata = obj["metadata"]
    fields = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    wanted, actual, selector = (_at(obj, path) for path in paths)
    status: Obj = {"replicas": actual or 0}
    if not paths[2]:
        chosen = selector_of(obj)
        selector = to_text(chosen) if chosen else None
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in fields if field in metadata},
        "spec": {"replicas": wanted or 0},
        "status": status,
    }


def patch(current: Obj, body: Any, request: web.Request, paths: Paths) -> Obj:
    """The merge patch of the workload for a PUT or PATCH of its Scale, `current`. Raises StatusError 400, 422."""
    if request.method == "PATCH":
        body = apply_patch(current, body, request.content_type, DEFINITION)
    if not isinstance(body, dict) or not isinstance(body.get("spec", {}), dict):
        raise bad_request("the body must be a Scale")
    number = (body.get("spec") or {}).get("replicas", 0)
    if type(number) is not int:
        raise bad_request("spec.replicas: Invalid value: must be a number")
    if number < 0:
        errors = FieldErrors()
        errors.invalid("spec.replicas", number, "must be greater than or equal to 0")
        raise invalid("Scale", "autoscaling", current["metadata"]["name"], errors.items)
    metadata = body.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    result: Any = number
    for part in reversed(_parts(paths[0])):
        result = {part: result}
    return {**result, "metadata": {"resourceVersion": version}}


def _parts(path: str) -> list[str]:
    return [part for part in path.split(".") if part]


def _at(obj: Obj, path: str) -> Any:
    found: Any = obj
    for part in _parts(path):
        found = found.get(part) if isinstance(found, dict) else None
    return found if path else None
