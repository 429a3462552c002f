"""Label and field selectors: a text or an object becomes a predicate over objects.

Label selectors come in two spellings with one meaning: the text of a URL (`app=web,tier in (a,b),!canary`)
and the LabelSelector object of a manifest (`matchLabels`, `matchExpressions`). An empty selector selects
everything; an absent one (None) selects nothing.

Source: Kubernetes documentation "Labels and Selectors"; k8s.io/apimachinery pkg/labels/selector.go,
pkg/fields/selector.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from controlplane import names
from controlplane.errors import StatusError, bad_request, quote
from controlplane.meta import Obj

Labels = Mapping[str, str]
FieldValue = tuple[str, str]  # a dotted path, and what is there
FieldTerm = tuple[str, bool, str]  # a dotted path, whether it must or must not be, what


@dataclass(frozen=True)
class Requirement:
    """One condition on one label. `operator` is In, NotIn, Exists, DoesNotExist, Gt or Lt; the last two
    compare integers.
    """

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Labels) -> bool:
        """A label that is absent satisfies NotIn and DoesNotExist only."""
        value = labels.get(self.key)
        if self.operator == "In":
            return value is not None and value in self.values
        if self.operator == "NotIn":
            return value is None or value not in self.values
        if self.operator == "Exists":
            return value is not None
        if self.operator == "DoesNotExist":
            return value is None
        return value is not None and self._compare(value)

    def _compare(self, value: str) -> bool:
        try:
            left, right = int(value), int(next(iter(self.values)))
        except ValueError:
            return False
        return left > right if self.operator == "Gt" else left < right


@dataclass(frozen=True)
class LabelSelector:
    """All requirements must hold."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Whether an object with these labels is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)


_TOKEN = re.compile(r"\s*(==|!=|=|!|>|<|\(|\)|,|[^\s=!<>(),]+)")


def _tokens(text: str) -> list[str]:
    tokens, position, text = [], 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:  # pragma: no cover - the last alternative takes every other character
            raise bad_request(f"unable to parse requirement: found {quote(text[position:])}")
        tokens.append(match.group(1))
        position = match.end()
    return tokens


@lru_cache(maxsize=1024)
def parse_labels(text: str) -> LabelSelector:
    """The selector that a URL or `kubectl -l` spells. Raises StatusError 400."""
    tokens = _tokens(text)
    requirements = []
    position = 0
    while position < len(tokens):
        requirement, position = _parse_requirement(tokens, position)
        requirements.append(requirement)
        if position < len(tokens):
            _want(tokens, position, ",")
            position += 1
            if position == len(tokens):
                raise _unparsable("found '', expected: identifier after ','")
    return LabelSelector(tuple(requirements))


