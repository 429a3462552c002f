"""The scale subresource: the number of replicas of any workload, in one shape.

Source: Kubernetes API reference, Scale v1 autoscaling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from controlplane.errors import FieldErrors, bad_request, invalid
from controlplane.meta import Obj
from controlplane.patching import apply_patch
from controlplane.selectors import to_text

DEFINITION = "io.k8s.api.autoscaling.v1.Scale"


@dataclass(frozen=True)
class Wanted:
    """What a written Scale asks for."""

    replicas: int
    resource_version: str | None


def of(obj: Obj) -> Obj:
    """The Scale of a workload."""
    metadata = obj["metadata"]
    fields = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Obj = {"replicas": (obj.get("status") or {}).get("replicas", 0)}
    if obj["spec"].get("selector"):
        status["selector"] = to_text(obj["spec"]["selector"])
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in fields if field in metadata},
        "spec": {"replicas": obj["spec"].get("replicas", 0)},
        "status": status,
    }


def replicas(current: Obj, body: Any, request: web.Request) -> Wanted:
    """The number that a PUT or PATCH of `current` asks for. Raises StatusError 400, 422."""
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
    return Wanted(number, version)
