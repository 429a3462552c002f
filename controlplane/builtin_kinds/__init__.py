"""The rows of the kinds that every cluster has, by family.

core       nodes, pods, services, configuration      workloads  Deployment, StatefulSet, Job, ...
network    slices, Ingress, NetworkPolicy            storage    claims and volumes
extensions CustomResourceDefinition
stored     kinds that are kept, shown and validated by their schema, but that nothing here acts upon
"""

from __future__ import annotations

from controlplane.builtin_kinds.core import CORE_KINDS
from controlplane.builtin_kinds.extensions import EXTENSION_KINDS
from controlplane.builtin_kinds.network import NETWORK_KINDS
from controlplane.builtin_kinds.storage import STORAGE_KINDS
from controlplane.builtin_kinds.stored import STORED_KINDS
from controlplane.builtin_kinds.workloads import WORKLOAD_KINDS
from controlplane.kinds import Kinds


def standard_kinds() -> Kinds:
    """A new table with the built-in kinds."""
    return Kinds(
        (*CORE_KINDS, *WORKLOAD_KINDS, *NETWORK_KINDS, *STORAGE_KINDS, *STORED_KINDS, *EXTENSION_KINDS)
    )
