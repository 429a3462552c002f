from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.patching import STRATEGIC_PATCH, apply_patch
from controlplane.strategic import strategic_merge

POD, SERVICE = "io.k8s.api.core.v1.Pod", "io.k8s.api.core.v1.Service"
DEPLOYMENT = "io.k8s.api.apps.v1.Deployment"


def containers(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": name, "image": image} for name, image in pairs]}}


TWO = containers(("a", "x:1"), ("b", "y:1"))


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        (TWO, containers(("b", "y:2")), containers(("a", "x:1"), ("b", "y:2"))),
        (TWO, containers(("c", "z:1")), containers(("a", "x:1"), ("b", "y:1"), ("c", "z:1"))),
        (TWO, {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}, containers(("b", "y:1"))),
        (
            TWO,
            {"spec": {"containers": [{"$patch": "replace"}, {"name": "n", "image": "i"}]}},
            containers(("n", "i")),
        ),
        (
            TWO,
            {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}},
            containers(("b", "y:1"), ("a", "x:1")),
        ),
        (TWO, {"spec": {"$patch": "replace", "nodeName": "n"}}, {"spec": {"nodeName": "n"}}),
        (TWO, {"spec": {"containers": None}}, {"spec": {}}),
        (
            {"metadata": {"labels": {"a": "1"}}},
            {"metadata": {"labels": {"b": "2"}}},
            {"metadata": {"labels": {"a": "1", "b": "2"}}},
        ),
        (
            {"metadata": {"finalizers": ["x"]}},
            {"metadata": {"finalizers": ["y", "x"]}},
            {"metadata": {"finalizers": ["x", "y"]}},
        ),
        (
            {"metadata": {"finalizers": ["x", "y"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}},
            {"metadata": {"finalizers": ["y"]}},
        ),
        (
            {"spec": {"hostAliases": [{"ip": "1"}]}},
            {"spec": {"hostAliases": [{"ip": "2"}]}},
            {"spec": {"hostAliases": [{"ip": "1"}, {"ip": "2"}]}},
        ),
        (
            {"spec": {"tolerations": [{"key": "a"}]}},
            {"spec": {"tolerations": [{"key": "b"}]}},
            {"spec": {"tolerations": [{"key": "b"}]}},
        ),
    ],
)
def test_strategic_merge(target: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy((target, patch))
    assert strategic_merge(target, patch, POD) == result
    assert (target, patch) == before


def test_service_ports_are_merged_by_number() -> None:
    target = {"spec": {"ports": [{"port": 80, "nodePort": 30080}]}}
    patch = {"spec": {"ports": [{"port": 80, "name": "web"}]}}
    assert strategic_merge(target, patch, SERVICE)["spec"]["ports"] == [
        {"port": 80, "nodePort": 30080, "name": "web"}
    ]


def test_retained_keys() -> None:
    target = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_merge(target, patch, DEPLOYMENT) == {"spec": {"strategy": {"type": "Recreate"}}}


@pytest.mark.parametrize(
    "patch",
    [
        [],
        {"spec": {"$patch": "eat"}},
        {"spec": {"containers": [{"image": "x"}]}},
        {"spec": {"containers": ["x"]}},
        {"spec": {"$setElementOrder/containers": "x"}},
    ],
)
def test_malformed_patch(patch: Any) -> None:
    with pytest.raises(StatusError) as caught:
        strategic_merge(TWO, patch, POD)
    assert caught.value.code == 400


NAMES = st.sampled_from("abcd")
ELEMENTS = st.lists(
    st.fixed_dictionaries({"name": NAMES, "image": NAMES}), max_size=4, unique_by=lambda entry: entry["name"]
)


@given(ELEMENTS, ELEMENTS)
def test_merging_lists_keeps_everybody_and_twice_is_once(old: list[Any], new: list[Any]) -> None:
    patch = {
        "spec": {"containers": new, "$setElementOrder/containers": [{"name": entry["name"]} for entry in new]}
    }
    once = strategic_merge({"spec": {"containers": old}}, patch, POD)
    merged = {entry["name"]: entry["image"] for entry in once["spec"]["containers"]}
    assert merged == {**{e["name"]: e["image"] for e in old}, **{e["name"]: e["image"] for e in new}}
    names = [entry["name"] for entry in once["spec"]["containers"]]
    wanted = [entry["name"] for entry in new]
    assert [name for name in names if name in wanted] == wanted
    assert strategic_merge(once, patch, POD) == once


def test_through_the_api(api: API) -> None:
    api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, **TWO})
    api.patch("Pod", "p", "default", containers(("b", "y:2")), STRATEGIC_PATCH)
    assert [entry["image"] for entry in api.get("Pod", "p", "default")["spec"]["containers"]] == [
        "x:1",
        "y:2",
    ]
    with pytest.raises(StatusError):
        apply_patch({}, [{"op": "replace", "path": "", "value": 1}], "application/json-patch+json", POD)
