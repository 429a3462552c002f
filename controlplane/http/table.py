"""Server-side printing: what `kubectl get` shows is computed here, from the kind's columns.

Source: Kubernetes API concepts, "Receiving resources as Tables".
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from controlplane.kinds import Kind
from controlplane.meta import Obj


def wanted(request: web.Request) -> bool:
    """Whether the client asks for a Table."""
    return "as=Table" in request.headers.get("Accept", "")


def table(kind: Kind, objects: list[Obj], metadata: Obj, include: str, *, with_columns: bool = True) -> Obj:
    """A Table with one row an object. `include` is Object, Metadata or None: what travels along with each
    row.
    """
    definitions = [
        {
            "name": column.name,
            "type": column.type,
            "format": _format(column.name),
            "description": "",
            "priority": column.priority,
        }
        for column in kind.columns
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions if with_columns else None,
        "rows": [_row(kind, obj, include) for obj in objects],
    }


def _format(name: str) -> str:
    return "name" if name == "Name" else ""


def _row(kind: Kind, obj: Obj, include: str) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": [column.value(obj) for column in kind.columns]}
    if include == "Object":
        row["object"] = obj
    elif include != "None":
        row["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": obj["metadata"],
        }
    return row
