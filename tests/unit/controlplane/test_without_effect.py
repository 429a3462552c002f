"""What is taken without effect is said; what works is not."""

from typing import Any

import pytest

from controlplane.without_effect import notes

Obj = dict[str, Any]
PLAIN = {"containers": [{"name": "c", "image": "nginx", "resources": {"limits": {"cpu": "1"}}}]}
SEALED = {
    "hostIPC": True,
    "securityContext": {"runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [{"name": "c", "image": "nginx", "securityContext": {"seLinuxOptions": {"level": "s0"}}}],
}


def said(kind: str, **spec: Any) -> list[str]:
    return list(notes({"kind": kind, "metadata": {"name": "x"}, "spec": spec}))


def test_what_works_is_not_mentioned() -> None:
    assert said("Pod", **PLAIN) == []
    assert said("Deployment", template={"spec": PLAIN}) == []
    assert said("Service", ports=[{"port": 80}]) == []
    assert list(notes({"kind": "ConfigMap", "data": {"spec": "x"}})) == []


@pytest.mark.parametrize(
    ("kind", "place", "wrapped"),
    [
        ("Pod", "spec", SEALED),
        ("StatefulSet", "spec.template.spec", {"template": {"spec": SEALED}}),
        (
            "CronJob",
            "spec.jobTemplate.spec.template.spec",
            {"jobTemplate": {"spec": {"template": {"spec": SEALED}}}},
        ),
    ],
)
def test_fields_of_pods(kind: str, place: str, wrapped: Obj) -> None:
    assert said(kind, **wrapped) == [
        f"{place}.hostIPC: has no effect in a lab",
        f"{place}.securityContext.seccompProfile: has no effect in a lab",
        f"{place}.containers[0].securityContext.seLinuxOptions: has no effect in a lab",
    ]


def test_kinds_that_nothing_acts_upon() -> None:
    (text,) = said("HorizontalPodAutoscaler", maxReplicas=3)
    assert text.startswith("HorizontalPodAutoscaler: has no effect: ")


def test_rules_in_cel() -> None:
    rule = {"type": "object", "x-kubernetes-validations": [{"rule": "self.a > 1"}]}
    schema = {"openAPIV3Schema": {"properties": {"spec": rule}}}
    (text,) = said("CustomResourceDefinition", versions=[{"name": "v1", "schema": schema}])
    assert text.startswith("spec.versions[0].schema: x-kubernetes-validations: has no effect")
    assert said("CustomResourceDefinition", versions=[{"name": "v1", "schema": {}}]) == []
    (text,) = said("CustomResourceDefinition", conversion={"strategy": "Webhook"}, versions=[])
    assert text.startswith("spec.conversion: has no effect")
