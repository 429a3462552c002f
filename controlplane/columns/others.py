"""Storage, policies of disruption and scaling, roles."""

from __future__ import annotations

from collections.abc import Callable

from controlplane.columns.cell import AGE, NAME, UNKNOWN, Column, at, joined
from controlplane.meta import Obj, annotations_of

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(obj: Obj) -> str:
    return ",".join(_MODES.get(mode, mode) for mode in obj["spec"].get("accessModes") or ())


def _claim(volume: Obj) -> str:
    reference = volume["spec"].get("claimRef")
    return f"{reference['namespace']}/{reference['name']}" if reference else ""


def _class_name(obj: Obj) -> str:
    default = annotations_of(obj).get(DEFAULT_CLASS) == "true"
    return f"{obj['metadata']['name']} (default)" if default else str(obj["metadata"]["name"])


CLAIM = (
    NAME,
    Column("Status", at("status", "phase", default="")),
    Column("Volume", at("spec", "volumeName", default="")),
    Column("Capacity", at("status", "capacity", "storage", default="")),
    Column("Access Modes", _modes),
    Column("StorageClass", at("spec", "storageClassName", default="")),
    Column("VolumeAttributesClass", at("spec", "volumeAttributesClassName", default="<unset>")),
    AGE,
    Column("VolumeMode", at("spec", "volumeMode", default="<unset>"), priority=1),
)
VOLUME = (
    NAME,
    Column("Capacity", at("spec", "capacity", "storage", default="")),
    Column("Access Modes", _modes),
    Column("Reclaim Policy", at("spec", "persistentVolumeReclaimPolicy", default="")),
    Column("Status", at("status", "phase", default="")),
    Column("Claim", _claim),
    Column("StorageClass", at("spec", "storageClassName", default="")),
    Column("VolumeAttributesClass", at("spec", "volumeAttributesClassName", default="<unset>")),
    Column("Reason", at("status", "reason", default="")),
    AGE,
    Column("VolumeMode", at("spec", "volumeMode", default="<unset>"), priority=1),
)
STORAGE_CLASS = (
    Column("Name", _class_name),
    Column("Provisioner", at("provisioner")),
    Column("ReclaimPolicy", at("reclaimPolicy", default="")),
    Column("VolumeBindingMode", at("volumeBindingMode", default="")),
    Column("AllowVolumeExpansion", lambda obj: str(bool(obj.get("allowVolumeExpansion"))).lower()),
    AGE,
)


def _scaled(obj: Obj) -> str:
    target = obj["spec"]["scaleTargetRef"]
    return f"{target['kind']}/{target['name']}"


def _metrics(obj: Obj) -> str:
    return joined(f"{entry.get('type', '')}: {UNKNOWN}" for entry in obj["spec"].get("metrics") or ())


AUTOSCALER = (
    NAME,
    Column("Reference", _scaled),
    Column("Targets", _metrics),
    Column("MinPods", at("spec", "minReplicas", default=1)),
    Column("MaxPods", at("spec", "maxReplicas", default=0), "integer"),
    Column("Replicas", at("status", "currentReplicas", default=0), "integer"),
    AGE,
)
DISRUPTION_BUDGET = (
    NAME,
    Column("Min Available", at("spec", "minAvailable", default="N/A")),
    Column("Max Unavailable", at("spec", "maxUnavailable", default="N/A")),
    Column("Allowed Disruptions", at("status", "disruptionsAllowed", default=0), "integer"),
    AGE,
)
PRIORITY_CLASS = (
    NAME,
    Column("Value", at("value", default=0), "integer"),
    Column("Global-Default", lambda obj: str(bool(obj.get("globalDefault"))).lower()),
    AGE,
    Column("PreemptionPolicy", at("preemptionPolicy", default="PreemptLowerPriority")),
)


def _subjects(kind: str) -> Callable[[Obj], str]:
    def value(obj: Obj) -> str:
        found = [entry for entry in obj.get("subjects") or () if entry.get("kind") == kind]
        return ", ".join("/".join(filter(None, (entry.get("namespace"), entry["name"]))) for entry in found)

    return value


BINDING = (
    NAME,
    Column("Role", lambda obj: f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"),
    AGE,
    Column("Users", _subjects("User"), priority=1),
    Column("Groups", _subjects("Group"), priority=1),
    Column("ServiceAccounts", _subjects("ServiceAccount"), priority=1),
)


def _used(prefix: str) -> Callable[[Obj], str]:
    """What a ResourceQuota has of its requests, or of its limits."""

    def value(obj: Obj) -> str:
        used = (obj.get("status") or {}).get("used") or {}
        hard = (obj.get("spec") or {}).get("hard") or {}
        shown = [name for name in sorted(hard) if name.startswith("limits.") == (prefix == "limits.")]
        return ", ".join(f"{name}: {used.get(name, 0)}/{hard[name]}" for name in shown)

    return value


QUOTA = (NAME, Column("Request", _used("requests.")), Column("Limit", _used("limits.")), AGE)
WEBHOOKS = (NAME, Column("Webhooks", lambda obj: len(obj.get("webhooks") or ()), "integer"), AGE)
