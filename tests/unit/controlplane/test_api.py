from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.patching import JSON_PATCH

Obj = dict[str, Any]
Make = Callable[..., Obj]


def refused(code: int, call: Callable[[], Any]) -> StatusError:
    with pytest.raises(StatusError) as caught:
        call()
    assert caught.value.code == code, caught.value.message
    return caught.value


def test_created_object_is_defaulted_and_its_input_untouched(api: API, pod: Make) -> None:
    given = pod(volumes=[{"name": "v", "configMap": {"name": "c"}}])
    before = copy.deepcopy(given)
    made = api.create(given)
    assert given == before
    metadata = made["metadata"]
    assert metadata["namespace"] == "default"
    assert metadata["generation"] == 1
    assert metadata["uid"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert made["spec"]["restartPolicy"] == "Always"
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert made["spec"]["volumes"][0]["configMap"]["defaultMode"] == 0o644
    assert made["status"]["phase"] == "Pending"
    assert api.get("Pod", "web", "default") is made


def test_image_without_tag_is_always_pulled(api: API, pod: Make) -> None:
    for image, policy in (
        ("nginx", "Always"),
        ("a.b:5000/nginx", "Always"),
        ("x@sha256:0", "IfNotPresent"),
        ("x:1", "IfNotPresent"),
    ):
        obj = pod(containers=[{"name": "c", "image": image}])
        made = api.create({**obj, "metadata": {"generateName": "p-"}})
        assert made["spec"]["containers"][0]["imagePullPolicy"] == policy, image


def test_status_and_system_metadata_are_not_the_authors(api: API, pod: Make) -> None:
    given = pod()
    given["metadata"] |= {"uid": "mine", "generation": 7, "deletionTimestamp": "2024-01-01T00:00:00Z"}
    made = api.create({**given, "status": {"phase": "Running"}})
    assert made["metadata"]["uid"] != "mine"
    assert made["metadata"]["generation"] == 1
    assert "deletionTimestamp" not in made["metadata"]
    assert made["status"]["phase"] == "Pending"


def test_generated_names_differ(api: API, pod: Make) -> None:
    obj = {**pod(), "metadata": {"generateName": "x-"}}
    names = {api.create(obj)["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("x-") and len(name) == 7 for name in names)


def test_null_means_not_set(api: API) -> None:
    made = api.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "c", "labels": None},
            "data": {"a": None},
        }
    )
    assert "labels" not in made["metadata"]
    assert made["data"] == {}


def test_namespace_must_exist_and_live(api: API, pod: Make) -> None:
    error = refused(404, lambda: api.create(pod(), "nowhere"))
    assert error.message == 'namespaces "nowhere" not found'
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})
    api.delete("Namespace", "n")
    error = refused(403, lambda: api.create(pod(), "n"))
    assert "because it is being terminated" in error.message
    given = pod()
    given["metadata"]["namespace"] = "other"
    refused(400, lambda: api.create(given, "default"))


