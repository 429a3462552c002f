from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.errors import StatusError
from controlplane.patch import apply_json_patch, merge

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x"])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def reference_merge(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = reference_merge(result.get(name), value)
    return result


@given(OBJECTS, OBJECTS)
def test_merge_is_rfc_7386_and_changes_nothing_given(target: Any, patch: Any) -> None:
    before = copy.deepcopy((target, patch))
    assert merge(target, patch) == reference_merge(target, patch)
    assert (target, patch) == before


@given(OBJECTS, OBJECTS)
def test_merge_twice_is_merge_once_and_shares(target: Any, patch: Any) -> None:
    once = merge(target, patch)
    assert merge(once, patch) is once


def test_merge_tells_true_from_one() -> None:
    assert merge({"a": 1}, {"a": True})["a"] is True


@pytest.mark.parametrize(
    ("operations", "result"),
    [
        ([{"op": "add", "path": "/d", "value": 1}], {"a": {"b": [1, 2]}, "c/d": 3, "d": 1}),
        ([{"op": "add", "path": "/a/b/0", "value": 0}], {"a": {"b": [0, 1, 2]}, "c/d": 3}),
        ([{"op": "add", "path": "/a/b/-", "value": 3}], {"a": {"b": [1, 2, 3]}, "c/d": 3}),
        ([{"op": "replace", "path": "/a/b/1", "value": 9}], {"a": {"b": [1, 9]}, "c/d": 3}),
        ([{"op": "remove", "path": "/a/b/0"}], {"a": {"b": [2]}, "c/d": 3}),
        ([{"op": "remove", "path": "/c~1d"}], {"a": {"b": [1, 2]}}),
        ([{"op": "move", "from": "/c~1d", "path": "/e"}], {"a": {"b": [1, 2]}, "e": 3}),
        ([{"op": "copy", "from": "/a/b", "path": "/e"}], {"a": {"b": [1, 2]}, "c/d": 3, "e": [1, 2]}),
        ([{"op": "test", "path": "/a/b/0", "value": 1}], {"a": {"b": [1, 2]}, "c/d": 3}),
    ],
)
def test_json_patch(operations: list[Any], result: Any) -> None:
    assert apply_json_patch({"a": {"b": [1, 2]}, "c/d": 3}, operations) == result


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ({}, 400),
        (["x"], 400),
        ([{"op": "add", "path": "/x"}], 400),
        ([{"op": "what", "path": "/x"}], 400),
        ([{"op": "add", "path": "x", "value": 1}], 400),
        ([{"op": "copy", "path": "/x"}], 400),
        ([{"op": "test", "path": "/a", "value": 2}], 422),
        ([{"op": "remove", "path": "/x"}], 422),
        ([{"op": "remove", "path": ""}], 422),
        ([{"op": "replace", "path": "/a/b", "value": 1}], 422),
        ([{"op": "add", "path": "/l/7", "value": 1}], 422),
        ([{"op": "add", "path": "/l/x/y", "value": 1}], 422),
        ([{"op": "add", "path": "/a/x/y", "value": 1}], 422),
    ],
)
def test_json_patch_that_does_not_apply(operations: Any, code: int) -> None:
    with pytest.raises(StatusError) as caught:
        apply_json_patch({"a": 1, "l": []}, operations)
    assert caught.value.code == code


OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "test", "move", "copy"])},
    optional={
        "path": st.sampled_from(["", "/a", "/b/c", "/a/0", "/a/-", "/b/c/1"]),
        "from": st.sampled_from(["/a", "/b", "/a/0"]),
        "value": JSON,
    },
)


@given(OBJECTS, st.lists(OPERATIONS, max_size=4))
def test_json_patch_applies_or_is_refused(target: Any, operations: list[Any]) -> None:
    before = copy.deepcopy(target)
    refused_with = 0
    try:
        apply_json_patch(target, operations)
    except StatusError as error:
        refused_with = error.code
    assert refused_with in (0, 400, 422)
    assert target == before
