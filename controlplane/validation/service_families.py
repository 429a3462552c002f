"""Cluster addresses and address families of a Service: whether they fit together, and what may not change.

Source: Kubernetes documentation, "IPv4/IPv6 dual-stack"; API reference, ServiceSpec.
"""

from __future__ import annotations

from controlplane import names
from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.meta import one_of

IP_FAMILIES = ("IPv4", "IPv6")
IP_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
BAD_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
HEADLESS = "None"


def validate(spec: Obj, errors: FieldErrors) -> None:
    """What an author asks for, before anything is given out."""
    first, wanted = spec.get("clusterIP", ""), list(spec.get("clusterIPs") or ())
    if not first and wanted:
        errors.invalid("spec.clusterIPs", wanted, "must be empty when `clusterIP` is not specified")
    elif first and wanted[:1] != [first]:
        errors.invalid("spec.clusterIPs", wanted, "first value must match `clusterIP`")
    families = spec.get("ipFamilies") or ()
    for index, family in enumerate(families):
        one_of(errors, f"spec.ipFamilies[{index}]", family, IP_FAMILIES)
        if family in families[:index]:
            errors.duplicate(f"spec.ipFamilies[{index}]", family)
    if "ipFamilyPolicy" in spec:
        one_of(errors, "spec.ipFamilyPolicy", spec["ipFamilyPolicy"], IP_FAMILY_POLICIES)
    _validate_addresses(wanted, families, errors)


def _validate_addresses(
    wanted: list[str], families: list[str] | tuple[str, ...], errors: FieldErrors
) -> None:
    if wanted[:1] == [HEADLESS]:
        if len(wanted) > 1:
            errors.invalid("spec.clusterIPs", wanted, "'None' must be the first and only value")
        return
    parsed = [names.parse_address(address) for address in wanted]
    for index, (address, found) in enumerate(zip(wanted, parsed, strict=True)):
        if found is None:
            errors.invalid(f"spec.clusterIPs[{index}]", address, BAD_ADDRESS)
    if len(wanted) > 2:
        errors.invalid("spec.clusterIPs", wanted, "may only hold up to 2 values")
    versions = [found.version for found in parsed if found is not None]
    if len(versions) < len(wanted):
        return
    if len(set(versions)) < len(versions):
        errors.invalid("spec.clusterIPs", wanted, "may specify no more than one IP for each IP family")
    for index, (address, version, family) in enumerate(zip(wanted, versions, families, strict=False)):
        if family != f"IPv{version}":
            text = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            errors.invalid(f"spec.clusterIPs[{index}]", address, text)


def validate_change(new: Obj, old: Obj, errors: FieldErrors) -> None:
    """The first address and the first family stay for life; the second ones come and go by ipFamilyPolicy.

    Changes to and from ExternalName begin anew, and a headless Service may change its families.
    """
    if "ExternalName" in (new["type"], old["type"]):
        return
    kept, had = list(new.get("clusterIPs") or ()), list(old.get("clusterIPs") or ())
    headless = [addresses[:1] == [HEADLESS] for addresses in (kept, had)]
    if all(headless):
        return
    if had and not kept:
        errors.invalid("spec.clusterIPs[0]", kept, "primary clusterIP can not be unset")
    _validate_kept("clusterIPs", kept, had, errors)
    if not any(headless):
        _validate_kept(
            "ipFamilies", list(new.get("ipFamilies") or ()), list(old.get("ipFamilies") or ()), errors
        )


def _validate_kept(name: str, now: list[str], then: list[str], errors: FieldErrors) -> None:
    for index, (value, before) in enumerate(zip(now, then, strict=False)):
        if value != before:
            errors.invalid(f"spec.{name}[{index}]", now, "may not change once set")
