"""Starter and wrong answers are made from the reference: what is taken out, what stays, what is put in."""

import ast
from pathlib import Path

import pytest

from labs.course.starter import blank, blank_values, overlay, overlay_values
from labs.errors import LabError
from netfns import overlay as reference

SOURCE = '''"""A story."""

from __future__ import annotations

from ipaddress import ip_address
import json

MTU = 1450
TEMPLATE = """
the solution
"""


# What is said of a helper goes with it.
def _helper(x: str) -> str:
    return ip_address(x) + TEMPLATE


def named(x: str) -> str:
    return x


def render(x: str) -> str:
    """Call `named`."""
    # A hint.
    y = _helper(x)
    return named(y)


def shared(x: str) -> str:
    return json.dumps(x)


def change(x: str) -> str:
    return shared(render(x))


class Thing:
    def method(self, x: str) -> str:
        """Do it."""
        return shared(x)
'''


def test_bodies_go_with_what_only_they_needed() -> None:
    text = blank(SOURCE, ["render"])
    for gone in ("_helper", "TEMPLATE", "the solution", "ip_address", "A hint", "goes with it"):
        assert gone not in text
    for kept in ('"""Call `named`."""', "def named", "MTU = 1450", "def shared", "import json", "TODO"):
        assert kept in text


def test_a_starter_runs_until_its_function_is_called() -> None:
    space: dict[str, object] = {}
    exec(blank(SOURCE, ["render"]), space)
    with pytest.raises(NotImplementedError, match="render: not written yet"):
        space["render"]("x")  # type: ignore[operator]


def test_what_is_left_out_goes_whole() -> None:
    text = blank(SOURCE, ["render"], ["change"])
    assert "def change" not in text
    assert "def shared" in text  # Thing needs it


def test_a_method_is_blanked_in_place() -> None:
    text = blank(SOURCE, ["Thing.method"])
    assert '        raise NotImplementedError("Thing.method: not written yet")' in text
    assert '"""Do it."""' in text


def test_an_unknown_function_is_named() -> None:
    with pytest.raises(LabError, match="nothing: the reference has no such function"):
        blank(SOURCE, ["nothing"])


def test_the_overlays_starter_holds_no_line_of_its_solution() -> None:
    source = Path(reference.__file__).read_text()
    text = blank(source, ["render"])
    ast.parse(text)
    [function] = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == "render"]
    solution = {
        line.strip() for line in source.splitlines()[function.body[1].lineno - 1 : function.end_lineno]
    }
    assert not {line for line in solution if len(line) > 30} & {line.strip() for line in text.splitlines()}


def test_a_wrong_answer_stands_beside_what_it_replaces() -> None:
    right = "MTU = 1450\n\n\ndef render(x):\n    return x\n\n\ndef twice(x):\n    return render(x) * 2\n"
    other = '"""Wrong."""\nMTU = 1500\n\n\ndef render(x):\n    return reference_render(x) + str(MTU)\n'
    space: dict[str, object] = {}
    exec(overlay(right, other), space)
    assert space["twice"]("a") == "a1500a1500"  # type: ignore[operator]


def test_values_are_blanked_and_replaced() -> None:
    text = '# Which?\nfirst = "a" # a letter\nsecond = 5\n'
    assert blank_values(text) == '# Which?\nfirst = "" # a letter\nsecond = ""\n'
    assert overlay_values(text, 'second = "b"') == '# Which?\nfirst = "a" # a letter\nsecond = "b"\n'
