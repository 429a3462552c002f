"""What all tables share: a column, times as kubectl writes them, cells that are read from a path of fields."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from controlplane.meta import Obj, seconds
from controlplane.selectors import selector_of, to_text

NONE, UNKNOWN = "<none>", "<unknown>"


@dataclass(frozen=True)
class Column:
    """A column: those with a priority above 0 are shown by `-o wide` only. `value` gives the cell."""

    name: str
    value: Callable[[Obj], str | int]
    type: str = "string"
    priority: int = 0


def human_duration(span: float) -> str:
    """A span of seconds as kubectl writes it: 45s, 3m20s, 5h, 2d3h, 40d, 2y."""
    span = int(span)
    minutes, hours, days = span // 60, span // 3600, span // 86400
    if span < 0:
        return "0s"
    if span < 120:
        return f"{span}s"
    if minutes < 10:
        return f"{minutes}m{span % 60}s" if span % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y{days % 365}d" if days < 2920 else f"{days // 365}y"


def since(text: str | None) -> str:
    """The time from then to now; `<unknown>` without a then."""
    return human_duration(time.time() - seconds(text)) if text else UNKNOWN


def at(*path: str, default: Any = NONE) -> Callable[[Obj], Any]:
    """The value at a path of fields."""

    def value(obj: Obj) -> Any:
        found: Any = obj
        for part in path:
            found = (found or {}).get(part)
        return default if found in (None, "") else found

    return value


def joined(values: Iterable[Any], limit: int = 0) -> str:
    """Values with commas between them, at most `limit` of them; `<none>` if there are none."""
    texts = [str(value) for value in values]
    if limit and len(texts) > limit:
        return ",".join(texts[:limit]) + f" + {len(texts) - limit} more..."
    return ",".join(texts) or NONE


NAME = Column("Name", lambda obj: obj["metadata"]["name"])
AGE = Column("Age", lambda obj: since(obj["metadata"].get("creationTimestamp")))


def count(*path: str) -> Callable[[Obj], int]:
    """The number at a path of fields; 0 when it is not there."""
    return at(*path, default=0)


def containers(field: str) -> Callable[[Obj], str]:
    """One field of all containers of the template."""
    return lambda obj: joined(entry[field] for entry in obj["spec"]["template"]["spec"]["containers"])


def selector(obj: Obj) -> str:
    """The label selector of a workload."""
    return to_text(selector_of(obj))


TEMPLATE = (
    Column("Containers", containers("name"), priority=1),
    Column("Images", containers("image"), priority=1),
    Column("Selector", selector, priority=1),
)
