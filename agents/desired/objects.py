"""What every translation needs of an object."""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]


def namespaced_name(obj: Obj) -> tuple[str, str]:
    """Namespace and name of an object that is in a namespace."""
    return obj["metadata"]["namespace"], obj["metadata"]["name"]
