"""JSONPath as additionalPrinterColumns use it: fields, indices, all elements, elements that equal something.

    .spec.replicas    .spec.ports[0].port    .spec.hosts[*]    .status.conditions[?(@.type=="Ready")].status

Source: Kubernetes documentation "JSONPath Support".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Step = Callable[[Any], Iterator[Any]]
_STEP = re.compile(
    r"""\.(?P<field>(?:[^.\[\]\\]|\\.)+)
      | \['(?P<quoted>[^']*)'\]
      | \[(?P<index>-?\d+)\]
      | (?P<all>\[\*\])
      | \[\?\(\s*@\.(?P<key>[\w.-]+)\s*==\s*(?P<value>"[^"]*"|'[^']*'|[\w.-]+)\s*\)\]""",
    re.VERBOSE,
)


def compile_path(text: str) -> Callable[[Any], list[Any]]:
    """A function that finds all values at a path. Raises ValueError for a path that cannot be read."""
    text = text.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    steps: list[Step] = []
    place = 0
    while place < len(text):
        match = _STEP.match(text, place)
        if match is None:
            raise ValueError(f"unexpected {text[place:]!r}")
        steps.append(_step(match))
        place = match.end()

    def find(obj: Any) -> list[Any]:
        values = [obj]
        for step in steps:
            values = [below for value in values for below in step(value)]
        return values

    return find


def _step(match: re.Match[str]) -> Step:
    if match["index"] is not None:
        return _element(int(match["index"]))
    if match["all"]:
        return lambda value: iter(value.values() if isinstance(value, dict) else _items(value))
    if match["key"]:
        return _filter(match["key"], match["value"].strip("\"'"))
    return _field(match["quoted"] or match["field"].replace("\\", ""))


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _field(name: str) -> Step:
    return lambda value: iter([value[name]] if isinstance(value, dict) and name in value else [])


def _element(index: int) -> Step:
    return lambda value: iter(_items(value)[index : index + 1 or None])


def _filter(key: str, wanted: str) -> Step:
    find = compile_path(f".{key}")
    return lambda value: (
        item for item in _items(value) if any(_text(found) == wanted for found in find(item))
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
