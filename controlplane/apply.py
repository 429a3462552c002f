"""Manifests into the cluster from Python: for `minipod check`, tests and labs. People use `minipod kubectl apply`.

    text --manifests()--> objects, each with the place that it came from --apply()--> server-side apply, forced

Server-side apply creates what is missing and changes what is there; what the last manifest of the same field manager
had and this one lacks goes, what others have set stays. Source: Kubernetes documentation "Server-Side Apply".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.client import Client, Resource
from controlplane.errors import StatusError
from controlplane.meta import Obj
from controlplane.patching import APPLY_PATCH
from controlplane.yaml_text import YamlError, load_documents

MANAGER = "minipod"


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

    def path(self, client: Client, default_namespace: str) -> str:
        """Where its object is at the API. Raises ManifestError for a kind that the server does not know."""
        resource, metadata = self._resource(client), self.obj["metadata"]
        namespace = metadata.get("namespace") or default_namespace if resource.namespaced else ""
        return resource.path(namespace, metadata["name"])

    def _resource(self, client: Client) -> Resource:
        try:
            return client.resource_of(self.obj)
        except StatusError as error:
            raise self.error(f"kind: {error.message}") from error


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
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise manifest.error("metadata.name: Required value")


def apply(client: Client, found: Iterable[Manifest], namespace: str = "default") -> list[Obj]:
    """Applies one after the other, namespaces first; returns them as they are stored. Raises ManifestError at the
    first that is refused, with those before it applied.
    """
    stored = []
    for manifest in sorted(found, key=lambda manifest: manifest.obj["kind"] != "Namespace"):
        query = {"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"}
        path = manifest.path(client, namespace)
        try:
            stored.append(client.request("PATCH", path, manifest.obj, query=query, content_type=APPLY_PATCH))
        except StatusError as error:
            raise manifest.error(explain(error)) from error
    return stored


def delete(client: Client, found: Iterable[Manifest], namespace: str = "default") -> list[str]:
    """Deletes what is there, the last first; returns the paths at which the objects will soon be gone. Raises
    ManifestError.
    """
    paths = []
    for manifest in reversed(list(found)):
        path = manifest.path(client, namespace)
        try:
            client.request("DELETE", path)
            paths.append(path)
        except StatusError as error:
            if error.code != 404:
                raise manifest.error(explain(error)) from error
    return paths


def explain(error: StatusError) -> str:
    """A refusal as one line: `field: message` for each cause, or the message."""
    causes = [cause for cause in error.details.get("causes") or () if cause.get("field")]
    texts = [f"{cause['field']}: {cause['message']}" for cause in causes]
    return "; ".join(texts) or error.message
