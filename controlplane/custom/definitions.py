"""CustomResourceDefinitions take effect: within the write that stores one, its kind is served.

    create, replace --> rows into the table of kinds      delete --> its objects go, then its rows

So `kubectl apply` of a definition can be followed by objects of its kind at once, and `kubectl wait
--for=condition=established` never has to wait.

Source: Kubernetes documentation "Extend the Kubernetes API with CustomResourceDefinitions"; for the messages
k8s.io/apiextensions-apiserver pkg/apis/apiextensions/validation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from controlplane.custom.json_path import compile_path
from controlplane.custom.kind import rows
from controlplane.errors import FieldErrors
from controlplane.kinds import Kind
from controlplane.meta import Obj, now
from controlplane.validation.meta import one_of, unchanged

if TYPE_CHECKING:
    from controlplane.api import API

DEFINITION = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"
_VERSION = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")


def default(definition: Obj) -> Obj:
    """Names that follow from others, and the only conversion."""
    spec = definition.get("spec") or {}
    names = spec.get("names") or {}
    kind = names.get("kind") or ""
    names = {"singular": kind.lower(), "listKind": f"{kind}List", **names}
    return {**definition, "spec": {"conversion": {"strategy": "None"}, **spec, "names": names}}


def initial_status(definition: Obj) -> Obj:
    """Accepted and established: that is so as soon as it is stored."""
    spec = definition.get("spec") or {}
    stored = [each.get("name", "") for each in spec.get("versions") or () if each.get("storage")]
    names = spec.get("names") or {}
    return {
        "acceptedNames": default(definition)["spec"]["names"] if names else {"kind": "", "plural": ""},
        "conditions": [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            _condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": stored,
    }


def _condition(kind: str, reason: str, message: str) -> Obj:
    base = {"type": kind, "status": "True", "lastTransitionTime": now()}
    return {**base, "reason": reason, "message": message}


def validate(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """Holds a definition against the rules that the rest relies on."""
    spec, name = new["spec"], new["metadata"]["name"]
    names = spec["names"]
    for field, value in (("spec.group", spec.get("group")), ("spec.names.plural", names.get("plural"))):
        if not value:
            errors.required(field)
    if not names.get("kind"):
        errors.required("spec.names.kind")
    if name != f"{names.get('plural')}.{spec.get('group')}":
        errors.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    if spec.get("scope"):
        one_of(errors, "spec.scope", spec["scope"], ("Cluster", "Namespaced"))
    else:
        errors.required("spec.scope")
    if old is not None:
        for field in ("group", "scope"):
            unchanged(errors, f"spec.{field}", spec.get(field), old["spec"].get(field))
        unchanged(errors, "spec.names.kind", names.get("kind"), old["spec"]["names"].get("kind"))
    _validate_versions(spec.get("versions") or [], errors)


def _validate_versions(versions: list[Obj], errors: FieldErrors) -> None:
    if not versions:
        errors.required("spec.versions", "must have at least one version")
    elif sum(bool(version.get("storage")) for version in versions) != 1:
        errors.invalid(
            "spec.versions", len(versions), "must have exactly one version marked as storage version"
        )
    seen = set()
    for index, version in enumerate(versions):
        place, name = f"spec.versions[{index}]", version.get("name", "")
        if not _VERSION.fullmatch(name):
            errors.invalid(
                f"{place}.name", name, "a DNS-1035 label must consist of lower case letters and digits"
            )
        if name in seen:
            errors.duplicate(f"{place}.name", name)
        seen.add(name)
        for field in ("served", "storage"):
            if field not in version:
                errors.required(f"{place}.{field}")
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            errors.required(f"{place}.schema.openAPIV3Schema", "schemas are required")
        elif schema.get("type") != "object":
            errors.invalid(
                f"{place}.schema.openAPIV3Schema.type", schema.get("type", ""), "must be object at the root"
            )
        _validate_columns(version.get("additionalPrinterColumns") or [], place, errors)
        _validate_scale((version.get("subresources") or {}).get("scale"), place, errors)


def _validate_columns(columns: list[Obj], place: str, errors: FieldErrors) -> None:
    for index, column in enumerate(columns):
        where = f"{place}.additionalPrinterColumns[{index}]"
        if not column.get("name"):
            errors.required(f"{where}.name")
        one_of(errors, f"{where}.type", column.get("type", ""), _COLUMN_TYPES)
        path = column.get("jsonPath", "")
        if not path:
            errors.required(f"{where}.jsonPath")
            continue
        try:
            compile_path(path)
        except ValueError as error:
            errors.invalid(f"{where}.jsonPath", path, str(error))


def _validate_scale(scale: Obj | None, place: str, errors: FieldErrors) -> None:
    if scale is None:
        return
    for field in ("specReplicasPath", "statusReplicasPath"):
        if not scale.get(field):
            errors.required(f"{place}.subresources.scale.{field}")


class Definitions:
    """Takes part in every write of a definition (see api.Admitter)."""

    def __init__(self, api: API) -> None:
        self._api = api

    def admit(self, new: Obj, old: Obj | None) -> Obj:
        """See Admitter."""
        return new

    def observe(self, old: Obj | None, new: Obj | None) -> None:
        """See Admitter."""
        if old is not None:
            for row, storage in rows(old):
                if new is None and storage:
                    self._empty(row)
                self._api.kinds.remove(row)
        if new is not None:
            served = {version["name"] for version in new["spec"]["versions"] if version["served"]}
            for row, storage in rows(new):
                self._api.kinds.add(row, stored=storage, served=row.version in served)

    def _empty(self, row: Kind) -> None:
        for obj in tuple(self._api.store.objects(row.key)):
            metadata = obj["metadata"]
            self._api.store.remove(row.key, metadata.get("namespace", ""), metadata["name"])
