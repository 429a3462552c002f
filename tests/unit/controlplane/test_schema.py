from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.builtin_kinds import standard_kinds
from controlplane.schema.decode import Findings, definitions, shape
from controlplane.schema.extract import WANTED, extract

POD = shape("io.k8s.api.core.v1.Pod")


def decode(value: Any) -> tuple[Any, Findings]:
    findings = Findings()
    return POD.decode(value, None, findings), findings


def test_a_right_value_is_returned_as_it_is() -> None:
    pod = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]},
    }
    decoded, findings = decode(pod)
    assert decoded is pod
    assert not findings.wrong
    assert not findings.unknown


def test_unknown_fields_and_nulls_go_and_the_input_stays() -> None:
    pod = {"spec": {"containers": [{"name": "c", "imag": "x", "image": None}], "nodeName": None}}
    before = copy.deepcopy(pod)
    decoded, findings = decode(pod)
    assert decoded == {"spec": {"containers": [{"name": "c"}]}}
    assert findings.unknown == ["spec.containers[0].imag"]
    assert pod == before


@pytest.mark.parametrize(
    ("pod", "field", "words"),
    [
        ({"spec": []}, "spec", "cannot unmarshal array into Go struct field spec of type object"),
        ({"spec": {"containers": {}}}, "spec.containers", "of type array"),
        ({"spec": {"hostNetwork": "yes"}}, "spec.hostNetwork", "of type bool"),
        ({"spec": {"priority": True}}, "spec.priority", "cannot unmarshal bool"),
        ({"spec": {"priority": 1.5}}, "spec.priority", "of type int32"),
        ({"spec": {"priority": 2**31}}, "spec.priority", "number 2147483648"),
        ({"spec": {"nodeSelector": {"a": 1}}}, "spec.nodeSelector.a", "of type string"),
        ({"metadata": {"labels": "x"}}, "metadata.labels", "of type map"),
        ({"metadata": {"creationTimestamp": "now"}}, "metadata.creationTimestamp", "parsing time"),
        ({"spec": {"overhead": {"cpu": "1 core"}}}, "spec.overhead.cpu", "quantities must match"),
    ],
)
def test_wrong_type(pod: Any, field: str, words: str) -> None:
    _, findings = decode(pod)
    assert [error.field for error in findings.wrong] == [field]
    assert words in findings.wrong[0].message


def test_int_or_string_takes_both() -> None:
    policy = shape("io.k8s.api.apps.v1.RollingUpdateDeployment")
    findings = Findings()
    policy.decode({"maxSurge": "25%", "maxUnavailable": 1}, None, findings)
    assert not findings.wrong


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "spec", "containers", "name", "ports", "labels", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_anything_is_judged_and_decoding_again_changes_nothing(value: Any) -> None:
    decoded, findings = decode(value)
    if not findings.wrong:
        again, second = decode(decoded)
        assert again is decoded
        assert not second.unknown


def test_the_schema_file_is_complete_and_minimal() -> None:
    assert extract(definitions()).keys() == definitions().keys()
    assert all(f"io.k8s.api.{name}" in definitions() for name in WANTED)
    assert all(kind.definition in definitions() for kind in standard_kinds())
