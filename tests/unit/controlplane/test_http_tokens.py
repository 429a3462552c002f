"""Tokens of service accounts: signed, limited in time, and nothing that others could make."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.http.tokens import claims_of, sign

TOMORROW = time.time() + 86400  # taken when the tests are collected, long before this file's turn
CLAIMS = {"sub": "system:serviceaccount:default:me", "exp": TOMORROW}


def test_a_token_says_who_somebody_is() -> None:
    assert claims_of("key", sign("key", CLAIMS)) == CLAIMS


def test_another_key_and_another_time_do_not_count() -> None:
    assert claims_of("key", sign("other", CLAIMS)) is None
    assert claims_of("key", sign("key", {**CLAIMS, "exp": time.time() - 1})) is None


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é.é.é", "a.\udcff.b", sign("key", CLAIMS)[:-1]])
def test_broken_tokens(token: str) -> None:
    assert claims_of("key", token) is None


@given(st.text())
def test_no_text_is_a_token(token: str) -> None:
    assert claims_of("key", token) is None
