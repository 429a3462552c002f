"""The columns that `kubectl get` shows, computed by the server: one list a kind.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go; the Table kind of meta.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controlplane.meta import Obj


@dataclass(frozen=True)
class Column:
    """A column: wide ones have a priority above 0. `value` gives the cell's text or number."""

    name: str
    value: Callable[[Obj], str | int]
    type: str = "string"
    priority: int = 0


def columns_of(kind: str) -> tuple[Column, ...]:
    return ()
