"""Claims and volumes: a claim is Bound at once to a volume that stands in for storage."""

from __future__ import annotations

from controlplane.defaults import storage as default_storage
from controlplane.kinds import STATUS, Kind
from controlplane.validation import storage as validate_storage

SCHEMA = "io.k8s.api.core.v1."

STORAGE_KINDS = (
    Kind(
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        SCHEMA + "PersistentVolumeClaim",
        short_names=("pvc",),
        subresources=STATUS,
        default=default_storage.claim,
        validate=validate_storage.claim,
        initial_status=lambda obj: {"phase": "Pending"},
    ),
    Kind(
        "PersistentVolume",
        "persistentvolumes",
        SCHEMA + "PersistentVolume",
        namespaced=False,
        short_names=("pv",),
        subresources=STATUS,
        default=default_storage.volume,
        validate=validate_storage.volume,
        initial_status=lambda obj: {"phase": "Available"},
    ),
    Kind(
        "StorageClass",
        "storageclasses",
        "io.k8s.api.storage.v1.StorageClass",
        group="storage.k8s.io",
        namespaced=False,
        short_names=("sc",),
        default=default_storage.storage_class,
        validate=validate_storage.storage_class,
    ),
)
