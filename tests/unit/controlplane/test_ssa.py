"""Server-side apply: who owns what, conflicts, what goes when nobody names it any more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.managed import owners
from controlplane.managed.leaves import leaves, show
from controlplane.patching import MERGE_PATCH

Obj = dict[str, Any]


def config(name: str = "c", data: Obj | None = None, **metadata: Any) -> Obj:
    body: Obj = {"apiVersion": "v1", "kind": "ConfigMap"}
    return {**body, "metadata": {"name": name, "namespace": "default", **metadata}, "data": data or {}}


def web(**spec: Any) -> Obj:
    """A Deployment's configuration with one container; `spec` adds to it, `container` to that."""
    container = {"name": "c", "image": "nginx:1", **spec.pop("container", {})}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec},
    }


def fields_of(obj: Obj, manager: str) -> set[str]:
    """What a manager owns, as people write it."""
    return {
        show(path)
        for owner, owned in owners.read(obj).items()
        if owner.manager == manager
        for path in owned.fields
    }


def container(api: API) -> Obj:
    found: Obj = api.get("Deployment", "web", "default")["spec"]["template"]["spec"]["containers"][0]
    return found


def test_the_first_apply_creates_and_owns_what_it_names(api: API) -> None:
    made = api.apply(web(replicas=2), "me")
    assert made["spec"]["replicas"] == 2
    assert made["spec"]["progressDeadlineSeconds"] == 600  # defaulted: nobody's
    assert fields_of(made, "me") == {
        ".spec.replicas",
        ".spec.selector",
        ".spec.template.metadata.labels.app",
        '.spec.template.spec.containers[name="c"]',
        '.spec.template.spec.containers[name="c"].name',
        '.spec.template.spec.containers[name="c"].image',
    }


def test_the_same_again_writes_nothing(api: API) -> None:
    first = api.apply(web(), "me")
    assert api.apply(web(), "me") == first
    assert api.store.revision == int(first["metadata"]["resourceVersion"])


def test_another_value_of_an_owned_field_is_a_conflict(api: API) -> None:
    api.apply(web(replicas=2), "me")
    with pytest.raises(StatusError) as error:
        api.apply(web(replicas=3), "you")
    assert (error.value.code, error.value.reason) == (409, "Conflict")
    assert (
        error.value.message
        == 'Apply failed with 1 conflict: conflict with "me" using apps/v1: .spec.replicas'
    )
    assert error.value.details["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "me" using apps/v1',
            "field": ".spec.replicas",
        }
    ]
    assert api.get("Deployment", "web", "default")["spec"]["replicas"] == 2


def test_force_takes_the_field(api: API) -> None:
    api.apply(web(replicas=2), "me")
    taken = api.apply(web(replicas=3), "you", force=True)
    assert taken["spec"]["replicas"] == 3
    assert ".spec.replicas" in fields_of(taken, "you") - fields_of(taken, "me")


def test_the_same_value_is_shared(api: API) -> None:
    api.apply(config(data={"a": "1"}), "me")
    both = api.apply(config(data={"a": "1", "b": "2"}), "you")
    assert fields_of(both, "me") == {".data.a"}
    rest = api.apply(config(data={"b": "2"}), "you")
    assert rest["data"] == {"a": "1", "b": "2"}  # still mine


def test_what_is_no_longer_named_goes(api: API) -> None:
    api.apply(config(data={"a": "1", "b": "2"}, labels={"x": "y"}), "me")
    rest = api.apply(config(data={"a": "1"}), "me")
    assert rest["data"] == {"a": "1"}
    assert "labels" not in rest["metadata"]


def test_elements_of_keyed_lists_have_owners_of_their_own(api: API) -> None:
    api.apply(web(container={"ports": [{"containerPort": 80}]}), "me")
    yours = web(container={"ports": [{"containerPort": 81, "protocol": "UDP"}]})
    api.apply(yours, "you")
    assert [port["containerPort"] for port in container(api)["ports"]] == [80, 81]
    api.apply(web(), "me")
    assert [port["containerPort"] for port in container(api)["ports"]] == [81]


