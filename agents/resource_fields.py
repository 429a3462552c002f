"""The downward API's resourceFieldRef: what a container may use or requests, in whole units of a divisor.

What a container does not limit, its node does: CAPACITY.

Source: Kubernetes documentation "Downward API"; API reference, ResourceFieldSelector.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Any

from controlplane.quantity import parse

Obj = dict[str, Any]
# What a node says it has. Containers are not limited, and stand-ins take next to nothing: so this is what manifests for
# real machines ask for, and not what this machine has.
CAPACITY = {"pods": "250", "cpu": "16", "memory": "64Gi", "ephemeral-storage": "256Gi"}


def resource_field(container: Obj, reference: Obj) -> str:
    """`limits.cpu` and its like, rounded up to whole units."""
    part, _, name = reference["resource"].partition(".")
    amounts = (container.get("resources") or {}).get(part) or {}
    text = amounts.get(name) or (CAPACITY.get(name, "0") if part == "limits" else "0")
    divisor = parse(str(reference.get("divisor") or "1")) or 1
    return str(ceil(parse(str(text)) / divisor))


def container_named(pod: Obj, name: str) -> Obj:
    """The container that a volume's resourceFieldRef names; an empty one when there is none."""
    spec = pod["spec"]
    everyone: Iterable[Obj] = (*spec["containers"], *(spec.get("initContainers") or ()))
    return next((container for container in everyone if container["name"] == name), {})
