"""Metadata: names, labels, annotations, finalizers, owners; and the LabelSelector that many specs contain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controlplane import names
from controlplane.errors import FieldErrors
from controlplane.meta import Obj

NameCheck = Callable[[str], tuple[str, ...]]
ANNOTATIONS_LIMIT = 256 * 1024  # bytes in all

subdomain_name: NameCheck = names.dns_subdomain
label_name: NameCheck = names.dns_label
label_name_1035: NameCheck = names.dns_label_1035
path_segment_name: NameCheck = names.path_segment


def validate_metadata(metadata: Obj, namespaced: bool, check_name: NameCheck, errors: FieldErrors) -> None:
    """`metadata` of any object; `check_name` is the syntax of this kind's names."""
    name = metadata.get("name", "")
    if not name:
        errors.required("metadata.name", "name or generateName is required")
    else:
        complain(errors, "metadata.name", name, check_name(name))
    if namespaced:
        complain(errors, "metadata.namespace", metadata["namespace"], names.dns_label(metadata["namespace"]))
    elif metadata.get("namespace"):
        errors.forbidden("metadata.namespace", "not allowed on this type")
    if metadata.get("labels"):
        validate_labels(metadata["labels"], "metadata.labels", errors)
    if metadata.get("annotations"):
        _validate_annotations(metadata["annotations"], errors)
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        complain(errors, f"metadata.finalizers[{index}]", finalizer, names.qualified_name(finalizer))
    if metadata.get("ownerReferences"):
        _validate_owners(metadata["ownerReferences"], errors)


def complain(errors: FieldErrors, field: str, value: Any, complaints: tuple[str, ...]) -> None:
    """Adds what a function of names.py found."""
    for complaint in complaints:
        errors.invalid(field, value, complaint)


def validate_labels(labels: dict[str, str], field: str, errors: FieldErrors) -> None:
    """Keys are qualified names, values at most 63 characters."""
    for key, value in labels.items():
        complain(errors, field, key, names.qualified_name(key))
        complain(errors, field, value, names.label_value(value))


def _validate_annotations(annotations: dict[str, str], errors: FieldErrors) -> None:
    for key in annotations:
        complain(errors, "metadata.annotations", key, names.qualified_name(key.lower()))
    if sum(len(key) + len(value) for key, value in annotations.items()) > ANNOTATIONS_LIMIT:
        errors.too_long("metadata.annotations", ANNOTATIONS_LIMIT)


def _validate_owners(owners: list[Obj], errors: FieldErrors) -> None:
    for index, owner in enumerate(owners):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                errors.invalid(
                    f"metadata.ownerReferences[{index}].{field}", owner.get(field, ""), "must not be empty"
                )
    controllers = [owner.get("name", "") for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        text = f"Only one reference can have Controller set to true. Found {', '.join(controllers)}"
        errors.invalid("metadata.ownerReferences", owners, text)


def validate_selector(selector: Obj, field: str, errors: FieldErrors) -> None:
    """A LabelSelector object: matchLabels and matchExpressions."""
    validate_labels(selector.get("matchLabels") or {}, f"{field}.matchLabels", errors)
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        place = f"{field}.matchExpressions[{index}]"
        key, operator, values = (
            expression.get("key", ""),
            expression.get("operator", ""),
            expression.get("values") or [],
        )
        complain(errors, f"{place}.key", key, names.qualified_name(key))
        if operator in ("In", "NotIn"):
            if not values:
                errors.required(f"{place}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                errors.forbidden(
                    f"{place}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
        else:
            errors.invalid(f"{place}.operator", operator, "not a valid selector operator")
        for position, value in enumerate(values):
            complain(errors, f"{place}.values[{position}]", value, names.label_value(value))


def one_of(errors: FieldErrors, field: str, value: Any, choices: tuple[str, ...]) -> None:
    """The value must be one of a few words."""
    if value not in choices:
        if value in (None, ""):
            errors.required(field)
        else:
            errors.unsupported(field, value, choices)


def non_negative(errors: FieldErrors, field: str, value: int | None) -> None:
    """Absent, 0 or more."""
    if value is not None and value < 0:
        errors.invalid(field, value, "must be greater than or equal to 0")


def unchanged(errors: FieldErrors, field: str, new: Any, old: Any) -> None:
    """A field that cannot be changed after creation."""
    if new != old:
        errors.invalid(field, new, "field is immutable")
