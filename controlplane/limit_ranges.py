"""LimitRanges: what a container requests and may use when its author said nothing, and within which bounds. Pure.

Source: Kubernetes documentation "Limit Ranges"; k8s.io/kubernetes plugin/pkg/admission/limitranger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from controlplane.meta import Obj
from controlplane.quantity import parse, show

Amounts = dict[str, Fraction]


def items(ranges: Iterable[Obj], kind: str) -> Iterator[Obj]:
    """The rules for a kind of thing: Container, Pod, PersistentVolumeClaim."""
    for one in ranges:
        for item in (one.get("spec") or {}).get("limits") or ():
            if item.get("type") == kind:
                yield item


def apply(spec: Obj, ranges: Sequence[Obj]) -> Obj:
    """The spec of a pod with the defaults of the LimitRanges."""
    limits: Obj = {}
    requests: Obj = {}
    for item in items(ranges, "Container"):
        limits |= {**(item.get("max") or {}), **(item.get("default") or {})}
        requests |= {
            **(item.get("min") or {}),
            **(item.get("default") or item.get("max") or {}),
            **(item.get("defaultRequest") or {}),
        }

    def filled(container: Obj) -> Obj:
        resources = container.get("resources") or {}
        own = resources.get("limits") or {}
        asked = {**requests, **own, **(resources.get("requests") or {})}
        merged = {"limits": {**limits, **own}, "requests": asked}
        return {
            **container,
            "resources": {**resources, **{key: value for key, value in merged.items() if value}},
        }

    filled_spec = {**spec, "containers": [filled(container) for container in spec.get("containers") or ()]}
    if spec.get("initContainers"):
        filled_spec["initContainers"] = [filled(container) for container in spec["initContainers"]]
    return filled_spec


def complaints(spec: Obj, ranges: Sequence[Obj]) -> list[str]:
    """What of the pod is out of bounds, in the server's words."""
    containers = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
    found: list[str] = []
    for item in items(ranges, "Container"):
        for container in containers:
            found += _out_of_bounds(_sum([container], "requests"), _sum([container], "limits"), item)
    for item in items(ranges, "Pod"):
        together = spec.get("containers") or ()
        found += _out_of_bounds(_sum(together, "requests"), _sum(together, "limits"), item)
    return list(dict.fromkeys(found))


def _sum(containers: Iterable[Obj], part: str) -> Amounts:
    total: Amounts = {}
    for container in containers:
        for resource, text in ((container.get("resources") or {}).get(part) or {}).items():
            total[resource] = total.get(resource, Fraction(0)) + parse(text)
    return total


def _out_of_bounds(requests: Amounts, limits: Amounts, item: Obj) -> Iterator[str]:
    kind = item["type"]
    for resource, least in (item.get("min") or {}).items():
        if resource not in requests:
            yield f"minimum {resource} usage per {kind} is {least}.  No request is specified"
        elif requests[resource] < parse(least):
            yield f"minimum {resource} usage per {kind} is {least}, but request is {show(requests[resource])}"
    for resource, most in (item.get("max") or {}).items():
        if resource not in limits:
            yield f"maximum {resource} usage per {kind} is {most}.  No limit is specified"
        elif limits[resource] > parse(most):
            yield f"maximum {resource} usage per {kind} is {most}, but limit is {show(limits[resource])}"
