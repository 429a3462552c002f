"""What a pod gets from the cluster when it is created, and what it is refused for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.namespace_gifts import NamespaceGifts
from controlplane.pod_admission import ACCESS_PATH, ACCESS_SOURCES, PodAdmission

Obj = dict[str, Any]
Make = Callable[..., Obj]


@pytest.fixture
def admitting(api: API) -> API:
    api.admit_with("Pod", PodAdmission(api.store))
    api.admit_with("Namespace", NamespaceGifts(api, "the certificate"))
    return api


def made(api: API, kind: str, name: str, version: str = "v1", **fields: Any) -> Obj:
    return api.create({"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields})


def refused(api: API, pod: Obj) -> str:
    with pytest.raises(StatusError) as caught:
        api.create(pod)
    assert caught.value.code == 403
    return caught.value.message


def mounts(pod: Obj) -> list[str]:
    return [mount["mountPath"] for mount in pod["spec"]["containers"][0].get("volumeMounts") or ()]


def test_a_namespace_has_its_account_and_certificate_at_once(admitting: API) -> None:
    made(admitting, "Namespace", "new")
    assert admitting.get("ServiceAccount", "default", "new")
    assert admitting.get("ConfigMap", "kube-root-ca.crt", "new")["data"] == {"ca.crt": "the certificate"}
    assert admitting.get("ServiceAccount", "default", "default"), "those that were there before have it too"


def test_a_pod_can_speak_to_the_api_server_unless_it_does_not_want_to(admitting: API, pod: Make) -> None:
    spec = admitting.create(pod("a"))["spec"]
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert volume["projected"]["sources"] == ACCESS_SOURCES
    assert mounts({"spec": spec}) == [ACCESS_PATH]
    assert mounts(admitting.create(pod("b", automountServiceAccountToken=False))) == []
    made(admitting, "ServiceAccount", "quiet", automountServiceAccountToken=False)
    assert mounts(admitting.create(pod("c", serviceAccountName="quiet"))) == []
    loud = pod("d", serviceAccountName="quiet", automountServiceAccountToken=True)
    assert mounts(admitting.create(loud)) == [ACCESS_PATH]
    assert 'serviceaccount "nobody" not found' in refused(admitting, pod("e", serviceAccountName="nobody"))


def test_what_an_author_mounts_there_stays(admitting: API, pod: Make) -> None:
    own = [{"name": "c", "image": "nginx", "volumeMounts": [{"name": "mine", "mountPath": ACCESS_PATH}]}]
    stored = admitting.create(pod("a", containers=own, volumes=[{"name": "mine", "emptyDir": {}}]))
    assert [mount["name"] for mount in stored["spec"]["containers"][0]["volumeMounts"]] == ["mine"]


def test_priority(admitting: API, pod: Make) -> None:
    scheduling = "scheduling.k8s.io/v1"
    assert admitting.create(pod("none"))["spec"]["priority"] == 0
    made(admitting, "PriorityClass", "high", scheduling, value=1000, preemptionPolicy="Never")
    spec = admitting.create(pod("a", priorityClassName="high"))["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (1000, "Never")
    assert "no PriorityClass with name low was found" in refused(admitting, pod("b", priorityClassName="low"))
    made(admitting, "PriorityClass", "usual", scheduling, value=7, globalDefault=True)
    spec = admitting.create(pod("c"))["spec"]
    assert (spec["priority"], spec["priorityClassName"]) == (7, "usual")


def test_runtime_class(admitting: API, pod: Make) -> None:
    assert 'RuntimeClass "kata" not found' in refused(admitting, pod("a", runtimeClassName="kata"))
    made(admitting, "RuntimeClass", "kata", "node.k8s.io/v1", handler="kata")
    assert admitting.create(pod("a", runtimeClassName="kata"))


def limits(**item: Any) -> Obj:
    return {"limits": [{"type": "Container", **item}]}


def test_limit_range_says_what_the_author_did_not(admitting: API, pod: Make) -> None:
    spec = limits(default={"cpu": "1"}, defaultRequest={"cpu": "500m"}, max={"cpu": "2"}, min={"cpu": "100m"})
    made(admitting, "LimitRange", "cpu", spec=spec)

    def resources(name: str, **given: Any) -> Obj:
        containers = [{"name": "c", "image": "nginx", "resources": given}]
        found: Obj = admitting.create(pod(name, containers=containers))["spec"]["containers"][0]["resources"]
        return found

    assert resources("a") == {"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}}
    assert resources("b", limits={"cpu": "2"}) == {"limits": {"cpu": "2"}, "requests": {"cpu": "2"}}
    assert resources("c", requests={"cpu": "200m"}) == {"limits": {"cpu": "1"}, "requests": {"cpu": "200m"}}
    big = pod("d", containers=[{"name": "c", "image": "nginx", "resources": {"limits": {"cpu": "3"}}}])
    assert "maximum cpu usage per Container is 2, but limit is 3" in refused(admitting, big)
    small = pod("e", containers=[{"name": "c", "image": "nginx", "resources": {"requests": {"cpu": "50m"}}}])
    assert "minimum cpu usage per Container is 100m, but request is 50m" in refused(admitting, small)
