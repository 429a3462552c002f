"""Why a packet arrives or does not: the verdict, every rule that had a say, and the packet that confirms it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from labs.policy import measure
from labs.policy.measure import Shot
from labs.policy.scene import End, Scene, Target
from netfns.policy_types import Packet
from netfns.policy_verdict import Judgement, Verdict, evaluate

ARRIVES_WITHIN, DROPPED_AFTER = 2.0, 0.4  # seconds


@dataclass(frozen=True)
class Way:
    """One place where the packet may arrive, and the verdict about that."""

    end: End
    packet: Packet
    verdict: Verdict


@dataclass(frozen=True)
class Answer:
    """A question and what came of it. `arrived`: the end that the packet reached, "" for none."""

    source: str
    target: Target
    ways: tuple[Way, ...]
    arrived: str

    @property
    def agrees(self) -> bool:
        """Whether the packet did what was predicted."""
        allowed = {way.end.name for way in self.ways if way.verdict.allowed}
        denied = {way.end.name for way in self.ways} - allowed
        return self.arrived in allowed if self.arrived else bool(denied) or not self.ways

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        ways = [
            {
                "to": way.end.name,
                "packet": asdict(way.packet),
                "allowed": way.verdict.allowed,
                **asdict(way.verdict),
            }
            for way in self.ways
        ]
        return {
            "from": self.source,
            "to": self.target.name,
            "ways": ways,
            "arrived": self.arrived or None,
            "agrees": self.agrees,
        }


def ask(scene: Scene, source: str, question: str, ipv6: bool = False) -> Answer:
    """Predict, then send the packet. Raises LabError."""
    target = scene.target(question, ipv6)
    ways = []
    for end in target.ends:
        sender = scene.source_address(source, end.address)
        packet = Packet(sender, end.address, target.protocol, end.port)
        ways.append(Way(end, packet, evaluate(scene.policies, scene.cluster, packet)))
    return Answer(source, target, tuple(ways), _send(scene, source, target, ways))


def _send(scene: Scene, source: str, target: Target, ways: list[Way]) -> str:
    """The end at which one packet arrives, "" for none."""
    expected = bool(ways) and all(way.verdict.allowed for way in ways)
    shot = Shot(source, target.address, target.protocol, target.port)
    watched = {way.end.name: way.end for way in ways if way.end.machine.startswith("pod/")}
    with ExitStack() as stack:
        captures = {
            name: stack.enter_context(scene.lab.capture(end.machine)) for name, end in watched.items()
        }
        measure.fire(scene.lab, [shot], stack)
        arrived = measure.wait_for(captures, [shot], 1, ARRIVES_WITHIN if expected else DROPPED_AFTER)
        for name, packets in arrived.items():
            end = watched[name]
            if (shot.protocol, end.address, end.port, shot.local_port) in packets:
                return name
        blind = [way.end.name for way in ways if way.end.name not in watched]
        return blind[0] if shot.answered and blind else ""


def text(answer: Answer) -> str:
    """As people read it."""
    lines = []
    for way in answer.ways:
        packet = f"{way.packet.source} -> {way.packet.destination} {way.packet.port}/{way.packet.protocol}"
        lines.append(f"{answer.source} -> {way.end.name}: {_word(way.verdict.allowed)}   ({packet})")
        for judgement in (way.verdict.egress, way.verdict.ingress):
            lines += _judgement(judgement)
    if not answer.ways:
        lines.append(f"{answer.source} -> {answer.target.name}: there is no endpoint that it could reach")
    found = f"arrived at {answer.arrived}" if answer.arrived else "did not arrive"
    lines.append(f"sent: the packet {found}{'' if answer.agrees else '   <-- not what was predicted'}")
    return "\n".join(lines)


def _judgement(one: Judgement) -> list[str]:
    whose = f" of pod {one.subject}" if one.subject else ""
    lines = [f"  {one.direction}{whose}: {_word(one.allowed)}: {one.why}"]
    for tried in one.tried:
        mark = "+" if tried.matched else "-"
        lines.append(f"    {mark} {tried.policy} {tried.rule}".rstrip() + f": {tried.why}")
    return lines


def _word(allowed: bool) -> str:
    return "allowed" if allowed else "DENIED"
