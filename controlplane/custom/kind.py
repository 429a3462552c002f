"""The row of a custom resource in the table of kinds: one for each version that its definition serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from controlplane.columns import Column
from controlplane.columns.cell import AGE, NAME, since
from controlplane.custom import structural
from controlplane.custom.json_path import compile_path
from controlplane.errors import FieldErrors
from controlplane.kinds import Kind
from controlplane.meta import Obj
from controlplane.schema.decode import PREFIX, Scalar, Shape, shape

OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_STRING = Scalar((str,), "string")


@dataclass(frozen=True)
class CustomKind(Kind):
    """A row. `own_schema` is what the definition says of this version, `columns_shown` its columns."""

    own_schema: Obj = field(default_factory=dict)
    own_shape: Shape = field(default_factory=Shape)
    columns_shown: tuple[Column, ...] = ()
    singular_name: str = ""

    @property
    def key(self) -> str:
        """See Kind: the same for all versions."""
        return f"{self.name}.{self.group}"

    @property
    def singular(self) -> str:
        """See Kind."""
        return self.singular_name

    @property
    def columns(self) -> tuple[Column, ...]:
        """See Kind."""
        return self.columns_shown

    @property
    def schema(self) -> Obj:
        """See Kind."""
        properties = {
            **(self.own_schema.get("properties") or {}),
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"$ref": PREFIX + OBJECT_META},
        }
        return {**self.own_schema, "type": "object", "properties": properties}

    @property
    def status_schema(self) -> Obj:
        """See Kind: what is missing in a status stays missing."""
        return {}

    @property
    def shape(self) -> Shape:
        """See Kind."""
        return self.own_shape


def rows(definition: Obj) -> list[tuple[CustomKind, bool]]:
    """A row for each version of a definition, and whether it is the storage version. The definition is valid."""
    return [(_row(definition, version), version["storage"]) for version in definition["spec"]["versions"]]


def _row(definition: Obj, version: Obj) -> CustomKind:
    spec, names = definition["spec"], definition["spec"]["names"]
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    subresources = version.get("subresources") or {}
    known = {"apiVersion": _STRING, "kind": _STRING, "metadata": shape(OBJECT_META)}
    group = ".".join(reversed(spec["group"].split(".")))
    return CustomKind(
        names["kind"],
        names["plural"],
        f"{group}.{version['name']}.{names['kind']}",
        group=spec["group"],
        version=version["name"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(subresources),
        selectable=frozenset(
            each.get("jsonPath", "").removeprefix(".") for each in version.get("selectableFields") or ()
        ),
        default=lambda obj: structural.default(obj, schema),
        validate=_validator(schema),
        initial_status=None,
        counts_generations=True,
        validates_status=True,
        scale_paths=_scale_paths(subresources.get("scale")),
        own_schema=schema,
        own_shape=structural.Structural(schema, known),
        columns_shown=(NAME, *(_columns(version) or (AGE,))),
        singular_name=names["singular"],
    )


def _validator(schema: Obj) -> Callable[[Obj, Obj | None, FieldErrors], None]:
    def validate(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
        structural.validate(new, schema, "", errors)

    return validate


def _scale_paths(scale: Obj | None) -> tuple[str, str, str]:
    if scale is None:
        return ("", "", "")
    return (scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", ""))


def _columns(version: Obj) -> tuple[Column, ...]:
    return tuple(
        Column(
            entry["name"],
            _cell(compile_path(entry["jsonPath"]), entry["type"]),
            entry["type"],
            entry.get("priority", 0),
        )
        for entry in version.get("additionalPrinterColumns") or ()
    )


def _cell(find: Callable[[Any], list[Any]], kind: str) -> Callable[[Obj], Any]:
    def value(obj: Obj) -> Any:
        found = find(obj)
        if not found or found[0] is None:
            return None
        if kind == "date":
            return since(found[0]) if isinstance(found[0], str) else "<invalid>"
        if kind == "string":
            return ",".join(_text(each) for each in found)
        return found[0]

    return value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
