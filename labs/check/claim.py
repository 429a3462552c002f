"""A claim: one sentence about the network, and the function that proves or refutes it.

    @claim("same-node", "pod-to-pod", "two pods of one node reach each other, without NAT")
    def same_node(scene: Scene) -> str: ...     returns the evidence, or raises Refuted, or NotApplicable

The evidence is what was seen, in numbers and addresses. A refutation is a story: what was done, expected, seen.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from labs.check.subjects import NotApplicable, Scene

TYPES = ("container-to-container", "pod-to-pod", "pod-to-service", "external-to-service")


class Refuted(Exception):
    """A claim does not hold."""

    def __init__(self, *, did: str, expected: str, saw: str, look: str) -> None:
        super().__init__(f"did: {did}; expected: {expected}; saw: {saw}")
        self.story = {"did": did, "expected": expected, "saw": saw, "look": look}


@dataclass(frozen=True)
class Claim:
    """A row of the table before it has been proven."""

    name: str
    type: str
    sentence: str
    prove: Callable[[Scene], str]


@dataclass(frozen=True)
class Result:
    """A row of the table. verdict: "holds", "fails" or "n/a"; story is empty unless it fails."""

    name: str
    type: str
    claim: str
    verdict: str
    evidence: str
    story: dict[str, str]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


CLAIMS: dict[str, Claim] = {}


def claim(name: str, kind: str, sentence: str) -> Callable[[Callable[[Scene], str]], Callable[[Scene], str]]:
    """Enter a function into the table of claims, in the order of definition."""

    def enter(prove: Callable[[Scene], str]) -> Callable[[Scene], str]:
        CLAIMS[name] = Claim(name, kind, sentence, prove)
        return prove

    return enter


def examine(claim: Claim, scene: Scene) -> Result:
    """Prove one claim. An error that is no refutation is one all the same: its text is what was seen."""
    started = time.monotonic()
    verdict, evidence, story = "holds", "", {}
    try:
        evidence = claim.prove(scene)
    except NotApplicable as reason:
        verdict, evidence = "n/a", str(reason)
    except Refuted as refuted:
        verdict, evidence, story = "fails", refuted.story["saw"], refuted.story
    except Exception as error:
        saw = f"{type(error).__name__}: {error}"
        verdict, evidence = "fails", saw
        story = {"did": claim.sentence, "expected": "an answer", "saw": saw, "look": "the lab's log"}
    return Result(
        claim.name, claim.type, claim.sentence, verdict, evidence, story, round(time.monotonic() - started, 2)
    )
