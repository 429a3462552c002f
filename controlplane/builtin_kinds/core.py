"""The core group."""

from __future__ import annotations

from controlplane.defaults import core as default_core
from controlplane.defaults import pod as default_pod
from controlplane.defaults import service as default_service
from controlplane.kinds import STATUS, Kind
from controlplane.validation import core as validate_core
from controlplane.validation import discovery as validate_discovery
from controlplane.validation import node as validate_node
from controlplane.validation import pod as validate_pod
from controlplane.validation import service as validate_service
from controlplane.validation.meta import label_name, label_name_1035

SCHEMA = "io.k8s.api.core.v1."

CORE_KINDS = (
    Kind(
        "Namespace",
        "namespaces",
        SCHEMA + "Namespace",
        namespaced=False,
        short_names=("ns",),
        subresources=frozenset({"status", "finalize"}),
        selectable=frozenset({"status.phase"}),
        default=default_core.namespace,
        check_name=label_name,
        initial_status=lambda obj: {"phase": "Active"},
    ),
    Kind(
        "Node",
        "nodes",
        SCHEMA + "Node",
        namespaced=False,
        short_names=("no",),
        subresources=STATUS,
        selectable=frozenset({"spec.unschedulable"}),
        validate=validate_node.validate,
        initial_status=None,
    ),
    Kind(
        "Pod",
        "pods",
        SCHEMA + "Pod",
        short_names=("po",),
        categories=("all",),
        subresources=frozenset({"status", "binding", "ephemeralcontainers", "eviction"}),
        selectable=frozenset(
            {
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "spec.hostNetwork",
            }
            | {"status.phase", "status.podIP", "status.nominatedNodeName"}
        ),
        default=default_pod.pod,
        validate=validate_pod.validate,
        initial_status=default_pod.initial_status,
        counts_generations=True,
    ),
    Kind(
        "Service",
        "services",
        SCHEMA + "Service",
        short_names=("svc",),
        categories=("all",),
        subresources=STATUS,
        selectable=frozenset({"spec.clusterIP", "spec.type"}),
        default=default_service.service,
        validate=validate_service.validate,
        check_name=label_name_1035,
        initial_status=lambda obj: {"loadBalancer": {}},
    ),
    Kind(
        "Endpoints",
        "endpoints",
        SCHEMA + "Endpoints",
        short_names=("ep",),
        default=default_service.endpoints,
        validate=validate_discovery.validate_endpoints,
    ),
    Kind(
        "ConfigMap",
        "configmaps",
        SCHEMA + "ConfigMap",
        short_names=("cm",),
        validate=validate_core.config_map,
    ),
    Kind(
        "Secret",
        "secrets",
        SCHEMA + "Secret",
        selectable=frozenset({"type"}),
        default=default_core.secret,
        validate=validate_core.secret,
    ),
    Kind("ServiceAccount", "serviceaccounts", SCHEMA + "ServiceAccount", short_names=("sa",)),
    Kind(
        "Event",
        "events",
        SCHEMA + "Event",
        short_names=("ev",),
        selectable=frozenset(
            {
                "involvedObject.kind",
                "involvedObject.namespace",
                "involvedObject.name",
                "involvedObject.uid",
            }
            | {"involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath"}
            | {"reason", "reportingComponent", "source", "type"}
        ),
        validate=validate_core.event,
    ),
)
