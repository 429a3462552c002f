"""What a lab takes and does not act upon, told to whoever writes it (the Warning header; kubectl prints it).

A manifest for a real cluster is never refused for that: it applies unchanged, and says what will be different here.

Source: Kubernetes documentation "Kubernetes API Concepts" (warnings); RFC 9111, Warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controlplane.meta import Obj

_KINDS = {
    "HorizontalPodAutoscaler": "nothing is measured in a lab, so nothing is scaled",
    "ResourceQuota": "nothing is counted in a lab",
    "ValidatingWebhookConfiguration": "no webhook is called in a lab",
    "MutatingWebhookConfiguration": "no webhook is called in a lab",
    "Role": "everybody may do everything in a lab",
    "ClusterRole": "everybody may do everything in a lab",
    "RoleBinding": "everybody may do everything in a lab",
    "ClusterRoleBinding": "everybody may do everything in a lab",
}
_SECURITY = ("seLinuxOptions", "seccompProfile", "appArmorProfile", "procMount", "windowsOptions")
_POD = ("hostIPC", "hostUsers", "setHostnameAsFQDN", "runtimeClassName")


def notes(obj: Obj) -> Iterator[str]:
    """One line for each thing without effect: field: fact."""
    kind = obj.get("kind", "")
    if kind in _KINDS:
        yield f"{kind}: has no effect: {_KINDS[kind]}"
        return
    if kind == "CustomResourceDefinition":
        yield from _of_definition(obj)
        return
    place, spec = _pod_spec(kind, obj)
    if spec is not None:
        yield from _of_pod(place, spec)


def _of_definition(obj: Obj) -> Iterator[str]:
    """Rules in CEL are kept, and not evaluated; no webhook converts."""
    if ((obj.get("spec") or {}).get("conversion") or {}).get("strategy") == "Webhook":
        yield "spec.conversion: has no effect: no webhook is called in a lab: versions differ in apiVersion only"
    for index, version in enumerate((obj.get("spec") or {}).get("versions") or ()):
        if _mentions(version.get("schema"), "x-kubernetes-validations"):
            yield f"spec.versions[{index}].schema: x-kubernetes-validations: has no effect: no CEL is evaluated"


def _mentions(value: Any, name: str) -> bool:
    """Whether a field of this name is somewhere in a schema."""
    if isinstance(value, dict):
        return name in value or any(_mentions(part, name) for part in value.values())
    return isinstance(value, list) and any(_mentions(part, name) for part in value)


def _pod_spec(kind: str, obj: Obj) -> tuple[str, Any]:
    """Where the pod of an object is described, and how; None when it has none."""
    spec: Any = obj.get("spec") or {}
    if kind == "Pod":
        return "spec", spec
    if kind == "CronJob":
        template = ((spec.get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
        return "spec.jobTemplate.spec.template.spec", template.get("spec")
    template = spec.get("template")
    if isinstance(template, dict) and "containers" in (template.get("spec") or {}):
        return "spec.template.spec", template["spec"]
    return "", None


def _of_pod(place: str, spec: Obj) -> Iterator[str]:
    for name in _POD:
        if spec.get(name):
            yield f"{place}.{name}: has no effect in a lab"
    for name in _SECURITY:
        if name in (spec.get("securityContext") or {}):
            yield f"{place}.securityContext.{name}: has no effect in a lab"
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            where = f"{place}.{kind}[{index}]"
            for name in _SECURITY:
                if name in (container.get("securityContext") or {}):
                    yield f"{where}.securityContext.{name}: has no effect in a lab"
            if container.get("volumeDevices"):
                yield f"{where}.volumeDevices: has no effect in a lab: there are no block devices"
