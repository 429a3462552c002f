"""`minipod apply`, `delete` and `get`: manifests in, lines out. A seed: real kubectl does the same over the
same API.

    files --manifests()--> objects, each with the place that it came from
          --check all (server dry run)--> nothing wrong? --write each--> created | configured | unchanged

Invariant: nothing is written unless every object has been accepted by the server in a dry run; should a write
fail all the same, what this call created is taken back.

An existing object is changed by a three-way merge, as kubectl does it: what the last applied manifest had and
this one lacks is removed; what others have set is left alone. Source: Kubernetes documentation "Declarative
Management of Kubernetes Objects".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.client import Client, Resource
from controlplane.errors import StatusError
from controlplane.meta import Obj
from controlplane.patch import merge
from controlplane.patching import MERGE_PATCH
from controlplane.yaml_text import YamlError, load_documents

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
DRY_RUN = {"dryRun": "All"}
STRICT = {"fieldValidation": "Strict"}
SUFFIXES = (".yaml", ".yml", ".json")


class ManifestError(Exception):
    """Bad input: one line that names file, document, field, fact and, where there is one, the next step."""


@dataclass(frozen=True)
class Manifest:
    """One object and where it came from."""

    file: str
    document: int  # counts from 1
    obj: Obj

    def error(self, text: str) -> ManifestError:
        """What is wrong with this one."""
        return ManifestError(f"{self.file}: document {self.document}: {text}")


@dataclass(frozen=True)
class _Plan:
    """One write that has been tried."""

    manifest: Manifest
    resource: Resource
    namespace: str
    patch: Obj | None  # None: to be created

    @property
    def name(self) -> str:
        return str(self.manifest.obj["metadata"].get("name", ""))

    @property
    def path(self) -> str:
        return self.resource.path(self.namespace, self.name)


def read_files(paths: Iterable[Path], stdin: str | None = None) -> list[Manifest]:
    """The objects of files, of folders (their YAML and JSON files, by name) and of `-` (`stdin`). Raises
    ManifestError.
    """
    found: list[Manifest] = []
    for path in paths:
        if str(path) == "-" and stdin is not None:
            found += manifests(stdin, "standard input")
            continue
        files = (
            sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES) if path.is_dir() else [path]
        )
        for file in files:
            try:
                text = file.read_text()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "is not a text in UTF-8"
                raise ManifestError(f"{file}: {reason}") from error
            found += manifests(text, str(file))
    if not found:
        raise ManifestError(
            f"{', '.join(map(str, paths))}: no objects found: want YAML with apiVersion and kind"
        )
    return found


def manifests(text: str, file: str) -> list[Manifest]:
    """The objects of one text; Lists are taken apart. Raises ManifestError."""
    try:
        documents = load_documents(text)
    except YamlError as error:
        raise ManifestError(f"{file}: {error}") from error
    found = []
    for number, (line, value) in enumerate(documents, 1):
        if not isinstance(value, dict):
            raise ManifestError(
                f"{file}: document {number}: line {line}: want an object with apiVersion and kind"
            )
        is_list = isinstance(value.get("items"), list) and str(value.get("kind", "")).endswith("List")
        for obj in value["items"] if is_list else [value]:
            manifest = Manifest(file, number, obj)
            _check_form(manifest)
            found.append(manifest)
    return found


def _check_form(manifest: Manifest) -> None:
    obj = manifest.obj
    if not isinstance(obj, dict):
        raise manifest.error("items: want objects with apiVersion and kind")
    for field in ("apiVersion", "kind"):
        if not isinstance(obj.get(field), str) or not obj[field]:
            raise manifest.error(f"{field}: Required value")
    if not isinstance(obj.get("metadata"), dict):
        raise manifest.error("metadata: Required value: want at least metadata.name")


def apply(client: Client, found: Sequence[Manifest], namespace: str = "default") -> list[str]:
    """Applies all or nothing; returns a line for each, e.g. `service/web created`. Raises ManifestError."""
    ordered = sorted(found, key=lambda manifest: manifest.obj["kind"] != "Namespace")
    new_namespaces: set[str] = set()
    plans = []
    for manifest in ordered:
        plan = _plan(client, manifest, namespace)
        _try(client, plan, new_namespaces)
        if plan.resource.kind == "Namespace" and plan.patch is None:
            new_namespaces.add(plan.name)
        plans.append(plan)
    return _write_all(client, plans)


def _plan(client: Client, manifest: Manifest, default_namespace: str) -> _Plan:
    obj = manifest.obj
    try:
        resource = client.resource_of(obj)
    except StatusError as error:
        raise manifest.error(f"kind: {error.message}") from error
    namespace = str(obj["metadata"].get("namespace") or default_namespace) if resource.namespaced else ""
    name = obj["metadata"].get("name")
    if not isinstance(name, str) or not name:
        if obj["metadata"].get("generateName"):
            return _Plan(manifest, resource, namespace, None)
        raise manifest.error("metadata.name: Required value")
    try:
        current = client.request("GET", resource.path(namespace, name))
    except StatusError as error:
        if error.code != 404:
            raise manifest.error(explain(error)) from error
        return _Plan(manifest, resource, namespace, None)
    return _Plan(manifest, resource, namespace, three_way(current, obj))


def three_way(current: Obj, wanted: Obj) -> Obj:
    """The merge patch that leads from the last applied manifest to `wanted` without touching what others have
    set.
    """
    text = (current["metadata"].get("annotations") or {}).get(LAST_APPLIED, "{}")
    try:
        last = json.loads(text)
    except ValueError:
        last = {}
    patch: Obj = merge(_removals(last, wanted), _annotated(wanted))
    return patch


def _removals(last: Any, wanted: Any) -> Obj:
    """Null for each field that the last manifest had and this one has not."""
    result: Obj = {}
    for name, value in last.items() if isinstance(last, dict) else ():
        if name not in wanted:
            result[name] = None
        elif isinstance(value, dict) and isinstance(wanted[name], dict):
            inner = _removals(value, wanted[name])
            if inner:
                result[name] = inner
    return result


def _annotated(obj: Obj) -> Obj:
    """The object with itself as an annotation, for the next three-way merge."""
    metadata = obj["metadata"]
    text = json.dumps(obj, sort_keys=True, separators=(",", ":")) + "\n"
    return {
        **obj,
        "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), LAST_APPLIED: text}},
    }


def _try(client: Client, plan: _Plan, new_namespaces: set[str]) -> None:
    """A dry run. An object in a namespace that this call will make is tried in `default`: only its content
    can be judged.
    """
    obj = plan.manifest.obj
    namespace = plan.namespace
    if namespace in new_namespaces:
        namespace = "default"
        obj = {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
    try:
        if plan.patch is None:
            client.request("POST", plan.resource.path(namespace), obj, query=DRY_RUN | STRICT)
        else:
            client.request("PATCH", plan.path, plan.patch, query=DRY_RUN | STRICT, content_type=MERGE_PATCH)
    except StatusError as error:
        if error.reason == "AlreadyExists" and namespace != plan.namespace:
            return
        raise plan.manifest.error(explain(error)) from error


def _write_all(client: Client, plans: list[_Plan]) -> list[str]:
    lines: list[str] = []
    created: list[str] = []
    for plan in plans:
        try:
            line, made = _write(client, plan)
        except (StatusError, OSError) as error:
            for path in reversed(created):
                client.request("DELETE", path)
            text = explain(error) if isinstance(error, StatusError) else str(error)
            raise plan.manifest.error(text) from error
        lines.append(line)
        created += [made] if made else []
    return lines


def _write(client: Client, plan: _Plan) -> tuple[str, str]:
    """(the line to print, the path of what was created or "")."""
    resource = plan.resource
    if plan.patch is None:
        stored = client.request(
            "POST", resource.path(plan.namespace), _annotated(plan.manifest.obj), query=STRICT
        )
        name = stored["metadata"]["name"]
        return f"{resource.label}/{name} created", resource.path(plan.namespace, name)
    before = client.request("GET", plan.path)["metadata"]["resourceVersion"]
    stored = client.request("PATCH", plan.path, plan.patch, query=STRICT, content_type=MERGE_PATCH)
    verb = "unchanged" if stored["metadata"]["resourceVersion"] == before else "configured"
    return f"{resource.label}/{plan.name} {verb}", ""


def delete(client: Client, found: Sequence[Manifest], namespace: str = "default") -> list[str]:
    """Deletes all that exist; returns a line for each, e.g. `service "web" deleted`. Raises ManifestError."""
    plans = []
    for manifest in found:
        try:
            resource = client.resource_of(manifest.obj)
        except StatusError as error:
            raise manifest.error(f"kind: {error.message}") from error
        plans.append((manifest, resource))
    lines = []
    for manifest, resource in reversed(plans):
        metadata = manifest.obj["metadata"]
        name = str(metadata.get("name", ""))
        home = str(metadata.get("namespace") or namespace) if resource.namespaced else ""
        try:
            client.request("DELETE", resource.path(home, name))
            lines.append(f'{resource.label} "{name}" deleted')
        except StatusError as error:
            if error.code != 404:
                raise manifest.error(explain(error)) from error
            lines.append(f'{resource.label} "{name}" not found')
    return lines


def explain(error: StatusError) -> str:
    """A refusal as one line: `field: message` for each cause, or the message."""
    causes = [cause for cause in error.details.get("causes") or () if cause.get("field")]
    texts = [f"{cause['field']}: {cause['message']}" for cause in causes]
    return "; ".join(texts) or error.message
