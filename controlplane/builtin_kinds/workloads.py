"""What runs pods: Deployment, ReplicaSet, DaemonSet, StatefulSet, Job, CronJob."""

from __future__ import annotations

from controlplane.defaults import apps as default_apps
from controlplane.defaults import batch as default_batch
from controlplane.kinds import STATUS, Kind
from controlplane.validation import apps as validate_apps
from controlplane.validation import batch as validate_batch
from controlplane.validation import stateful_set as validate_stateful_set

SCHEMA, BATCH = "io.k8s.api.apps.v1.", "io.k8s.api.batch.v1."
SCALED = STATUS | {"scale"}

WORKLOAD_KINDS = (
    Kind(
        "Deployment",
        "deployments",
        SCHEMA + "Deployment",
        group="apps",
        short_names=("deploy",),
        categories=("all",),
        subresources=SCALED,
        default=default_apps.deployment,
        validate=validate_apps.deployment,
        counts_generations=True,
    ),
    Kind(
        "ReplicaSet",
        "replicasets",
        SCHEMA + "ReplicaSet",
        group="apps",
        short_names=("rs",),
        categories=("all",),
        subresources=SCALED,
        selectable=frozenset({"status.replicas"}),
        default=default_apps.replica_set,
        validate=validate_apps.replica_set,
        initial_status=lambda obj: {"replicas": 0},
        counts_generations=True,
    ),
    Kind(
        "ReplicationController",
        "replicationcontrollers",
        "io.k8s.api.core.v1.ReplicationController",
        short_names=("rc",),
        categories=("all",),
        subresources=SCALED,
        selectable=frozenset({"status.replicas"}),
        default=default_apps.replication_controller,
        validate=validate_apps.replication_controller,
        initial_status=lambda obj: {"replicas": 0},
        counts_generations=True,
    ),
    Kind(
        "DaemonSet",
        "daemonsets",
        SCHEMA + "DaemonSet",
        group="apps",
        short_names=("ds",),
        categories=("all",),
        subresources=STATUS,
        default=default_apps.daemon_set,
        validate=validate_apps.daemon_set,
        initial_status=lambda obj: {
            "currentNumberScheduled": 0,
            "desiredNumberScheduled": 0,
            "numberMisscheduled": 0,
            "numberReady": 0,
        },
        counts_generations=True,
    ),
    Kind(
        "StatefulSet",
        "statefulsets",
        SCHEMA + "StatefulSet",
        group="apps",
        short_names=("sts",),
        categories=("all",),
        subresources=SCALED,
        default=default_apps.stateful_set,
        validate=validate_stateful_set.validate,
        initial_status=lambda obj: {"replicas": 0, "availableReplicas": 0},
        counts_generations=True,
    ),
    Kind(
        "ControllerRevision",
        "controllerrevisions",
        SCHEMA + "ControllerRevision",
        group="apps",
        validate=validate_apps.controller_revision,
    ),
    Kind(
        "Job",
        "jobs",
        BATCH + "Job",
        group="batch",
        categories=("all",),
        subresources=STATUS,
        selectable=frozenset({"status.successful"}),
        default=default_batch.job,
        validate=validate_batch.job,
        counts_generations=True,
    ),
    Kind(
        "CronJob",
        "cronjobs",
        BATCH + "CronJob",
        group="batch",
        short_names=("cj",),
        categories=("all",),
        subresources=STATUS,
        default=default_batch.cron_job,
        validate=validate_batch.cron_job,
        counts_generations=True,
    ),
)
