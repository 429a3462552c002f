"""The objects of a new cluster, from manifests/cluster.yaml: applied once, and again harmlessly when a
cluster is resumed.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from controlplane.api import API
from controlplane.meta import Obj
from controlplane.yaml_text import load_documents

MANIFEST = Path(__file__).parent / "manifests" / "cluster.yaml"


@cache
def cluster_objects() -> tuple[Obj, ...]:
    """The objects in the order in which they must be made."""
    return tuple(document for _, document in load_documents(MANIFEST.read_text()))


def bootstrap(api: API) -> None:
    """Makes those objects of a new cluster that do not exist. Raises StatusError when one cannot be made."""
    for obj in cluster_objects():
        metadata = obj["metadata"]
        if api.find(obj["kind"], metadata["name"], metadata.get("namespace", "")) is None:
            api.create(obj)
