"""What an explanation is: steps in the order of the diagram, each as lines to read and as data.

    Story ── Step("object", "…", lines, data)
          ── Step("kernel", "…", lines, data, differences)      a line that differs begins with - or +

Invariant: lines and data of a step say the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

WANTED, HELD, BOTH = "-", "+", " "  # missing where it is held, held but not wanted, as it should be


@dataclass(frozen=True)
class Step:
    """One arrow: `name` for programs, `title` for readers. `differences`: how many lines differ."""

    name: str
    title: str
    lines: tuple[str, ...]
    data: Any
    differences: int = 0


@dataclass(frozen=True)
class Story:
    """All steps of one object, seen at one node."""

    kind: str
    namespace: str
    name: str
    node: str
    steps: tuple[Step, ...] = field(default=())

    @property
    def differences(self) -> int:
        """How many lines differ between what is wanted and what is held."""
        return sum(step.differences for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        steps = [
            {"name": s.name, "title": s.title, "data": s.data, "differences": s.differences}
            for s in self.steps
        ]
        head = {"kind": self.kind, "namespace": self.namespace, "name": self.name, "node": self.node}
        return {**head, "differences": self.differences, "steps": steps}

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        texts = [f"{self.kind} {place}, seen at node {self.node}"]
        texts += [
            "\n".join([f"\n== {step.title}", *(f"  {line}" for line in step.lines)]) for step in self.steps
        ]
        summary = f"lines that differ: {self.differences} (- wanted but not there, + there but not wanted)"
        texts.append(
            f"\n{summary if self.differences else 'everything that is wanted is there, and nothing else'}"
        )
        return "\n".join(texts)


def compared(name: str, title: str, wanted: Iterable[str], held: Iterable[str], nothing: str) -> Step:
    """A step that lays what is wanted beside what is held, line by line; `nothing` is said when both are empty."""
    wanted, held = dict.fromkeys(wanted), dict.fromkeys(held)
    rows = [(BOTH if line in held else WANTED, line) for line in wanted]
    rows += [(HELD, line) for line in held if line not in wanted]
    data = [
        {"mark": {BOTH: "same", WANTED: "missing", HELD: "unwanted"}[mark], "line": line}
        for mark, line in rows
    ]
    lines = [f"{mark} {line}" for mark, line in rows] or [f"  {nothing}"]
    return Step(name, title, tuple(lines), data, sum(mark != BOTH for mark, _ in rows))
