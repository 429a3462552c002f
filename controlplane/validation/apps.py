"""Deployments, ReplicaSets and DaemonSets: replicas, a selector that matches the template, a strategy that can
make progress.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.selectors import from_object
from controlplane.validation.meta import non_negative, unchanged, validate_selector
from controlplane.validation.pod import validate_template

STRATEGIES = ("Recreate", "RollingUpdate")
UPDATE_STRATEGIES = ("OnDelete", "RollingUpdate")
_PERCENT = re.compile(r"[0-9]+%")


def replica_set(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """replicas, selector, template, minReadySeconds."""
    spec = new["spec"]
    non_negative(errors, "spec.replicas", spec["replicas"])
    non_negative(errors, "spec.minReadySeconds", spec.get("minReadySeconds"))
    validate_selector_and_template(spec, "deployment", errors)
    if old is not None:
        unchanged(errors, "spec.selector", spec.get("selector"), old["spec"].get("selector"))


def replication_controller(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A selector that is not empty and finds the template's pods; it may be changed."""
    spec, selector = new["spec"], new["spec"].get("selector") or {}
    non_negative(errors, "spec.replicas", spec["replicas"])
    non_negative(errors, "spec.minReadySeconds", spec.get("minReadySeconds"))
    if not selector:
        errors.required("spec.selector")
    if spec.get("template") is None:
        errors.required("spec.template")
        return
    validate_template(spec["template"], "spec.template", errors)
    labels = spec["template"]["metadata"].get("labels") or {}
    if not selector.items() <= labels.items():
        errors.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def deployment(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """Besides a ReplicaSet's rules: strategy, history limit, progress deadline."""
    spec = new["spec"]
    replica_set(new, old, errors)
    non_negative(errors, "spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    non_negative(errors, "spec.progressDeadlineSeconds", spec.get("progressDeadlineSeconds"))
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        errors.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
    _validate_strategy(spec["strategy"], errors)


def validate_selector_and_template(
    spec: Obj, kind: str, errors: FieldErrors, claims: Collection[str] = ()
) -> None:
    """A selector that is not empty, and a template whose pods it finds; `claims` become volumes."""
    selector, template = spec.get("selector"), spec.get("template")
    before = len(errors.items)
    if selector is None:
        errors.required("spec.selector")
    else:
        validate_selector(selector, "spec.selector", errors)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            errors.invalid("spec.selector", selector, f"empty selector is invalid for {kind}")
    parsed = from_object(selector) if len(errors.items) == before else None
    if template is None:
        errors.required("spec.template")
        return
    validate_template(template, "spec.template", errors, claims=claims)
    labels = template["metadata"].get("labels") or {}
    if parsed is not None and parsed.requirements and not parsed.matches(labels):
        errors.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def daemon_set(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """selector, template, an update strategy that takes either the old pod away first or the new one."""
    spec = new["spec"]
    non_negative(errors, "spec.minReadySeconds", spec.get("minReadySeconds"))
    non_negative(errors, "spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    validate_selector_and_template(spec, "daemonset", errors)
    no_deadline(spec, "DaemonSet", errors)
    if old is not None:
        unchanged(errors, "spec.selector", spec.get("selector"), old["spec"].get("selector"))
    kind = spec["updateStrategy"]["type"]
    if kind not in UPDATE_STRATEGIES:
        errors.unsupported("spec.updateStrategy.type", kind, UPDATE_STRATEGIES)
    if kind == "RollingUpdate":
        _validate_daemon_update(spec["updateStrategy"]["rollingUpdate"], errors)


def _validate_daemon_update(values: Obj, errors: FieldErrors) -> None:
    place = "spec.updateStrategy.rollingUpdate"
    for name in ("maxUnavailable", "maxSurge"):
        validate_share(values[name], f"{place}.{name}", errors)
    missing, extra = (values[name] in (0, "0%") for name in ("maxUnavailable", "maxSurge"))
    if missing and extra:
        errors.invalid(f"{place}.maxUnavailable", values["maxUnavailable"], "cannot be 0 when maxSurge is 0")
    elif not missing and not extra:
        errors.invalid(
            f"{place}.maxSurge", values["maxSurge"], "may not be set when maxUnavailable is non-zero"
        )


def controller_revision(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A revision's number may move, what it holds may not."""
    non_negative(errors, "revision", new.get("revision", 0))
    if "data" not in new:
        errors.required("data", "data is mandatory")
    elif old is not None:
        unchanged(errors, "data", new["data"], old.get("data"))


def no_deadline(spec: Obj, kind: str, errors: FieldErrors) -> None:
    """Pods that are to run for ever have no deadline."""
    if "activeDeadlineSeconds" in ((spec.get("template") or {}).get("spec") or {}):
        text = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.forbidden("spec.template.spec.activeDeadlineSeconds", text)


def _validate_strategy(strategy: Obj, errors: FieldErrors) -> None:
    kind = strategy["type"]
    if kind not in STRATEGIES:
        errors.unsupported("spec.strategy.type", kind, STRATEGIES)
    if kind == "Recreate" and strategy.get("rollingUpdate"):
        errors.forbidden(
            "spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"
        )
    if kind == "RollingUpdate":
        values = strategy["rollingUpdate"]
        for name in ("maxSurge", "maxUnavailable"):
            validate_share(values[name], f"spec.strategy.rollingUpdate.{name}", errors)
        if values["maxSurge"] in (0, "0%") and values["maxUnavailable"] in (0, "0%"):
            errors.invalid(
                "spec.strategy.rollingUpdate.maxUnavailable",
                values["maxUnavailable"],
                "may not be 0 when `maxSurge` is 0",
            )


def validate_share(value: int | str, field: str, errors: FieldErrors) -> None:
    """A number of pods, or a percentage of them."""
    if isinstance(value, int):
        non_negative(errors, field, value)
    elif not _PERCENT.fullmatch(value):
        errors.invalid(
            field,
            value,
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%')",
        )
    elif field.endswith("maxUnavailable") and int(value[:-1]) > 100:
        errors.invalid(field, value, "must not be greater than 100%")
