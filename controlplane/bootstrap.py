"""The objects of a new cluster, from manifests/cluster.yaml: applied once, and again harmlessly when a
cluster is resumed.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from controlplane.api import API
from controlplane.meta import Obj
from controlplane.yaml_text import load_documents

MANIFEST = Path(__file__).parent / "manifests" / "cluster.yaml"


# What the manifest says in a cluster whose first family is IPv6; both have the same place in their ranges.
IN_IPV6 = {
    "10.96.0.1": "fd00:96::1",
    "10.96.0.10": "fd00:96::a",
    "192.168.50.10": "fd00:50::10",
    "IPv4": "IPv6",
}


@cache
def cluster_objects(family: str = "IPv4") -> tuple[Obj, ...]:
    """The objects in the order in which they must be made; `family` is the cluster's first one."""
    objects = tuple(document for _, document in load_documents(MANIFEST.read_text()))
    return objects if family == "IPv4" else tuple(_in_ipv6(obj) for obj in objects)


def _in_ipv6(value: Any) -> Any:
    """The same with IPv6 addresses in the places of IPv4 ones."""
    if isinstance(value, dict):
        return {key: _in_ipv6(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_in_ipv6(entry) for entry in value]
    return IN_IPV6.get(value, value) if isinstance(value, str) else value


def bootstrap(api: API, family: str = "IPv4") -> None:
    """Makes those objects of a new cluster that do not exist. Raises StatusError when one cannot be made."""
    for obj in cluster_objects(family):
        metadata = obj["metadata"]
        if api.find(obj["kind"], metadata["name"], metadata.get("namespace", "")) is None:
            api.create(obj)
