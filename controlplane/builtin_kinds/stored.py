"""Kinds that are little more than stored: the Leases by which nodes show that they live, the budgets that hold
evictions back, and what ordinary manifests carry though nothing in a lab acts upon it. Everybody may do everything
in a lab, and nothing is measured or limited.
"""

from __future__ import annotations

from controlplane.kinds import STATUS, Kind
from controlplane.validation import core as validate_core
from controlplane.validation import stored as validate_stored
from controlplane.validation.meta import path_segment_name

RBAC = "rbac.authorization.k8s.io"

STORED_KINDS = (
    Kind(
        "Lease",
        "leases",
        "io.k8s.api.coordination.v1.Lease",
        group="coordination.k8s.io",
        validate=validate_core.lease,
    ),
    Kind(
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        "io.k8s.api.policy.v1.PodDisruptionBudget",
        group="policy",
        short_names=("pdb",),
        subresources=STATUS,
        validate=validate_stored.disruption_budget,
        initial_status=lambda obj: {
            "currentHealthy": 0,
            "desiredHealthy": 0,
            "disruptionsAllowed": 0,
            "expectedPods": 0,
        },
        counts_generations=True,
    ),
    Kind(
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
        group="autoscaling",
        version="v2",
        short_names=("hpa",),
        categories=("all",),
        subresources=STATUS,
        validate=validate_stored.autoscaler,
    ),
    Kind(
        "ResourceQuota",
        "resourcequotas",
        "io.k8s.api.core.v1.ResourceQuota",
        short_names=("quota",),
        subresources=STATUS,
    ),
    Kind("LimitRange", "limitranges", "io.k8s.api.core.v1.LimitRange", short_names=("limits",)),
    Kind(
        "PriorityClass",
        "priorityclasses",
        "io.k8s.api.scheduling.v1.PriorityClass",
        group="scheduling.k8s.io",
        namespaced=False,
        short_names=("pc",),
        validate=validate_stored.priority_class,
    ),
    *(
        Kind(
            name,
            f"{name.lower()}s",
            f"io.k8s.api.admissionregistration.v1.{name}",
            group="admissionregistration.k8s.io",
            namespaced=False,
            counts_generations=True,
        )
        for name in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
    ),
    Kind(
        "RuntimeClass",
        "runtimeclasses",
        "io.k8s.api.node.v1.RuntimeClass",
        group="node.k8s.io",
        namespaced=False,
    ),
    Kind("Role", "roles", "io.k8s.api.rbac.v1.Role", group=RBAC, check_name=path_segment_name),
    Kind(
        "RoleBinding",
        "rolebindings",
        "io.k8s.api.rbac.v1.RoleBinding",
        group=RBAC,
        check_name=path_segment_name,
        validate=validate_stored.role_binding,
    ),
    Kind(
        "ClusterRole",
        "clusterroles",
        "io.k8s.api.rbac.v1.ClusterRole",
        group=RBAC,
        namespaced=False,
        check_name=path_segment_name,
    ),
    Kind(
        "ClusterRoleBinding",
        "clusterrolebindings",
        "io.k8s.api.rbac.v1.ClusterRoleBinding",
        group=RBAC,
        namespaced=False,
        check_name=path_segment_name,
        validate=validate_stored.role_binding,
    ),
)
