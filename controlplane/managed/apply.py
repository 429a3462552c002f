"""One server-side apply: a manager says all that it wants of an object, and owns just that.

    conflict   a field that it wants otherwise than it is, and that somebody else owns (force takes it)
    merge      what it wants replaces what is there; lists with keys are merged element by element
    removal    what it owned and no longer names goes, unless somebody else owns it too

Source: Kubernetes documentation "Server-Side Apply".
"""

from __future__ import annotations

import json
from typing import Any

from controlplane.errors import StatusError
from controlplane.managed import owners as book
from controlplane.managed.leaves import (
    Leaves,
    Path,
    Schema,
    field_of,
    is_atomic_map,
    leaves,
    resolve,
    show,
    words_of,
)
from controlplane.managed.owners import APPLY, BEFORE, UPDATE, Owned, Owner, Owners
from controlplane.meta import Obj

KUBECTL = "kubectl"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def apply(live: Obj | None, config: Obj, schema: Schema, writer: Owner, *, force: bool) -> Obj:
    """The object that `config` makes of `live` (None: there is none yet), with its managedFields. Raises StatusError
    409 with the conflicts.
    """
    wanted = leaves(config, schema)
    if live is None:
        owners: Owners = {writer: Owned(set(wanted), config["apiVersion"])}
        return _with_owners(config, owners)
    there = leaves(live, schema)
    tracked = live["metadata"].get("managedFields") is not None  # empty: whoever applied it named no field
    owners = book.read(live) if tracked else {Owner(BEFORE, UPDATE): Owned(set(there), live["apiVersion"])}
    disputed = _disputed(owners, writer, there, wanted)
    if disputed and not force and not _own_by_annotation(live, schema, writer, disputed):
        raise _conflicts(owners, disputed)
    for owner, paths in disputed.items():
        owners[owner] = Owned(owners[owner].fields - paths, owners[owner].api_version)
    dropped = _dropped(owners, writer, wanted)
    merged = merge(live, config, schema)
    if dropped:
        merged = _without(merged, schema, (), dropped)
    mine = owners.get(writer)
    if mine is None or mine.fields != set(wanted):
        owners[writer] = Owned(set(wanted), config["apiVersion"])
    return _with_owners(merged, owners)


def track(current: Obj, new: Obj, schema: Schema, writer: Owner) -> None:
    """Books an ordinary write into `new`, whose metadata is fresh, if the object's fields are tracked at all. A writer
    who hands in an empty managedFields ends that.
    """
    if "managedFields" not in current["metadata"] and "managedFields" not in new["metadata"]:
        return
    given = new["metadata"].get("managedFields", current["metadata"].get("managedFields"))
    if not given or given == [{}]:
        new["metadata"].pop("managedFields", None)
        return
    owners = book.read({"metadata": {"managedFields": given}})
    after = book.updated(
        owners, leaves(current, schema), leaves(new, schema), writer, new.get("apiVersion", "")
    )
    new["metadata"]["managedFields"] = given if after is owners else book.write(after)


def _with_owners(obj: Obj, owners: Owners) -> Obj:
    return {**obj, "metadata": {**(obj.get("metadata") or {}), "managedFields": book.write(owners)}}


def _disputed(owners: Owners, writer: Owner, there: Leaves, wanted: Leaves) -> dict[Owner, set[Path]]:
    """What others own and the writer wants otherwise."""
    otherwise = {path for path, value in wanted.items() if there.get(path, book.MISSING) != value}
    found = {owner: owned.fields & otherwise for owner, owned in owners.items() if owner != writer}
    return {owner: paths for owner, paths in found.items() if paths}


def _own_by_annotation(live: Obj, schema: Schema, writer: Owner, disputed: dict[Owner, set[Path]]) -> bool:
    """Whether all that is disputed is kubectl's own from the time when it applied on the client's side: the annotation
    that it left names those fields (k8s.io/apimachinery pkg/util/managedfields, lastappliedmanager.go).
    """
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if writer.manager != KUBECTL or not text:
        return False
    try:
        applied = json.loads(text)
    except ValueError:
        return False
    named = leaves(applied, schema) if isinstance(applied, dict) else {}
    return all(paths <= named.keys() for paths in disputed.values())


def _conflicts(owners: Owners, disputed: dict[Owner, set[Path]]) -> StatusError:
    lines, causes = [], []
    for owner, paths in disputed.items():
        through = f" with subresource {owner.subresource!r}" if owner.subresource else ""
        who = f'"{owner.manager}"{through} using {owners[owner].api_version}'
        fields = sorted(map(show, paths))
        single = len(fields) == 1
        lines.append(
            f"conflict with {who}: {fields[0]}"
            if single
            else "\n- ".join([f"conflicts with {who}:", *fields])
        )
        causes += [
            {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": text}
            for text in fields
        ]
    count = len(causes)
    text = f"Apply failed with {count} conflict{'s' if count > 1 else ''}: {'; '.join(lines)}"
    return StatusError(409, "Conflict", text, {"causes": causes})


def _dropped(owners: Owners, writer: Owner, wanted: Leaves) -> set[Path]:
    """What the writer applied before and no longer names, and nobody else owns, nor anything within it."""
    before = owners.get(writer)
    if before is None:
        return set()
    held = {
        path[:length]
        for owner, owned in owners.items()
        if owner != writer
        for path in owned.fields
        for length in range(1, len(path) + 1)
    }
    named = {path[:length] for path in wanted for length in range(1, len(path) + 1)}
    return before.fields - named - held


def merge(live: Any, config: Any, schema: Schema) -> Any:
    """`live` with all that `config` says."""
    schema = resolve(schema)
    if isinstance(live, dict) and isinstance(config, dict) and not is_atomic_map(schema):
        merged = dict(live)
        for name, value in config.items():
            merged[name] = merge(live[name], value, field_of(schema, name)) if name in live else value
        return merged
    if isinstance(live, list) and isinstance(config, list):
        here, wanted = words_of(live, schema), words_of(config, schema)
        if here is not None and wanted is not None:
            return _merge_list(
                dict(zip(here, live, strict=True)), dict(zip(wanted, config, strict=True)), schema
            )
    return config


def _merge_list(live: dict[str, Any], config: dict[str, Any], schema: Schema) -> list[Any]:
    """Elements by their words: those that are there keep their place, new ones come last."""
    item = schema.get("items", {})
    merged = {
        word: merge(value, config[word], item) if word in config else value for word, value in live.items()
    }
    return list((merged | {word: value for word, value in config.items() if word not in live}).values())


def _without(value: Any, schema: Schema, path: Path, dropped: set[Path]) -> Any:
    """`value` without the dropped fields, and without mappings that they leave empty."""
    schema = resolve(schema)
    if isinstance(value, dict):
        kept = {}
        for name, part in value.items():
            place = (*path, f"f:{name}")
            if place not in dropped:
                rest = _without(part, field_of(schema, name), place, dropped)
                if rest or rest == part:
                    kept[name] = rest
        return kept
    words = words_of(value, schema) if isinstance(value, list) else None
    if words is None:
        return value
    item = schema.get("items", {})
    return [
        _without(part, item, (*path, word), dropped)
        for word, part in zip(words, value, strict=True)
        if (*path, word) not in dropped
    ]


def applier(manager: str, subresource: str = "") -> Owner:
    """Who applies."""
    return Owner(manager, APPLY, subresource)


def updater(manager: str, subresource: str = "") -> Owner:
    """Who writes otherwise."""
    return Owner(manager, UPDATE, subresource)
