"""The confined process that runs a student's file. See seat_process.py, which starts it and talks to it.

    standard input    {"given": {path: text}, "source": …, "label": "my_service.py", "module": "netfns.service"}
                      {"call": "render", "arguments": […]}         again and again
    standard output   {"functions": […]} or {"error": …}           for the first line
                      {"result": …, "printed": …} or {"error": …}  for each call

Only what is in this file before `serve` is ours; from then on the student's code may change anything in this process,
its own answers included. So nobody believes more of an answer than its form.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import types
from typing import Any

from agents.seat_data import decode, encode
from topo.confinement import Confinement, confine

GIVEN = "/given"
MOST_PRINTED = 2000  # characters of a call's prints that are told


def main() -> None:
    """Go behind the walls, load the file, answer calls until standard input ends."""
    first = json.loads(sys.stdin.buffer.readline())
    given = {f"{GIVEN}/{path}": text for path, text in first["given"].items()}
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    for descriptor in (0, 1):
        os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    confine(Confinement(given))
    sys.path[:] = [path for path in sys.path if path.startswith((sys.base_prefix, "/usr/lib"))] + [GIVEN]
    serve(first, requests, answers)


def serve(first: dict[str, Any], requests: Any, answers: Any) -> None:
    """Load the student's module and answer calls."""
    label, reference = first["label"], first["module"]
    try:
        module = _load(first["source"], label, reference)
    except BaseException as error:  # whatever a student's file raises is theirs to be told
        _send(answers, {"error": _line(error, label)})
        return
    functions = [name for name, value in vars(module).items() if callable(value)]
    _send(answers, {"functions": sorted(functions)})
    for line in requests:
        request = json.loads(line)
        _send(answers, _answer(module, reference, label, request))


def _load(source: str, label: str, reference: str) -> types.ModuleType:
    module = types.ModuleType(reference.rpartition(".")[2])
    module.__file__ = label
    sys.modules[module.__name__] = module
    exec(compile(source, label, "exec", dont_inherit=True), module.__dict__)
    return module


def _answer(module: types.ModuleType, reference: str, label: str, request: dict[str, Any]) -> dict[str, Any]:
    def find(name: str) -> Any:
        """A record's class: the student's own for those of the reference, else that of its module."""
        home, _, kind = name.partition(":")
        place = module if home == reference else importlib.import_module(home)
        if not hasattr(place, kind):
            raise LookupError(f"it has no {kind}: keep the records of the starter")
        return getattr(place, kind)

    sys.stdout = sys.stderr = printed = io.StringIO()
    try:
        arguments = [decode(item, find) for item in request["arguments"]]
        result = encode(getattr(module, request["call"])(*arguments))
        return {"result": result, "printed": printed.getvalue()[:MOST_PRINTED]}
    except BaseException as error:
        return {"error": _line(error, label), "printed": printed.getvalue()[:MOST_PRINTED]}


def _line(error: BaseException, label: str) -> str:
    """What went wrong, and the last line of the student's file where it did."""
    where = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == label:
            where = trace.tb_lineno
        trace = trace.tb_next
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    place = f"{label}: line {where}" if where else label
    return f"{place}: {type(error).__name__}: {text}".splitlines()[0][:500]


def _send(answers: Any, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message).encode() + b"\n")
    answers.flush()
