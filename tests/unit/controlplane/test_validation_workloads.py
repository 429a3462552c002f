"""What a real API server says of wrong DaemonSets, StatefulSets, Jobs, Ingresses, NetworkPolicies and the rest."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from controlplane.api import API
from controlplane.errors import StatusError

Obj = dict[str, Any]
POD = {"containers": [{"name": "c", "image": "nginx"}]}
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": POD}
SELECTED = {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
PATH = {"path": "/", "pathType": "Prefix", "backend": BACKEND}
GOOD: dict[str, tuple[str, Obj]] = {
    "DaemonSet": ("apps/v1", SELECTED),
    "StatefulSet": (
        "apps/v1",
        {**SELECTED, "volumeClaimTemplates": [{"metadata": {"name": "www"}, "spec": CLAIM}]},
    ),
    "Job": ("batch/v1", {"template": {"spec": {**POD, "restartPolicy": "Never"}}}),
    "CronJob": (
        "batch/v1",
        {
            "schedule": "* * * * *",
            "jobTemplate": {"spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}},
        },
    ),
    "Ingress": ("networking.k8s.io/v1", {"rules": [{"host": "a.example", "http": {"paths": [PATH]}}]}),
    "IngressClass": ("networking.k8s.io/v1", {"controller": "example.com/haproxy"}),
    "NetworkPolicy": (
        "networking.k8s.io/v1",
        {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}]},
    ),
    "PersistentVolumeClaim": ("v1", CLAIM),
    "PodDisruptionBudget": ("policy/v1", {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}),
    "HorizontalPodAutoscaler": (
        "autoscaling/v2",
        {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    ),
}


def made(kind: str, path: str = "", value: Any = None) -> Obj:
    """A right object; with another value at `path`, if one is given; None takes the field away."""
    version, spec = GOOD[kind]
    obj: Obj = {"apiVersion": version, "kind": kind, "metadata": {"name": "web"}, "spec": copy.deepcopy(spec)}
    if path:
        change(obj, path, value)
    return obj


def change(obj: Obj, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place: Any = obj
    for part in parents:
        place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_right_is_taken(api: API, kind: str) -> None:
    created = api.create(made(kind), "default")
    assert api.replace(created) is api.get(kind, "web", created["metadata"].get("namespace", ""))


@pytest.mark.parametrize(
    ("kind", "path", "value", "field", "message"),
    [
        ("DaemonSet", "spec.selector", {"matchLabels": {"a": "b"}}, "spec.template.metadata.labels",
         "`selector` does not match template `labels`"),
        ("DaemonSet", "spec.selector", {}, "spec.selector", "empty selector is invalid for daemonset"),
        ("DaemonSet", "spec.updateStrategy.type", "Recreate", "spec.updateStrategy.type",
         'Unsupported value: "Recreate": supported values: "OnDelete", "RollingUpdate"'),
        ("DaemonSet", "spec.updateStrategy.rollingUpdate.maxUnavailable", 0,
         "spec.updateStrategy.rollingUpdate.maxUnavailable", "Invalid value: 0: cannot be 0 when maxSurge is 0"),
        ("DaemonSet", "spec.updateStrategy.rollingUpdate.maxSurge", 1, "spec.updateStrategy.rollingUpdate.maxSurge",
         "Invalid value: 1: may not be set when maxUnavailable is non-zero"),
        ("DaemonSet", "spec.template.spec.restartPolicy", "Never", "spec.template.spec.restartPolicy",
         'Unsupported value: "Never": supported values: "Always"'),
        ("StatefulSet", "spec.podManagementPolicy", "x", "spec.podManagementPolicy",
         "must be 'OrderedReady' or 'Parallel'"),
        ("StatefulSet", "spec.replicas", -1, "spec.replicas",
         "Invalid value: -1: must be greater than or equal to 0"),
        ("StatefulSet", "spec.volumeClaimTemplates.0.spec.accessModes", [],
         "spec.volumeClaimTemplates[0].spec.accessModes", "at least 1 access mode is required"),
        ("Job", "spec.template.spec.restartPolicy", "Always", "spec.template.spec.restartPolicy",
         'Required value: valid values: "OnFailure", "Never"'),
        ("Job", "spec", {**GOOD["Job"][1], "parallelism": 2, "completionMode": "Indexed"}, "spec.completions",
         "Required value: when completion mode is Indexed"),
        ("Job", "spec.backoffLimit", -1, "spec.backoffLimit", "must be greater than or equal to 0"),
        ("CronJob", "spec.schedule", "* * *", "spec.schedule", "expected exactly 5 fields, found 3: [* * *]"),
        ("CronJob", "spec.timeZone", "Moon/Sea", "spec.timeZone", "unknown time zone Moon/Sea"),
        ("CronJob", "spec.concurrencyPolicy", "x", "spec.concurrencyPolicy",
         'supported values: "Allow", "Forbid", "Replace"'),
        ("Ingress", "spec.rules", [], "spec", "either `defaultBackend` or `rules` must be specified"),
        ("Ingress", "spec.rules.0.host", "1.2.3.4", "spec.rules[0].host", "must be a DNS name, not an IP address"),
        ("Ingress", "spec.rules.0.http.paths.0.pathType", None, "spec.rules[0].http.paths[0].pathType",
         "Required value: pathType must be specified"),
        ("Ingress", "spec.rules.0.http.paths.0.path", "x", "spec.rules[0].http.paths[0].path",
         'Invalid value: "x": must be an absolute path'),
        ("Ingress", "spec.rules.0.http.paths.0.path", "/a//b", "spec.rules[0].http.paths[0].path",
         "must not contain '//'"),
        ("Ingress", "spec.rules.0.http.paths.0.backend", {}, "spec.rules[0].http.paths[0].backend",
         "resource or service backend is required"),
        ("Ingress", "spec.rules.0.http.paths.0.backend.service.port", {}, "spec.rules[0].http.paths[0].backend",
         "Required value: port name or number is required"),
        ("IngressClass", "spec.controller", "haproxy", "spec.controller", "must be a domain-prefixed path"),
        ("NetworkPolicy", "spec.policyTypes", ["In"], "spec.policyTypes[0]",
         'Unsupported value: "In": supported values: "Egress", "Ingress"'),
        ("NetworkPolicy", "spec.ingress.0.from", [{}], "spec.ingress[0].from[0]",
         "Required value: must specify a peer"),
        ("NetworkPolicy", "spec.ingress.0.from", [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}],
         "spec.ingress[0].from[0].ipBlock.except[0]", "must be a strict subset of `cidr`"),
        ("NetworkPolicy", "spec.ingress.0.from", [{"ipBlock": {"cidr": "10.0.0.0"}}],
         "spec.ingress[0].from[0].ipBlock.cidr", "must be a valid CIDR value"),
        ("NetworkPolicy", "spec.ingress.0.from", [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}],
         "spec.ingress[0].from[0]", "Forbidden: may not specify both ipBlock and another peer"),
        ("NetworkPolicy", "spec.ingress.0.ports", [{"port": 90, "endPort": 80}], "spec.ingress[0].ports[0].endPort",
         "must be greater than or equal to `port`"),
        ("NetworkPolicy", "spec.ingress.0.ports", [{"endPort": 80}], "spec.ingress[0].ports[0].endPort",
         "may not be specified when `port` is not specified"),
        ("PersistentVolumeClaim", "spec.accessModes", ["Mine"], "spec.accessModes", 'Unsupported value: "Mine"'),
        ("PersistentVolumeClaim", "spec.resources", {}, "spec.resources[storage]", "Required value"),
        ("PodDisruptionBudget", "spec.maxUnavailable", 1, "spec",
         "minAvailable and maxUnavailable cannot be both set"),
        ("HorizontalPodAutoscaler", "spec.maxReplicas", 0, "spec.maxReplicas", "must be greater than 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(api: API, kind: str, path: str, value: Any, field: str, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        api.create(made(kind, path, value), "default")
    assert caught.value.code == 422
    causes = [cause for cause in caught.value.details["causes"] if cause["field"] == field]
    assert any(message in cause["message"] for cause in causes), caught.value.message


@pytest.mark.parametrize(
    ("kind", "path", "value", "message"),
    [
        ("DaemonSet", "spec.selector.matchLabels", {"app": "other"}, "spec.selector: Invalid value"),
        ("StatefulSet", "spec.serviceName", "other",
         "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy'"),
        ("Job", "spec.completions", 7, "spec.completions: Invalid value: 7: field is immutable"),
        ("Job", "spec.template.spec.containers", [{"name": "c", "image": "other"}], "spec.template: Invalid value"),
        ("IngressClass", "spec.controller", "example.com/other", "field is immutable"),
        ("PersistentVolumeClaim", "spec.accessModes", ["ReadWriteMany"], "spec is immutable after creation"),
    ],
)  # fmt: skip
def test_what_may_not_change(api: API, kind: str, path: str, value: Any, message: str) -> None:
    created = copy.deepcopy(api.create(made(kind), "default"))
    change(created, path, value)
    if kind == "DaemonSet":
        change(created, "spec.template.metadata.labels", value)
    with pytest.raises(StatusError) as caught:
        api.replace(created)
    assert caught.value.code == 422
    assert message in caught.value.message


def test_what_may_change(api: API) -> None:
    created = copy.deepcopy(api.create(made("StatefulSet"), "default"))
    change(created, "spec.replicas", 5)
    assert api.replace(created)["metadata"]["generation"] == 2
    job = copy.deepcopy(api.create(made("Job"), "default"))
    change(job, "spec.parallelism", 5)
    assert api.replace(job)["spec"]["parallelism"] == 5
    assert job["spec"]["selector"]["matchLabels"] == {
        "batch.kubernetes.io/controller-uid": job["metadata"]["uid"]
    }


def test_policy_types_follow_from_the_rules(api: API) -> None:
    assert api.create(made("NetworkPolicy"), "default")["spec"]["policyTypes"] == ["Ingress"]
    other = made("NetworkPolicy", "spec.egress", [{}])
    other["metadata"]["name"] = "other"
    assert api.create(other, "default")["spec"]["policyTypes"] == ["Ingress", "Egress"]
