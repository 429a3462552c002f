"""The metadata of an object that is being created: what the author gave, and what only the server gives.

Source: Kubernetes API conventions, "Metadata"; "Idempotency" (generateName).
"""

from __future__ import annotations

import random

from controlplane import errors
from controlplane.errors import bad_request
from controlplane.kinds import Kind
from controlplane.meta import Obj, new_uid, now
from controlplane.store import Store

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words
_GENERATE_ATTEMPTS = 8
_SERVERS_OWN = (
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
)


def newborn_metadata(store: Store, kind: Kind, given: Obj, namespace: str) -> Obj:
    """A fresh metadata for `kind`. Raises StatusError 400, 403, 404, 409."""
    metadata = {**given, "uid": new_uid(), "creationTimestamp": now()}
    for name in _SERVERS_OWN:
        metadata.pop(name, None)
    if kind.namespaced:
        metadata["namespace"] = _namespace_for(store, kind, given, namespace)
    if kind.counts_generations:
        metadata["generation"] = 1
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = _generate_name(store, kind, metadata)
    if "name" not in metadata:
        metadata["name"] = ""
    return metadata


def _namespace_for(store: Store, kind: Kind, given: Obj, namespace: str) -> str:
    chosen: str = given.get("namespace") or namespace or "default"
    if namespace and chosen != namespace:
        text = "the namespace of the provided object does not match the namespace sent on the request"
        raise bad_request(f"{text}: {chosen}, {namespace}")
    home = store.get("Namespace", "", chosen)
    if home is None:
        raise errors.not_found("namespaces", "", chosen)
    if "deletionTimestamp" in home["metadata"]:
        why = f"unable to create new content in namespace {chosen} because it is being terminated"
        raise errors.forbidden(kind.plural, kind.group, given.get("name", ""), why)
    return chosen


def random_suffix() -> str:
    """Five characters, which make a name one that nobody has."""
    return "".join(random.choices(_SUFFIX_ALPHABET, k=5))


def _generate_name(store: Store, kind: Kind, metadata: Obj) -> str:
    base: str = metadata["generateName"][:58]
    for _ in range(_GENERATE_ATTEMPTS):
        name = base + random_suffix()
        if store.get(kind.key, metadata.get("namespace", ""), name) is None:
            return name
    raise errors.already_exists(kind.plural, kind.group, base)
