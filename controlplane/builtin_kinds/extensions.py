"""The kind that brings further kinds: see controlplane.custom."""

from __future__ import annotations

from controlplane.custom import definitions
from controlplane.kinds import STATUS, Kind

EXTENSION_KINDS = (
    Kind(
        "CustomResourceDefinition",
        "customresourcedefinitions",
        definitions.DEFINITION,
        group="apiextensions.k8s.io",
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        subresources=STATUS,
        default=definitions.default,
        validate=definitions.validate,
        initial_status=definitions.initial_status,
        counts_generations=True,
    ),
)
