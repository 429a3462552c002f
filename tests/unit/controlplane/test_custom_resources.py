"""Custom resources: a definition takes effect within its write; objects are pruned, defaulted and checked."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.api import API
from controlplane.custom.definitions import Definitions
from controlplane.custom.json_path import compile_path
from controlplane.errors import StatusError
from controlplane.http import openapi
from controlplane.patching import STRATEGIC_PATCH

Obj = dict[str, Any]
KIND = "CronTab.stable.example.com"
SPEC = {
    "type": "object",
    "required": ["schedule"],
    "properties": {
        "schedule": {"type": "string", "pattern": "^[*0-9 ]+$"},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
        "policy": {"type": "string", "enum": ["Allow", "Forbid"]},
        "port": {"x-kubernetes-int-or-string": True},
        "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "hosts": {
            "type": "array",
            "items": {"type": "string"},
            "x-kubernetes-list-type": "set",
            "maxItems": 2,
        },
    },
}
COLUMNS = [
    {"name": "Schedule", "type": "string", "jsonPath": ".spec.schedule"},
    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
]


def version(name: str = "v1", *, storage: bool = True, **more: Any) -> Obj:
    schema = {"type": "object", "properties": {"spec": SPEC, "status": STATUS}}
    parts = {"served": True, "storage": storage, "schema": {"openAPIV3Schema": schema}}
    return {
        "name": name,
        **parts,
        "additionalPrinterColumns": COLUMNS,
        "subresources": {"status": {}},
        **more,
    }


STATUS = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "properties": {"active": {"type": "integer"}},
}


def definition(*versions: Obj, **spec: Any) -> Obj:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"]},
            "versions": list(versions) or [version()],
            **spec,
        },
    }


def cron_tab(name: str = "c", **spec: Any) -> Obj:
    spec = {"schedule": "* *", **spec}
    return {
        "apiVersion": "stable.example.com/v1",
        "kind": "CronTab",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


@pytest.fixture
def custom(api: API) -> API:
    api.admit_with("CustomResourceDefinition", Definitions(api))
    api.create(definition())
    return api


def complaint(api: API, obj: Obj) -> str:
    with pytest.raises(StatusError) as error:
        api.create(obj)
    assert (error.value.code, error.value.reason) == (422, "Invalid")
    return error.value.message


def test_a_definition_is_established_at_once(custom: API) -> None:
    stored = custom.get("CustomResourceDefinition", "crontabs.stable.example.com")
    conditions = {each["type"]: each["status"] for each in stored["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert stored["status"]["storedVersions"] == ["v1"]
    assert stored["status"]["acceptedNames"]["singular"] == "crontab"


def test_objects_live_like_others(custom: API) -> None:
    made = custom.create(cron_tab())
    assert made["spec"]["replicas"] == 1  # the schema's default
    assert made["metadata"]["generation"] == 1
    custom.update_status(KIND, "c", "default", {"active": 2})
    assert custom.get(KIND, "c", "default")["status"] == {"active": 2}
    assert custom.patch(KIND, "c", "default", {"spec": {"replicas": 2}})["metadata"]["generation"] == 2
    assert [obj["metadata"]["name"] for obj in custom.list(KIND)[0]] == ["c"]
    custom.delete(KIND, "c", "default")
    assert custom.list(KIND)[0] == []


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            {"replicas": 11},
            "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
        ),
        (
            {"replicas": "x"},
            'spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"',
        ),
        ({"policy": "No"}, 'spec.policy: Unsupported value: "No": supported values: "Allow", "Forbid"'),
        ({"schedule": "x"}, "spec.schedule in body should match '^[*0-9 ]+$'"),
        ({"hosts": ["a", "a"]}, 'spec.hosts[1]: Duplicate value: "a"'),
        ({"hosts": ["a", "b", "c"]}, "spec.hosts: Too many: 3: must have at most 2 items"),
        ({"port": True}, 'must be of type integer,string: "boolean"'),
    ],
)
def test_values_are_held_against_the_schema(custom: API, spec: Obj, text: str) -> None:
    assert text in complaint(custom, cron_tab(**spec))


def test_what_is_required(custom: API) -> None:
    assert "spec.schedule: Required value" in complaint(custom, {**cron_tab(), "spec": {}})


def test_a_status_is_held_against_the_schema_too(custom: API) -> None:
    custom.create(cron_tab())
    with pytest.raises(StatusError) as error:
        custom.patch(KIND, "c", "default", {"status": {"active": "x"}}, subresource="status")
    assert 'status.active in body must be of type integer: "string"' in error.value.message


def test_unknown_fields_are_pruned_and_told(custom: API) -> None:
    told: list[str] = []
    made = custom.create(cron_tab(colour="red", raw={"any": {"thing": 1}}), warn=told.append)
    assert told == ['unknown field "spec.colour"']
    assert "colour" not in made["spec"]
    assert made["spec"]["raw"] == {"any": {"thing": 1}}
    with pytest.raises(StatusError) as error:
        custom.create(cron_tab("d", colour="red"))
    assert error.value.code == 400


def test_there_is_no_strategic_merge(custom: API) -> None:
    custom.create(cron_tab())
    with pytest.raises(StatusError) as error:
        custom.patch(KIND, "c", "default", {"spec": {}}, STRATEGIC_PATCH)
    assert error.value.code == 415


def test_columns_are_those_of_the_definition(custom: API) -> None:
    obj = custom.create(cron_tab())
    obj = {**obj, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    columns = custom.kinds.get(KIND).columns
    assert [(column.name, column.priority) for column in columns] == [
        ("Name", 0),
        ("Schedule", 0),
        ("Replicas", 1),
        ("Ready", 0),
    ]
    assert [column.value(obj) for column in columns] == ["c", "* *", 1, "True"]


def test_the_end_of_a_definition_takes_its_objects_along(custom: API) -> None:
    custom.create(cron_tab())
    custom.delete("CustomResourceDefinition", "crontabs.stable.example.com")
    with pytest.raises(StatusError) as error:
        custom.get(KIND, "c", "default")
    assert error.value.code == 404
    custom.create(definition())
    assert custom.list(KIND)[0] == []


def test_versions_are_the_same_objects(custom: API) -> None:
    old = custom.get("CustomResourceDefinition", "crontabs.stable.example.com")
    both = [version(), version("v1beta1", storage=False)]
    custom.replace({**old, "spec": {**old["spec"], "versions": both}})
    served = {(kind.version, kind.key) for kind in custom.kinds.served() if kind.name == "CronTab"}
    assert served == {("v1", KIND), ("v1beta1", KIND)}
    assert custom.kinds.get(KIND).version == "v1"
    assert openapi.document(custom.kinds, "apis/stable.example.com/v1beta1") is not None


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (definition(scope="World"), "spec.scope: Unsupported value"),
        (definition(group="other.io"), 'must be spec.names.plural+"."+spec.group'),
        (definition(version(), version("v2")), "exactly one version marked as storage version"),
        (definition(version(schema={})), "spec.versions[0].schema.openAPIV3Schema: Required value"),
        (
            definition(
                version(additionalPrinterColumns=[{"name": "X", "type": "string", "jsonPath": "{[}"}])
            ),
            "additionalPrinterColumns[0].jsonPath: Invalid value",
        ),
        (
            definition(version(additionalPrinterColumns=[{"name": "X", "type": "string"}])),
            "additionalPrinterColumns[0].jsonPath: Required value",
        ),
        ({**definition(), "spec": {}}, "spec.group: Required value"),
    ],
)
def test_broken_definitions_are_refused(api: API, broken: Obj, text: str) -> None:
    api.admit_with("CustomResourceDefinition", Definitions(api))
    assert text in complaint(api, broken)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]),
        (".list[0].x", ["p"]),
        (".list[-1].x", ["q"]),
        (".list[*].x", ["p", "q"]),
        ('.list[?(@.x=="q")].y', [2]),
        ("{.a['b']}", [1]),
        (r".dotted\.name", [3]),
        (".nothing.here", []),
    ],
)
def test_json_path(path: str, found: list[Any]) -> None:
    obj = {"a": {"b": 1}, "list": [{"x": "p"}, {"x": "q", "y": 2}], "dotted.name": 3}
    assert compile_path(path)(obj) == found
