"""The little that kinds without a controller are held to beyond their schema."""

from __future__ import annotations

from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.apps import validate_share
from controlplane.validation.meta import validate_selector

HIGHEST_PRIORITY = 1_000_000_000


def disruption_budget(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """Either how many must stay, or how many may go."""
    spec = new.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        errors.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for name in ("minAvailable", "maxUnavailable"):
        if name in spec:
            validate_share(spec[name], f"spec.{name}", errors)
    if "selector" in spec:
        validate_selector(spec["selector"], "spec.selector", errors)


def autoscaler(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A HorizontalPodAutoscaler: what it scales, between which bounds. Nothing is measured in a lab."""
    spec = new.get("spec") or {}
    most, least = spec.get("maxReplicas", 0), spec.get("minReplicas", 1)
    if least < 1:
        errors.invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        errors.invalid("spec.maxReplicas", most, "must be greater than 0")
    elif most < least:
        errors.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    target = spec.get("scaleTargetRef") or {}
    for name in ("kind", "name"):
        if not target.get(name):
            errors.required(f"spec.scaleTargetRef.{name}")


def priority_class(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A PriorityClass: its value is for ever."""
    value, name = new.get("value", 0), new["metadata"]["name"]
    if value > HIGHEST_PRIORITY and not name.startswith("system-"):
        text = f"maximum allowed value of a user defined priority is {HIGHEST_PRIORITY}"
        errors.forbidden("value", text)
    if old is not None and value != old.get("value", 0):
        errors.forbidden("value", "may not be changed in an update.")


def role_binding(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A RoleBinding or ClusterRoleBinding: the role is for ever."""
    reference = new.get("roleRef") or {}
    if not reference.get("name"):
        errors.required("roleRef.name")
    if reference.get("kind") not in ("ClusterRole", "Role"):
        errors.unsupported("roleRef.kind", reference.get("kind", ""), ("ClusterRole", "Role"))
    if old is not None and reference != old.get("roleRef"):
        errors.invalid("roleRef", reference, "cannot change roleRef")
