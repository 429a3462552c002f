from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.yaml_text import YamlError, dump, load_documents


def test_documents_with_their_lines() -> None:
    assert load_documents("a: 1\n---\n---\n# nothing\n---\nb: [x]\n") == [(1, {"a": 1}), (6, {"b": ["x"]})]
    assert load_documents("") == []


def test_json_types_only() -> None:
    text = "date: 2024-01-01\nyes: on\n1: x\ntrue: y\nmode: 0644\nnone: ~\n"
    values = {"date": "2024-01-01", "true": "y", "1": "x", "mode": 0o644, "none": None}
    with pytest.raises(YamlError, match='key "true" already set'):
        load_documents(text)
    assert load_documents(text.replace("yes: on\n", "")) == [(1, values)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "line 1: did not find expected node content"),
        ("a: 1\na: 2\n", 'line 2: key "a" already set in map'),
        ("x\n\ty: 1", "line 2: "),
        ("a: !!python/object:os.system {}", "line 1: could not determine a constructor"),
        ("? [a]\n: b", "line 1: a key must be a string"),
        ("a: *b", "line 1: found undefined alias"),
        ("\x00", "line 1: "),
        ("&a [*a]", "line 1: too many nodes"),
    ],
)
def test_bad_text_names_its_line(text: str, message: str) -> None:
    with pytest.raises(YamlError) as caught:
        load_documents(text)
    assert message in str(caught.value)


def test_aliases_that_unfold_without_end() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(YamlError, match="too many nodes"):
        load_documents("\n".join(lines))


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 50_000, "- " * 100_000, "? " * 100_000])
def test_very_deep_nesting_is_refused_before_the_loader_goes_down(text: str) -> None:
    with pytest.raises(YamlError, match="too deeply nested"):
        load_documents(text)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(YamlError):
        load_documents("[" * 3000)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(codec="ascii", exclude_characters="\x7f"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "yes", "1", "~"]), inner)
    ),
    max_leaves=8,
)


@given(JSON.filter(lambda value: value is not None))
def test_what_is_dumped_is_read_back(value: Any) -> None:
    shared = [value, value]
    assert load_documents(dump(shared)) == [(1, shared)]


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        documents = load_documents(text)
    except YamlError as error:
        assert error.line >= 1  # noqa: PT017 - both outcomes are fine, this one names a line
    else:
        assert all(line >= 1 for line, _ in documents)
