"""Values come back from JSON as they went in, whichever encoder has written them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.json_text import to_json

TEXTS = st.text(st.characters(categories=None))  # halves of surrogate pairs too
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(VALUES)
def test_a_value_comes_back(value: object) -> None:
    assert json.loads(to_json(value)) == value


def test_it_is_compact_and_says_letters_as_they_are() -> None:
    assert to_json({"name": "é", "ports": [80, 443]}) == '{"name":"é","ports":[80,443]}'.encode()


@pytest.mark.parametrize("value", [2**64, "\ud800", {"deep": {"\udfff": -(2**70)}}])
def test_what_one_encoder_refuses_the_other_takes(value: object) -> None:
    assert json.loads(to_json(value)) == value


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError):
        to_json({"a": {1, 2}})
