"""The columns that `kubectl get` shows, computed by the server: one list a kind, by family.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go; the Table kind of meta.k8s.io/v1.
"""

from __future__ import annotations

from controlplane.columns import core, network, others, pods, workloads
from controlplane.columns.cell import AGE, NAME, Column, at, human_duration
from controlplane.columns.pods import pod_status

__all__ = ["Column", "columns_of", "human_duration", "pod_status"]

COLUMNS: dict[str, tuple[Column, ...]] = {
    "Namespace": (NAME, Column("Status", at("status", "phase")), AGE),
    "Node": core.NODE,
    "Pod": pods.POD,
    "Service": core.SERVICE,
    "Endpoints": core.ENDPOINTS,
    "EndpointSlice": core.SLICE,
    "ConfigMap": core.CONFIG_MAP,
    "Secret": core.SECRET,
    "ServiceAccount": core.ACCOUNT,
    "Lease": (NAME, Column("Holder", at("spec", "holderIdentity", default="")), AGE),
    "Event": core.EVENT,
    "Deployment": workloads.DEPLOYMENT,
    "ReplicaSet": workloads.REPLICA_SET,
    "ReplicationController": workloads.REPLICA_SET,
    "DaemonSet": workloads.DAEMON_SET,
    "StatefulSet": workloads.STATEFUL_SET,
    "Job": workloads.JOB,
    "CronJob": workloads.CRON_JOB,
    "ControllerRevision": workloads.CONTROLLER_REVISION,
    "Ingress": network.INGRESS,
    "IngressClass": network.INGRESS_CLASS,
    "NetworkPolicy": network.NETWORK_POLICY,
    "PersistentVolumeClaim": others.CLAIM,
    "PersistentVolume": others.VOLUME,
    "StorageClass": others.STORAGE_CLASS,
    "HorizontalPodAutoscaler": others.AUTOSCALER,
    "PodDisruptionBudget": others.DISRUPTION_BUDGET,
    "PriorityClass": others.PRIORITY_CLASS,
    "RoleBinding": others.BINDING,
    "ClusterRoleBinding": others.BINDING,
    "ResourceQuota": others.QUOTA,
    "RuntimeClass": (NAME, Column("Handler", at("handler")), AGE),
    "MutatingWebhookConfiguration": others.WEBHOOKS,
    "ValidatingWebhookConfiguration": others.WEBHOOKS,
}


def columns_of(kind: str) -> tuple[Column, ...]:
    """The columns of a kind; name and age for one that has none of its own."""
    return COLUMNS.get(kind, (NAME, Column("Created At", at("metadata", "creationTimestamp"))))
