"""Ephemeral containers: added to a running pod through a door of their own (kubectl debug), never changed or removed.

Source: Kubernetes documentation "Ephemeral Containers"; k8s.io/kubernetes pkg/apis/core/validation.
"""

from __future__ import annotations

from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.container import validate_container

FIELD = "spec.ephemeralContainers"
_NOT_ALLOWED = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "ports", "resources")


def validate(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """Holds `new`'s ephemeral containers against the rules; `old` is the pod before, None for one that is created."""
    spec = new["spec"]
    added = spec.get("ephemeralContainers") or []
    if old is None:
        if added:
            errors.forbidden(FIELD, "cannot be set on create")
        return
    volumes = {volume["name"] for volume in spec.get("volumes") or ()}
    taken = {entry["name"] for name in ("containers", "initContainers") for entry in spec.get(name) or ()}
    for index, container in enumerate(added):
        place, name = f"{FIELD}[{index}]", container.get("name", "")
        validate_container(container, place, volumes, errors)
        if name in taken:
            errors.duplicate(f"{place}.name", name)
        taken.add(name)
        for field in _NOT_ALLOWED:
            if container.get(field):
                errors.forbidden(f"{place}.{field}", "cannot be set for an Ephemeral Container")
    _validate_kept(added, old["spec"].get("ephemeralContainers") or [], errors)


def _validate_kept(added: list[Obj], before: list[Obj], errors: FieldErrors) -> None:
    by_name = {container.get("name"): container for container in added}
    for container in before:
        found = by_name.get(container["name"])
        if found is None:
            errors.forbidden(FIELD, f'existing ephemeral containers "{container["name"]}" may not be removed')
        elif found != container:
            errors.forbidden(FIELD, f'existing ephemeral containers "{container["name"]}" may not be changed')