def test_name_taken(api: API, pod: Make) -> None:
    api.create(pod())
    assert refused(409, lambda: api.create(pod())).message == 'pods "web" already exists'


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ([], "an object must be a mapping with apiVersion and kind, got []"),
        ({"kind": "Pod"}, "apiVersion: Required value: Object 'apiVersion' is missing"),
        ({"apiVersion": "v1"}, "kind: Required value: Object 'Kind' is missing"),
        ({"apiVersion": "v1", "kind": "Pot"}, 'no matches for kind "Pot" in version "v1"'),
        ({"apiVersion": "v2", "kind": "Pod"}, 'no matches for kind "Pod" in version "v2"'),
        ({"apiVersion": ["v1"], "kind": {}}, "apiVersion: Required value: Object 'apiVersion' is missing"),
    ],
)
def test_unknown_kind(api: API, obj: Any, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        api.create(obj)
    assert caught.value.message == message


def test_dry_run_writes_nothing(api: API, pod: Make) -> None:
    revision = api.store.revision
    assert api.create(pod(), dry_run=True)["spec"]["dnsPolicy"] == "ClusterFirst"
    assert api.store.revision == revision
    api.create(pod())
    revision = api.store.revision
    api.patch("Pod", "web", "default", {"metadata": {"labels": {"a": "b"}}}, dry_run=True)
    api.delete("Pod", "web", "default", dry_run=True)
    assert api.store.revision == revision


def test_unknown_fields_are_refused_or_dropped_with_a_warning(api: API, pod: Make) -> None:
    given = pod(colour="red")
    error = refused(400, lambda: api.create(given))
    assert error.message == 'strict decoding error: unknown field "spec.colour"'
    warnings: list[str] = []
    made = api.create(given, warn=warnings.append)
    assert warnings == ['unknown field "spec.colour"']
    assert "colour" not in made["spec"]


def test_wrong_type_names_the_place(api: API, pod: Make) -> None:
    error = refused(
        400,
        lambda: api.create(pod(containers=[{"name": "c", "image": "i", "ports": [{"containerPort": "80"}]}])),
    )
    assert error.details["causes"][0]["field"] == "spec.containers[0].ports[0].containerPort"
    assert "cannot unmarshal string" in error.message


def test_optimistic_replacement(api: API, pod: Make) -> None:
    first = api.create(pod())
    labelled = {**first, "metadata": {**first["metadata"], "labels": {"app": "x"}}}
    second = api.replace(labelled)
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    assert second["metadata"]["generation"] == 1
    error = refused(409, lambda: api.replace(labelled))
    assert error.reason == "Conflict"
    assert "the object has been modified" in error.message
    unconditional = {**labelled, "metadata": {"name": "web", "namespace": "default"}}
    assert "labels" not in api.replace(unconditional)["metadata"]


def test_replacement_that_changes_nothing_writes_nothing(api: API, pod: Make) -> None:
    made = api.create(pod())
    revision = api.store.revision
    assert api.replace(made) is made
    assert api.patch("Pod", "web", "default", {"metadata": {"labels": {"app": "web"}}}) is made
    assert api.update_status("Pod", "web", "default", {"phase": "Pending"}) is made
    assert api.store.revision == revision


def test_generation_counts_spec_changes_only(api: API, deployment: Make) -> None:
    api.create(deployment())
    api.update_status("Deployment", "web", "default", {"replicas": 3})
    assert (
        api.patch("Deployment", "web", "default", {"metadata": {"labels": {"a": "b"}}})["metadata"][
            "generation"
        ]
        == 1
    )
    assert api.patch("Deployment", "web", "default", {"spec": {"replicas": 5}})["metadata"]["generation"] == 2


def test_status_has_its_own_door(api: API, deployment: Make) -> None:
    api.create(deployment())
    through_front = api.patch(
        "Deployment", "web", "default", {"status": {"replicas": 9}, "spec": {"replicas": 2}}
    )
    assert through_front["status"] == {}
    through_status = api.patch(
        "Deployment",
        "web",
        "default",
        {"status": {"replicas": 9}, "spec": {"replicas": 7}},
        subresource="status",
    )
    assert through_status["status"] == {"replicas": 9}
    assert through_status["spec"]["replicas"] == 2


def test_patches(api: API, pod: Make) -> None:
    api.create(pod())
    operations = [{"op": "add", "path": "/metadata/labels/x", "value": "y"}]
    assert api.patch("Pod", "web", "default", operations, JSON_PATCH)["metadata"]["labels"] == {
        "app": "web",
        "x": "y",
    }
    refused(400, lambda: api.patch("Pod", "web", "default", {"metadata": {"name": "other"}}))
    refused(400, lambda: api.patch("Pod", "web", "default", {"kind": "Service"}))
    refused(400, lambda: api.patch("Pod", "web", "default", []))
    refused(409, lambda: api.patch("Pod", "web", "default", {"metadata": {"resourceVersion": "1"}}))
    refused(415, lambda: api.patch("Pod", "web", "default", {}, "text/plain"))
    refused(404, lambda: api.patch("Pod", "none", "default", {}))


def test_bad_status_is_refused(api: API, pod: Make) -> None:
    api.create(pod())
    refused(400, lambda: api.update_status("Pod", "web", "default", {"phase": 5}))


def test_pod_deletion_with_grace(api: API, pod: Make) -> None:
    api.create(pod())
    api.bind("web", "default", "n1")
    marked = api.delete("Pod", "web", "default")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    assert api.delete("Pod", "web", "default") is marked
    sooner = api.delete("Pod", "web", "default", grace_period=5)
    assert sooner["metadata"]["deletionGracePeriodSeconds"] == 5
    api.delete("Pod", "web", "default", grace_period=0)
    refused(404, lambda: api.get("Pod", "web", "default"))


def test_pod_without_node_goes_at_once(api: API, pod: Make) -> None:
    api.create(pod())
    api.delete("Pod", "web", "default")
    assert api.list("Pod")[0] == []


def test_preconditions_of_a_deletion(api: API, pod: Make) -> None:
    made = api.create(pod())
    refused(409, lambda: api.delete("Pod", "web", "default", uid="other"))
    refused(409, lambda: api.delete("Pod", "web", "default", resource_version="1"))
    refused(400, lambda: api.delete("Pod", "web", "default", propagation="Sideways"))
    api.delete("Pod", "web", "default", uid=made["metadata"]["uid"])
    refused(404, lambda: api.delete("Pod", "web", "default"))


def test_finalizer_holds_the_object(api: API) -> None:
    metadata = {"name": "c", "finalizers": ["example.com/hold"]}
    api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    assert "deletionTimestamp" in api.delete("ConfigMap", "c", "default")["metadata"]
    assert api.get("ConfigMap", "c", "default")
    api.patch("ConfigMap", "c", "default", {"metadata": {"finalizers": None}})
    refused(404, lambda: api.get("ConfigMap", "c", "default"))


def test_binding(api: API, pod: Make) -> None:
    api.create(pod())
    bound = api.bind("web", "default", "n1")
    assert bound["spec"]["nodeName"] == "n1"
    assert bound["status"]["conditions"][0]["type"] == "PodScheduled"
    refused(409, lambda: api.bind("web", "default", "n2"))
    api.delete("Pod", "web", "default")
    api.create(pod("other"))
    refused(404, lambda: api.bind("none", "default", "n1"))


def test_list_is_sorted_and_selected(api: API, pod: Make) -> None:
    for name in ("b", "c", "a"):
        api.create(pod(name))
    api.bind("b", "default", "n1")
    items, revision = api.list("Pod")
    assert [obj["metadata"]["name"] for obj in items] == ["a", "b", "c"]
    assert revision == api.store.revision
    assert len(api.list("Pod", field_selector="spec.nodeName=n1")[0]) == 1
    assert len(api.list("Pod", label_selector="app=web")[0]) == 3
    assert api.list("Pod", "other")[0] == []
    refused(404, lambda: api.list("Pot"))


def test_same_event_counts_up(api: API, pod: Make) -> None:
    made = api.create(pod())
    for _ in range(3):
        api.event(made, "Failed", "it broke", type="Warning", component="kubelet", host="n1")
    api.event(made, "Failed", "it broke again", component="kubelet")
    events = sorted(api.list("Event")[0], key=lambda event: event["count"])
    assert [event["count"] for event in events] == [1, 3]
    assert events[1]["involvedObject"]["uid"] == made["metadata"]["uid"]
    assert events[1]["source"] == {"component": "kubelet", "host": "n1"}


def test_no_event_outlives_its_namespace(api: API, pod: Make) -> None:
    made = api.create(pod())
    gone = {**made, "metadata": {**made["metadata"], "namespace": "gone"}}
    api.event(gone, "Killing", "too late", component="kubelet")
    assert api.list("Event")[0] == []


def test_events_do_not_pile_up(api: API, pod: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.events.LIMIT", 5)
    made = api.create(pod())
    for number in range(20):
        api.event(made, "Tick", f"tick {number}", component="test")
    messages = {event["message"] for event in api.list("Event")[0]}
    assert messages == {f"tick {number}" for number in range(15, 20)}
