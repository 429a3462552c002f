"""Records as JSON and back: how the agent and a student's process hand each other what they talk about.

    Vtep("worker1", "192.168.50.21", ("10.244.1.0/24",))
    {"record": "netfns.overlay:Vtep", "fields": {"node": "worker1", …, "pod_cidrs": {"tuple": ["10.244.1.0/24"]}}}

JSON and not pickle, in both directions: reading it runs nothing. A record comes back only as one of the classes that
the reader was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

DEEPEST = 50


def encode(value: Any) -> Any:
    """Plain JSON data for records, tuples, lists, texts, numbers, booleans and None. Raises TypeError for others."""
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        inside = {field.name: encode(getattr(value, field.name)) for field in fields(value)}
        return {"record": f"{kind.__module__}:{kind.__qualname__}", "fields": inside}
    if isinstance(value, tuple):
        return {"tuple": [encode(item) for item in value]}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(
        f"{type(value).__name__}: want texts, numbers, tuples, lists and the records of the docstring"
    )


def decode(data: Any, find: Callable[[str], type], depth: int = DEEPEST) -> Any:
    """The value that `data` stands for; `find` gives the class of a record's name. Raises ValueError, TypeError."""
    if depth < 0:
        raise ValueError("nested too deep")
    if isinstance(data, list):
        return [decode(item, find, depth - 1) for item in data]
    if not isinstance(data, dict):
        return data
    if set(data) == {"tuple"} and isinstance(data["tuple"], list):
        return tuple(decode(item, find, depth - 1) for item in data["tuple"])
    if set(data) == {"record", "fields"} and isinstance(data["fields"], dict):
        inside = {str(name): decode(item, find, depth - 1) for name, item in data["fields"].items()}
        return find(str(data["record"]))(**inside)
    raise ValueError("neither a tuple nor a record")


def record_of(name: str) -> type:
    """The class of a record of netfns, by the name that `encode` gave it. Raises ValueError."""
    module, _, kind = name.partition(":")
    found = getattr(import_module(module), kind, None) if module.startswith("netfns.") else None
    if not (isinstance(found, type) and is_dataclass(found)):
        raise ValueError(f"{name}: no record of a network function")
    return found
