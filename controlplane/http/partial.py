"""Objects without spec and status: what garbage collectors, caches and metadata clients ask for.

Source: Kubernetes API concepts, "Metadata-only fetches"; the kind PartialObjectMetadata of meta.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from controlplane.meta import Obj

API_VERSION = "meta.k8s.io/v1"


def wanted(request: web.Request) -> bool:
    """Whether the client prefers metadata alone, among the forms of JSON that it takes."""
    for form in request.headers.get("Accept", "").split(","):
        if form.strip().startswith("application/json"):
            return "as=PartialObjectMetadata" in form
    return False


def of(obj: Obj) -> Obj:
    """An object's metadata, as an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": API_VERSION, "metadata": obj["metadata"]}


def list_of(items: Iterable[Obj], metadata: Obj) -> Obj:
    """The same for a list."""
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": API_VERSION,
        "metadata": metadata,
        "items": [of(obj) for obj in items],
    }
