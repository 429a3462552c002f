from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane import selectors
from controlplane.errors import StatusError
from controlplane.selectors import Requirement, from_map, from_object, parse_labels, predicate

LABELS = {"app": "web", "tier": "front", "size": "5", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app=api", False),
        ("app!=api", True),
        ("absent!=x", True),
        ("app", True),
        ("absent", False),
        ("!absent", True),
        ("!app", False),
        ("app in (web,api)", True),
        ("app in (api)", False),
        ("app notin (api, db)", True),
        ("absent notin (api)", True),
        ("size>4", True),
        ("size<5", False),
        ("app>4", False),
        ("empty=", True),
        ("empty in ()", True),
        ("app in (,web)", True),
        ("app=web,tier in (front),!absent", True),
        ("app=web,tier=back", False),
    ],
)
def test_label_selector(text: str, matches: bool) -> None:
    assert parse_labels(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    "text",
    [
        "app=web,",
        "app in web",
        "app in (web",
        "=web",
        "app=we b",
        "-a=b",
        "a>b",
        "app===web",
        "a/b/c",
        "(",
        ",",
    ],
)
def test_malformed_label_selector_is_bad_request(text: str) -> None:
    with pytest.raises(StatusError) as caught:
        parse_labels(text)
    assert caught.value.code == 400


@given(st.text(max_size=30))
def test_any_text_parses_or_is_refused(text: str) -> None:
    refused_with = 0
    try:
        parse_labels(text).matches(LABELS)
    except StatusError as error:
        refused_with = error.code
    assert refused_with in (0, 400)


KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(["x", "y", ""])
LABEL_MAPS = st.dictionaries(KEYS, VALUES)
IN_OR_OUT = st.builds(Requirement, KEYS, st.sampled_from(["In", "NotIn"]), st.frozensets(VALUES, min_size=1))


@given(IN_OR_OUT, LABEL_MAPS)
def test_object_and_text_mean_the_same(requirement: Requirement, labels: dict[str, str]) -> None:
    values = sorted(requirement.values)
    word = "in" if requirement.operator == "In" else "notin"
    text = f"{requirement.key} {word} ({','.join(values)})"
    expression = {"key": requirement.key, "operator": requirement.operator, "values": values}
    from_expression = from_object({"matchExpressions": [expression]})
    assert from_expression is not None
    assert (
        from_expression.matches(labels) == parse_labels(text).matches(labels) == requirement.matches(labels)
    )


@given(LABEL_MAPS, LABEL_MAPS)
def test_service_selector_is_a_subset(selector: dict[str, str], labels: dict[str, str]) -> None:
    parsed = from_map(selector)
    if not selector:
        assert parsed is None
    else:
        assert parsed is not None
        assert parsed.matches(labels) == (selector.items() <= labels.items())


def test_absent_selector_selects_nothing_and_empty_selects_all() -> None:
    assert from_object(None) is None
    everything = from_object({})
    assert everything is not None
    assert everything.matches({})


def test_field_selector() -> None:
    obj = {"metadata": {"name": "a"}, "spec": {"nodeName": "n1", "unschedulable": True}}
    known = frozenset({"metadata.name", "spec.nodeName", "spec.unschedulable"})

    def chosen(text: str) -> bool:
        matches = predicate("", text, known)
        return matches is None or matches(obj)

    assert chosen("")
    assert chosen("metadata.name=a,spec.nodeName==n1")
    assert not chosen("spec.nodeName!=n1")
    assert chosen("spec.unschedulable=true")
    with pytest.raises(StatusError, match=r"field label not supported: spec\.other"):
        predicate("", "spec.other=1", known)
    with pytest.raises(StatusError, match="invalid selector"):
        predicate("", "spec.nodeName", known)


def test_printed_as_kubectl_does() -> None:
    expressions = [
        {"key": "t", "operator": "In", "values": ["b", "a"]},
        {"key": "x", "operator": "DoesNotExist"},
    ]
    assert (
        selectors.to_text({"matchLabels": {"app": "web"}, "matchExpressions": expressions})
        == "app=web,t in (a,b),!x"
    )
    assert selectors.to_text(None) == "<none>"
