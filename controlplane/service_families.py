"""The address families of a Service: what its author says, what it was before, and what follows from that.

    clusterIP, clusterIPs        link:    what one of the two says, the other says too
    ipFamilyPolicy, ipFamilies   settle:  the policy's default, the families that follow, or why it cannot be

    SingleStack        one address, of the first family
    PreferDualStack    one of each family that the cluster has
    RequireDualStack   one of each family, or refused

Invariants: a Service becomes single or dual stack only when its author says so, by ipFamilyPolicy; its first family,
and its first address, are its own for life; only the second ever comes or goes.

Sources: Kubernetes documentation, "IPv4/IPv6 dual-stack", which lists every case; KEP-563; k8s.io/kubernetes
pkg/registry/core/service/storage.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.service_families import validate

HEADLESS = "None"
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
BOTH = ("IPv4", "IPv6")
FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


def link(spec: Obj, before: Obj) -> None:
    """Bring clusterIP and clusterIPs of `spec` together, as far as it is clear what is meant.

    An update that says nothing keeps what the Service has. One that changes only one of the two means both; whoever
    asks for an address in clusterIPs alone, on creation, is refused by `settle`.
    """
    had, first = list(before.get("clusterIPs") or ()), before.get("clusterIP", "")
    wanted = list(spec.get("clusterIPs") or ())
    if first and not spec.get("clusterIP"):
        spec["clusterIP"] = first
    if spec.get("clusterIP"):
        if not wanted:
            wanted = had if spec["clusterIP"] == first else [spec["clusterIP"]]
        elif wanted == had and spec["clusterIP"] != first:
            wanted = [spec["clusterIP"]]
    spec["clusterIPs"] = wanted


def settle(spec: Obj, before: Obj, configured: Sequence[str], found: FieldErrors) -> None:
    """Fill in ipFamilyPolicy and ipFamilies of `spec`, and drop what a change to SingleStack gives back.

    `configured`: the cluster's families, its default first; `before`: the Service's spec until now, empty for a new one
    or one that was an ExternalName. What cannot be goes into `found`, and then `spec` is of no use.
    """
    if _unchanged_preference(spec, before):
        return
    headless = spec.get("clusterIP") == HEADLESS
    selectorless = headless and not spec.get("selector")
    default = REQUIRE if selectorless else SINGLE
    policy: str = spec.get("ipFamilyPolicy") or before.get("ipFamilyPolicy") or default
    spec["ipFamilyPolicy"] = policy
    validate(spec, found)
    if not found and before:
        _release(spec, before, found)
    if not found:
        _check_single(spec, found)
        families = _inferred(spec, configured, found)
    if found:
        return
    if not selectorless:
        _check_configured(policy, families, configured, found)
    families = families or [configured[0]]
    if policy != SINGLE and len(families) == 1 and (selectorless or len(configured) == 2):
        families += [family for family in BOTH if family not in families]
    spec["ipFamilies"] = families


def _unchanged_preference(spec: Obj, before: Obj) -> bool:
    """Whether it preferred to be dual stack and still does: it is not touched, even if the cluster has changed."""
    return (
        spec.get("ipFamilyPolicy") == before.get("ipFamilyPolicy") == PREFER
        and spec.get("type") == before.get("type")
        and bool(spec.get("ipFamilies"))
        and all((spec.get(name) or []) == (before.get(name) or []) for name in ("clusterIPs", "ipFamilies"))
    )


def _release(spec: Obj, before: Obj, found: FieldErrors) -> None:
    """Only SingleStack gives the second address back: of what is as before, the first entry stays."""
    for name, thing in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        now, then = spec.get(name) or [], before.get(name) or []
        if spec["ipFamilyPolicy"] == SINGLE and now == then:
            spec[name] = now[:1]
        elif spec["ipFamilyPolicy"] != SINGLE and 0 < len(now) < len(then):
            text = f"must be 'SingleStack' to release the secondary {thing}"
            found.invalid("spec.ipFamilyPolicy", spec["ipFamilyPolicy"], text)


def _check_single(spec: Obj, found: FieldErrors) -> None:
    for name, things in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")):
        if spec["ipFamilyPolicy"] == SINGLE and len(spec.get(name) or ()) == 2:
            text = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {things} are specified"
            found.invalid("spec.ipFamilyPolicy", SINGLE, text)


def _inferred(spec: Obj, configured: Sequence[str], found: FieldErrors) -> list[str]:
    """The families that are named, and those of the addresses that are asked for beyond them."""
    families, wanted = list(spec.get("ipFamilies") or ()), list(spec["clusterIPs"])
    for index, address in enumerate(wanted[len(families) :], len(families)):
        if address != HEADLESS:
            family = f"IPv{ip_address(address).version}"
            if family not in configured:
                found.invalid(
                    f"spec.clusterIPs[{index}]", wanted, f"{family} is not configured on this cluster"
                )
            families.append(family)
    return families


def _check_configured(
    policy: str, families: Sequence[str], configured: Sequence[str], found: FieldErrors
) -> None:
    if policy == REQUIRE and len(configured) < 2:
        found.invalid("spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services")
    for index, family in enumerate(families):
        if family not in configured:
            found.invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")


def drop(spec: Obj, before: Obj) -> None:
    """A Service that becomes an ExternalName leaves its addresses and families; what its author asks for now is left
    to validation.
    """
    for name in FIELDS:
        if spec.get(name) == before.get(name):
            spec.pop(name, None)
