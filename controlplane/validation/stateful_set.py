"""StatefulSets: what their pods are called and keep is for life, so little may change."""

from __future__ import annotations

from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.apps import (
    UPDATE_STRATEGIES,
    no_deadline,
    validate_selector_and_template,
    validate_share,
)
from controlplane.validation.meta import non_negative
from controlplane.validation.storage import validate_claim_spec

POLICIES = ("OrderedReady", "Parallel")
RETENTION = ("Delete", "Retain")
MAY_CHANGE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)


def validate(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A StatefulSet."""
    spec = new["spec"]
    for name in ("replicas", "minReadySeconds", "revisionHistoryLimit"):
        non_negative(errors, f"spec.{name}", spec.get(name))
    non_negative(errors, "spec.ordinals.start", (spec.get("ordinals") or {}).get("start"))
    if spec["podManagementPolicy"] not in POLICIES:
        text = "must be 'OrderedReady' or 'Parallel'"
        errors.invalid("spec.podManagementPolicy", spec["podManagementPolicy"], text)
    _validate_update_strategy(spec["updateStrategy"], errors)
    for name, value in spec["persistentVolumeClaimRetentionPolicy"].items():
        if value not in RETENTION:
            errors.unsupported(f"spec.persistentVolumeClaimRetentionPolicy.{name}", value, RETENTION)
    claims = [entry["metadata"].get("name", "") for entry in spec.get("volumeClaimTemplates") or ()]
    validate_selector_and_template(spec, "statefulset", errors, claims)
    no_deadline(spec, "StatefulSet", errors)
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        place = f"spec.volumeClaimTemplates[{index}]"
        if not claim["metadata"].get("name"):
            errors.required(f"{place}.metadata.name")
        validate_claim_spec(claim["spec"], f"{place}.spec", errors)
    if old is not None and _fixed(spec) != _fixed(old["spec"]):
        *most, last = (f"'{name}'" for name in MAY_CHANGE)
        text = f"updates to statefulset spec for fields other than {', '.join(most)} and {last} are forbidden"
        errors.forbidden("spec", text)


def _validate_update_strategy(strategy: Obj, errors: FieldErrors) -> None:
    if strategy["type"] not in UPDATE_STRATEGIES:
        errors.invalid("spec.updateStrategy", strategy, "must be 'RollingUpdate' or 'OnDelete'")
    values = strategy.get("rollingUpdate") or {}
    non_negative(errors, "spec.updateStrategy.rollingUpdate.partition", values.get("partition"))
    if "maxUnavailable" in values:
        place = "spec.updateStrategy.rollingUpdate.maxUnavailable"
        validate_share(values["maxUnavailable"], place, errors)
        if values["maxUnavailable"] in (0, "0%"):
            errors.invalid(place, values["maxUnavailable"], "cannot be 0")


def _fixed(spec: Obj) -> Obj:
    return {name: value for name, value in spec.items() if name not in MAY_CHANGE}
