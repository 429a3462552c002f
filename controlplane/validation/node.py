"""Nodes: taints, and pod address ranges that stay once given."""

from __future__ import annotations

from ipaddress import ip_network

from controlplane import names
from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.meta import complain, one_of
from controlplane.validation.pod import TAINT_EFFECTS


def validate(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """spec.taints, spec.podCIDR and podCIDRs."""
    spec = new.get("spec") or {}
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        place = f"spec.taints[{index}]"
        key, effect = taint.get("key", ""), taint.get("effect", "")
        if not key:
            errors.required(f"{place}.key")
        else:
            complain(errors, f"{place}.key", key, names.qualified_name(key))
        one_of(errors, f"{place}.effect", effect, TAINT_EFFECTS)
        if (key, effect) in seen:
            errors.duplicate(place, taint)
        seen.add((key, effect))
    ranges = spec.get("podCIDRs") or []
    for index, text in enumerate(ranges):
        if not _is_network(text):
            errors.invalid(
                f"spec.podCIDRs[{index}]",
                text,
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            )
    if spec.get("podCIDR", "") != (ranges[0] if ranges else ""):
        errors.invalid("spec.podCIDRs", ranges, "the first value must be the same as podCIDR")
    before = ((old or {}).get("spec") or {}).get("podCIDRs")
    if before and ranges != before:
        errors.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True
