"""Pods and pod templates: containers, volumes, and what may change while a pod lives."""

from __future__ import annotations

from collections.abc import Collection

from controlplane import names
from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation import dns_config
from controlplane.validation.container import validate_container
from controlplane.validation.ephemeral import validate as validate_ephemeral
from controlplane.validation.meta import complain, non_negative, one_of, validate_labels

RESTART_POLICIES = ("Always", "Never", "OnFailure")
TOLERATION_OPERATORS = ("Equal", "Exists")
TAINT_EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")
_MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A pod of its own."""
    if old is not None:
        if new["spec"] != old["spec"]:
            validate_pod_spec(new["spec"], "spec", errors)
            _validate_change(new["spec"], old["spec"], errors)
        return
    validate_pod_spec(new["spec"], "spec", errors)
    validate_ephemeral(new, None, errors)


def validate_template(
    template: Obj,
    field: str,
    errors: FieldErrors,
    *,
    restart_policies: tuple[str, ...] = ("Always",),
    claims: Collection[str] = (),
) -> None:
    """The pod template of a workload; `restart_policies` are those that this workload allows, `claims` the volumes
    that it adds itself.
    """
    validate_labels((template.get("metadata") or {}).get("labels") or {}, f"{field}.labels", errors)
    spec = template.get("spec") or {}
    validate_pod_spec(spec, f"{field}.spec", errors, claims)
    policy = spec.get("restartPolicy")
    if policy in RESTART_POLICIES and policy not in restart_policies:
        errors.unsupported(f"{field}.spec.restartPolicy", policy, restart_policies)


def validate_pod_spec(spec: Obj, field: str, errors: FieldErrors, claims: Collection[str] = ()) -> None:
    """What the kubelet will read; `claims` are volumes that come from elsewhere."""
    volumes = _validate_volumes(spec.get("volumes") or [], f"{field}.volumes", errors) | set(claims)
    containers = spec.get("containers") or []
    if not containers:
        errors.required(f"{field}.containers")
    seen: set[str] = set()
    for name, entries in (("containers", containers), ("initContainers", spec.get("initContainers") or ())):
        for index, container in enumerate(entries):
            place = f"{field}.{name}[{index}]"
            validate_container(container, place, volumes, errors)
            if container.get("name") in seen:
                errors.duplicate(f"{place}.name", container["name"])
            seen.add(container.get("name", ""))
    one_of(errors, f"{field}.restartPolicy", spec.get("restartPolicy"), RESTART_POLICIES)
    dns_config.validate(spec, field, errors)
    non_negative(errors, f"{field}.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds"))
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            complain(errors, f"{field}.{name}", spec[name], names.dns_label(spec[name]))
    if spec.get("nodeSelector"):
        validate_labels(spec["nodeSelector"], f"{field}.nodeSelector", errors)
    if spec.get("nodeName"):
        complain(errors, f"{field}.nodeName", spec["nodeName"], names.dns_subdomain(spec["nodeName"]))
    _validate_tolerations(spec.get("tolerations") or [], f"{field}.tolerations", errors)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        address = alias.get("ip", "")
        if names.parse_address(address) is None:
            errors.invalid(
                f"{field}.hostAliases[{index}].ip",
                address,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            )


def _validate_volumes(volumes: list[Obj], field: str, errors: FieldErrors) -> set[str]:
    """Returns the names of the volumes."""
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        place, name = f"{field}[{index}]", volume.get("name", "")
        if not name:
            errors.required(f"{place}.name")
        elif name in seen:
            errors.duplicate(f"{place}.name", name)
        else:
            complain(errors, f"{place}.name", name, names.dns_label(name))
        seen.add(name)
        if len(volume) > 2:
            errors.forbidden(place, "may not specify more than 1 volume type")
        _validate_volume_source(volume, place, errors)
    return seen


def _validate_volume_source(volume: Obj, place: str, errors: FieldErrors) -> None:
    if "configMap" in volume and not volume["configMap"].get("name"):
        errors.required(f"{place}.configMap.name")
    if "secret" in volume and not volume["secret"].get("secretName"):
        errors.required(f"{place}.secret.secretName")
    if "hostPath" in volume and not volume["hostPath"].get("path"):
        errors.required(f"{place}.hostPath.path")


def _validate_tolerations(tolerations: list[Obj], field: str, errors: FieldErrors) -> None:
    for index, toleration in enumerate(tolerations):
        place = f"{field}[{index}]"
        key, operator = toleration.get("key", ""), toleration.get("operator", "Equal")
        if key:
            complain(errors, f"{place}.key", key, names.qualified_name(key))
        elif operator != "Exists":
            errors.invalid(
                f"{place}.operator",
                operator,
                'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            )
        if operator == "Exists" and toleration.get("value"):
            errors.invalid(
                f"{place}.operator", toleration["value"], "value must be empty when `operator` is 'Exists'"
            )
        elif operator not in TOLERATION_OPERATORS:
            errors.unsupported(f"{place}.operator", operator, TOLERATION_OPERATORS)
        if toleration.get("effect"):
            one_of(errors, f"{place}.effect", toleration["effect"], TAINT_EFFECTS)
        if "tolerationSeconds" in toleration and toleration.get("effect") != "NoExecute":
            errors.invalid(
                f"{place}.effect",
                toleration.get("effect", ""),
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            )


def _validate_change(new: Obj, old: Obj, errors: FieldErrors) -> None:
    """Only images, an earlier deadline and more tolerations."""
    added = new.get("tolerations") or []
    if [entry for entry in old.get("tolerations") or () if entry not in added]:
        errors.forbidden(
            "spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"
        )
    if _comparable(new) != _comparable(old):
        errors.forbidden("spec", _MAY_CHANGE)


def _comparable(spec: Obj) -> Obj:
    rest = {
        name: value for name, value in spec.items() if name not in ("activeDeadlineSeconds", "tolerations")
    }
    for name in ("containers", "initContainers"):
        rest[name] = [{**container, "image": ""} for container in spec.get(name) or ()]
    return rest