def _parse_requirement(tokens: list[str], position: int) -> tuple[Requirement, int]:
    if tokens[position] == "!":
        return Requirement(_label_key(tokens, position + 1), "DoesNotExist"), position + 2
    key = _label_key(tokens, position)
    operator = tokens[position + 1] if position + 1 < len(tokens) else ","
    if operator == ",":
        return Requirement(key, "Exists"), position + 1
    if operator in ("=", "==", "!=", ">", "<"):
        value, position = _optional_value(tokens, position + 2)
        name = {"!=": "NotIn", ">": "Gt", "<": "Lt"}.get(operator, "In")
        if name in ("Gt", "Lt") and not value.lstrip("-").isdigit():
            raise _unparsable("for 'Gt', 'Lt' operators, the value must be an integer")
        return Requirement(key, name, frozenset([value])), position
    if operator in ("in", "notin"):
        values, position = _parse_values(tokens, position + 2)
        return Requirement(key, "In" if operator == "in" else "NotIn", values), position
    raise _unparsable(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")


def _optional_value(tokens: list[str], position: int) -> tuple[str, int]:
    """`key=` selects the empty value."""
    if position >= len(tokens) or tokens[position] == ",":
        return "", position
    return _label_value(tokens[position]), position + 1


def _parse_values(tokens: list[str], position: int) -> tuple[frozenset[str], int]:
    """`(a, b)`; an empty place between commas is the empty value."""
    _want(tokens, position, "(")
    values = []
    while True:
        position += 1
        if position < len(tokens) and tokens[position] in (",", ")"):
            values.append("")
        else:
            values.append(_label_value(tokens[position] if position < len(tokens) else ""))
            position += 1
        if position < len(tokens) and tokens[position] == ")":
            return frozenset(values), position + 1
        _want(tokens, position, ",")


def _want(tokens: list[str], position: int, wanted: str) -> None:
    found = tokens[position] if position < len(tokens) else ""
    if found != wanted:
        raise _unparsable(f"found '{found}', expected: '{wanted}'")


def _label_key(tokens: list[str], position: int) -> str:
    key = tokens[position] if position < len(tokens) else ""
    complaints = names.qualified_name(key)
    if complaints:
        raise _unparsable(f"<nil>: Invalid value: {quote(key)}: {'; '.join(complaints)}")
    return key


def _label_value(value: str) -> str:
    complaints = names.label_value(value)
    if complaints:
        raise _unparsable(f"values[0][{value}]: Invalid value: {quote(value)}: {'; '.join(complaints)}")
    return value


def _unparsable(why: str) -> StatusError:
    return bad_request(f"unable to parse requirement: {why}")


def from_object(selector: Obj | None) -> LabelSelector | None:
    """The selector of a manifest's LabelSelector (already validated); None stays None: it selects nothing."""
    if selector is None:
        return None
    requirements = [
        Requirement(key, "In", frozenset([value]))
        for key, value in (selector.get("matchLabels") or {}).items()
    ]
    requirements += [
        Requirement(expression["key"], expression["operator"], frozenset(expression.get("values") or ()))
        for expression in selector.get("matchExpressions") or ()
    ]
    return LabelSelector(tuple(requirements))


def from_map(labels: Labels | None) -> LabelSelector | None:
    """The selector of a Service: all of these labels. None or an empty map selects nothing (the Service has
    no selector).
    """
    if not labels:
        return None
    return LabelSelector(tuple(Requirement(key, "In", frozenset([value])) for key, value in labels.items()))


def selector_of(workload: Obj) -> Obj | None:
    """A workload's selector as a LabelSelector; a ReplicationController's is a mapping of labels."""
    selector: Obj | None = (workload.get("spec") or {}).get("selector")
    return {"matchLabels": selector} if selector and workload["kind"] == "ReplicationController" else selector


def to_text(selector: Obj | None) -> str:
    """A LabelSelector object as `kubectl` prints it."""
    parts = [f"{key}={value}" for key, value in sorted(((selector or {}).get("matchLabels") or {}).items())]
    for expression in (selector or {}).get("matchExpressions") or ():
        key, operator = expression["key"], expression["operator"]
        values = ",".join(sorted(expression.get("values") or ()))
        shown = {
            "Exists": key,
            "DoesNotExist": f"!{key}",
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
        }
        parts.append(shown[operator])
    return ",".join(parts) or "<none>"


@lru_cache(maxsize=1024)
def parse_fields(text: str) -> tuple[FieldTerm, ...]:
    """The terms of a field selector: (path, wanted, value), where wanted is False for `!=`. Raises
    StatusError 400.
    """
    terms = []
    for term in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([^=!]+)(==|!=|=)(.*)", term)
        if match is None:
            raise bad_request(f"invalid selector: {quote(text)}; can't understand {quote(term)}")
        path, operator, value = match.groups()
        terms.append((path, operator != "!=", value))
    return tuple(terms)


def field_value(obj: Obj, path: str) -> str:
    """The value at a dotted path as a field selector compares it: text, "" when absent."""
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Selection:
    """What a label selector and a field selector select together; calling it tells whether an object is selected."""

    labels: LabelSelector
    fields: tuple[FieldTerm, ...]

    def __call__(self, obj: Obj) -> bool:
        """Whether the object is selected."""
        for path, wanted, value in self.fields:
            if (field_value(obj, path) == value) is not wanted:
                return False
        return self.labels.matches(obj["metadata"].get("labels") or {})

    @cached_property
    def wanted(self) -> FieldValue | None:
        """A field and the one value that every selected object has there; None where no term says so."""
        return next(((path, value) for path, wanted, value in self.fields if wanted), None)


def predicate(label_selector: str, field_selector: str, selectable: frozenset[str]) -> Selection | None:
    """The test that both selectors make together; None when they select everything. Raises StatusError 400.

    `selectable` names the fields that this kind may be selected by.
    """
    labels = parse_labels(label_selector)
    fields = parse_fields(field_selector)
    for path, _, _ in fields:
        if path not in selectable:
            raise bad_request(f"field label not supported: {path}")
    return Selection(labels, fields) if labels.requirements or fields else None
