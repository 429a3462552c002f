"""Quantities are read, compared and written as every API server does it."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.quantity import canonical, parse

CANONICAL = {
    "0.5": "500m",
    "1.5": "1500m",
    "1000m": "1",
    "1000": "1k",
    "0": "0",
    "-0": "0",
    "-1500m": "-1500m",
    "1024Mi": "1Gi",
    "1500Mi": "1500Mi",
    "1.5Gi": "1536Mi",
    "0.5Ki": "512",
    "0.1Gi": "107374182400m",
    "1e3": "1e3",
    "2E2": "200",
    "0.0000000001": "1n",
    "4": "4",
    ".5": "500m",
}


@pytest.mark.parametrize("text", CANONICAL)
def test_canonical(text: str) -> None:
    assert canonical(text) == CANONICAL[text]


@pytest.mark.parametrize("text", ["", "1x", "1.2.3", "Mi", "1 Mi", "1KI", "--1", "1e", "\n1"])
def test_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        canonical(text)


@given(
    st.integers(-(10**12), 10**12),
    st.integers(0, 6),
    st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "E6", "n", "u"]),
)
def test_canonical_is_the_same_number_and_stays(whole: int, digits: int, suffix: str) -> None:
    text = f"{whole}.{'5' * digits}{suffix}" if digits else f"{whole}{suffix}"
    once = canonical(text)
    assert canonical(once) == once
    assert parse(once) == parse(text)
    assert abs(parse(text)) < Fraction(10) ** 40
