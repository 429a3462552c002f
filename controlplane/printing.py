"""What `minipod get` prints: the server's Table as columns, or the objects as JSON, YAML or names.

Source: kubectl's output; k8s.io/cli-runtime pkg/printers/tableprinter.go.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.client import Client, Resource
from controlplane.meta import Obj
from controlplane.yaml_text import dump

OUTPUTS = ("", "wide", "json", "yaml", "name")
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
GAP = "   "


@dataclass(frozen=True)
class Query:
    """What to get. An empty namespace means all of them."""

    kind: str
    name: str = ""
    namespace: str = "default"
    label_selector: str = ""
    field_selector: str = ""
    output: str = ""


def get(client: Client, query: Query) -> str:
    """The text that answers the query, without a final line break. Raises StatusError 400, 404."""
    resource = client.resource(query.kind)
    namespace = query.namespace if resource.namespaced else ""
    path = resource.path(namespace, query.name)
    selectors = {"labelSelector": query.label_selector, "fieldSelector": query.field_selector}
    parameters = {name: value for name, value in selectors.items() if value}
    as_table = query.output in ("", "wide")
    value = client.request("GET", path, query=parameters, accept=TABLE if as_table else "application/json")
    if as_table:
        return _table(
            value, wide=query.output == "wide", with_namespace=resource.namespaced and not namespace
        ) or (f"No resources found in {namespace} namespace." if namespace else "No resources found")
    return _objects(value, resource, query.output)


def _objects(value: Obj, resource: Resource, output: str) -> str:
    if output == "name":
        items = value.get("items", [value])
        return "\n".join(f"{resource.label}/{obj['metadata']['name']}" for obj in items)
    if "items" in value:
        value = {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": value["items"]}
    return json.dumps(value, indent=4) if output == "json" else dump(value).rstrip("\n")


def _table(table: Obj, *, wide: bool, with_namespace: bool) -> str:
    """Columns that are as wide as their widest cell."""
    columns = [
        (index, column["name"].upper())
        for index, column in enumerate(table["columnDefinitions"])
        if wide or not column["priority"]
    ]
    rows = [[_cell(row["cells"][index]) for index, _ in columns] for row in table["rows"]]
    if not rows:
        return ""
    lines = [[name for _, name in columns], *rows]
    if with_namespace:
        names = ["NAMESPACE", *(row["object"]["metadata"]["namespace"] for row in table["rows"])]
        lines = [[name, *cells] for name, cells in zip(names, lines, strict=True)]
    return "\n".join(_aligned(lines))


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