def test_an_ordinary_write_takes_what_it_changes(api: API) -> None:
    api.apply(web(replicas=2), "me")
    patch = {"spec": {"replicas": 5}}
    scaled = api.patch("Deployment", "web", "default", patch, MERGE_PATCH, manager="scaler")
    assert fields_of(scaled, "scaler") == {".spec.replicas"}
    with pytest.raises(StatusError) as error:
        api.apply(web(replicas=2), "me")
    assert 'conflict with "scaler"' in error.value.message
    given_up = api.apply(web(), "me")
    assert given_up["spec"]["replicas"] == 5


def test_what_was_there_before_belongs_to_nobody_in_particular(api: API) -> None:
    api.create(config(data={"a": "1"}))
    with pytest.raises(StatusError) as error:
        api.apply(config(data={"a": "2"}), "me")
    assert '"before-first-apply"' in error.value.message


def test_kubectl_may_change_what_it_applied_on_the_clients_side(api: API) -> None:
    before = json.dumps(config(data={"a": "1"}))
    note = {"kubectl.kubernetes.io/last-applied-configuration": before}
    api.create(config(data={"a": "1", "b": "1"}, annotations=note))
    assert api.apply(config(data={"a": "2"}), "kubectl")["data"] == {"a": "2", "b": "1"}
    for manager, data in (("kubectl", {"b": "2"}), ("you", {"a": "3"})):
        with pytest.raises(StatusError) as error:
            api.apply(config(data=data), manager)
        assert error.value.code == 409


@pytest.mark.parametrize("note", ["{", "[]", "3", '{"data": 3}'])
def test_a_broken_note_of_kubectls_settles_nothing(api: API, note: str) -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": note}
    api.create(config(data={"a": "1"}, annotations=annotations))
    with pytest.raises(StatusError) as error:
        api.apply(config(data={"a": "2"}), "kubectl")
    assert error.value.code == 409


def test_a_status_is_applied_through_its_own_door(api: API) -> None:
    api.create(web(replicas=2))
    config = {**web(replicas=5), "status": {"replicas": 2}}
    applied = api.apply(config, "reporter", subresource="status")
    assert (applied["spec"]["replicas"], applied["status"]["replicas"]) == (2, 2)
    assert fields_of(applied, "reporter") == {".status.replicas"}
    assert {owner.subresource for owner in owners.read(applied) if owner.manager == "reporter"} == {"status"}


def test_objects_that_nobody_applies_are_not_tracked(api: API) -> None:
    api.create(config(data={"a": "1"}))
    patched = api.patch("ConfigMap", "c", "default", {"data": {"a": "2"}}, MERGE_PATCH, manager="me")
    assert "managedFields" not in patched["metadata"]


def test_an_empty_list_of_managers_ends_the_tracking(api: API) -> None:
    made = api.apply(config(data={"a": "1"}), "me")
    made = {**made, "metadata": {**made["metadata"], "managedFields": [{}]}}
    assert "managedFields" not in api.replace(made)["metadata"]


def test_a_dry_run_changes_nothing(api: API) -> None:
    api.apply(config(data={"a": "1"}), "me")
    assert api.apply(config(data={"a": "2"}), "me", dry_run=True)["data"] == {"a": "2"}
    assert api.get("ConfigMap", "c", "default")["data"] == {"a": "1"}


def test_a_configuration_must_not_name_managers(api: API) -> None:
    with pytest.raises(StatusError) as error:
        api.apply(config(managedFields=[{"manager": "x"}]), "me")
    assert error.value.code == 400


WORDS = st.text('ab.:{}"', min_size=1, max_size=4)
TREES = st.recursive(st.integers(), lambda inner: st.dictionaries(WORDS, inner, min_size=1, max_size=3))


@given(st.dictionaries(WORDS, TREES, min_size=1, max_size=4))
def test_field_sets_survive_being_written(data: Obj) -> None:
    found = set(leaves(data, {"additionalProperties": {}}))
    owner = owners.Owner("m", owners.APPLY)
    entries = owners.write({owner: owners.Owned(found, "v1")})
    again = owners.read({"metadata": {"managedFields": json.loads(json.dumps(entries))}})
    assert again[owner].fields == found
