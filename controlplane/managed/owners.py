"""metadata.managedFields: which manager owns which fields, read and written; and what an ordinary write changes.

    fieldsV1   f:spec: {f:replicas: {}}   a tree of the words of paths; "." says that an element itself is owned

Source: Kubernetes API reference, ManagedFieldsEntry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from controlplane.managed.leaves import Leaves, Path
from controlplane.meta import Obj, now

APPLY, UPDATE = "Apply", "Update"
BEFORE = "before-first-apply"
MISSING = object()


@dataclass(frozen=True)
class Owner:
    """A manager, by what it does and through which door."""

    manager: str
    operation: str
    subresource: str = ""


@dataclass
class Owned:
    """The fields of one owner. `time` is when that last changed."""

    fields: set[Path]
    api_version: str
    time: str = field(default_factory=now)


Owners = dict[Owner, Owned]


def read(obj: Obj) -> Owners:
    """The owners of an object's fields; entries that cannot be read are dropped."""
    found: Owners = {}
    for entry in obj["metadata"].get("managedFields") or ():
        fields = entry.get("fieldsV1")
        if isinstance(fields, dict) and entry.get("operation") in (APPLY, UPDATE):
            owner = Owner(entry.get("manager", ""), entry["operation"], entry.get("subresource", ""))
            found[owner] = Owned(_paths(fields), entry.get("apiVersion", ""), entry.get("time", now()))
    return found


def write(owners: Owners) -> list[Obj]:
    """The value of metadata.managedFields: owners of nothing are left out."""
    entries = []
    for owner, owned in owners.items():
        if owned.fields:
            entry = {
                "manager": owner.manager,
                "operation": owner.operation,
                "apiVersion": owned.api_version,
                "time": owned.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": _tree(owned.fields),
            }
            entries.append({**entry, "subresource": owner.subresource} if owner.subresource else entry)
    return entries


def updated(owners: Owners, old: Leaves, new: Leaves, writer: Owner, api_version: str) -> Owners:
    """The owners after an ordinary write: what it changed is the writer's, what it removed is nobody's."""
    changed = {path for path, value in new.items() if old.get(path, MISSING) != value}
    touched = changed | (old.keys() - new.keys())
    if not touched:
        return owners
    result: Owners = {}
    for owner, owned in owners.items():
        kept = owned.fields - touched
        result[owner] = owned if kept == owned.fields else Owned(kept, owned.api_version)
    mine = result.get(writer)
    fields = changed | (mine.fields if mine else set())
    result[writer] = Owned(fields, api_version)
    return result


def _tree(paths: Iterable[Path]) -> Obj:
    root: Obj = {}
    for path in sorted(paths):
        node = root
        for word in path:
            node = node.setdefault(word, {})
        node["."] = {}
    return _slim(root)


def _slim(node: Obj) -> Obj:
    """Where nothing is below, the dot goes without saying."""
    if node.keys() == {"."}:
        return {}
    return {word: {} if word == "." else _slim(below) for word, below in node.items()}


def _paths(tree: dict[str, Any]) -> set[Path]:
    found: set[Path] = set()
    waiting: list[tuple[Path, dict[str, Any]]] = [((), tree)]
    while waiting:
        path, node = waiting.pop()
        for word, below in node.items():
            if word == ".":
                found.add(path)
            elif not isinstance(below, dict) or not below:
                found.add((*path, word))
            else:
                waiting.append(((*path, word), below))
    return found
