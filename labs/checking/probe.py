"""Packets that are remembered: what a check does with its probe is the first line of the story when it fails.

    answer = probe.get(client, "10.96.0.20", 80)             "asked 10.96.0.20:80 (GET /hostname) from client: refused"
    probe.expect(answer.answered, "an answer from web-1 or web-2")
                                 └─ false: NotAsExpected(Story), with the last rule that the last packet matched

Invariant: every probe has a deadline, and every one is told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from labs.check.subjects import Scene, Witness
from labs.checking.ground import NodeHand
from labs.checking.report import Story
from labs.lab import Lab
from topo.probe import Outcome, http_get
from topo.trace import last_rule

WAIT = 0.7  # seconds for an answer; every machine of a lab is a few microseconds away
GLANCE = 0.05  # seconds for a packet whose answer does not matter
Source = Witness | str


class NotAsExpected(AssertionError):
    """A check's expectation did not come true; `story` tells how."""

    def __init__(self, story: Story) -> None:
        super().__init__(f"expected {story.expected}; saw {story.saw}")
        self.story = story


@dataclass(frozen=True)
class Sent:
    """A packet that went: from whom, where to, and how it can be sent (again, and watched)."""

    source: Source
    protocol: str
    address: str
    port: int
    send: Callable[..., Outcome]


class Probe:
    """A check's hands. `guide` is where its story says to look."""

    def __init__(self, scene: Scene, guide: str = "") -> None:
        self.did: list[str] = []
        self._scene = scene
        self._guide = guide
        self._last: Sent | None = None
        self._saw = "nothing"

    # ---------------------------------------------------------------- doing

    def note(self, text: str) -> None:
        """Remember something that the check did by other means."""
        self.did.append(text)

    def get(
        self, source: Source, address: str, port: int, path: str = "/hostname", wait: float = WAIT
    ) -> Outcome:
        """One HTTP GET on a connection of its own, from a pod or a machine (`outside`, `node/worker1`)."""
        send = partial(self._lab.tcp, _machine(source), address, port, http_get(path, address))
        return self._sent(Sent(source, "tcp", address, port, send), f"GET {path}", wait)

    def udp(
        self, source: Source, address: str, port: int, text: str = "hostname", wait: float = WAIT
    ) -> Outcome:
        """One datagram with a text, and the answer to it."""
        send = partial(self._lab.udp, _machine(source), address, port, text.encode())
        shown = f"“{text}”" if len(text) < 40 else f"{len(text)} bytes"
        return self._sent(Sent(source, "udp", address, port, send), shown, wait)

    def names(self, source: Source, address: str, port: int, times: int) -> list[str]:
        """Who answers `times` requests, each on a connection of its own; "" where nobody does."""
        found = []
        for _ in range(times):
            found.append(body(self.get(source, address, port)))
            if not found[-1]:
                break  # more of the same would only cost time
        self.did[-len(found) :] = [f"asked {_place(address, port)} {len(found)} times from {_name(source)}"]
        counts = {name or "nobody": found.count(name) for name in dict.fromkeys(found)}
        self._saw = "answers from " + ", ".join(f"{name} ({count})" for name, count in counts.items())
        return found

    # ---------------------------------------------------------------- judging

    def expect(self, condition: object, expected: str, saw: str = "") -> None:
        """Go on when `condition` is true; otherwise fail, with the story of what was done so far."""
        if not condition:
            self.fail(expected, saw)

    def fail(self, expected: str, saw: str = "") -> NoReturn:
        """Fail with the story of what was done so far; `saw`: instead of what the last probe saw."""
        raise NotAsExpected(self.story(expected, saw or self._saw))

    def story(self, expected: str, saw: str) -> Story:
        """What was done so far, as a story."""
        return Story(tuple(self.did), expected, saw, self._rule(), self._guide)

    @property
    def _lab(self) -> Lab:
        return self._scene.lab

    def _sent(self, packet: Sent, what: str, wait: float) -> Outcome:
        outcome = packet.send(timeout=wait)
        self._last = packet
        self._saw = f"an answer of {len(outcome.reply)} bytes" if outcome.answered else outcome.verdict
        place, how = _place(packet.address, packet.port), f"{packet.protocol.upper()}, {what}"
        self.did.append(f"asked {place} ({how}) from {_name(packet.source)}: {self._saw}")
        return outcome

    def _rule(self) -> str:
        """Where the sender's node sends the last packet, and the last rule that it matched there."""
        sent, self._last = self._last, None
        if sent is None:
            return ""
        node = self._node(sent)
        route = self._lab.exec(node, ["ip", "route", "get", sent.address], timeout=5.0)
        way = " ".join((route.stdout or route.stderr).split("\n")[0].split())
        again = partial(sent.send, timeout=GLANCE)
        rule = last_rule(NodeHand(self._lab, node), again, sent.protocol, sent.address, sent.port)
        return f"on {node}: route: {way or 'none'}; last rule: {rule or 'none matched'}"

    def _node(self, sent: Sent) -> str:
        """The first node that the packet meets."""
        if isinstance(sent.source, Witness):
            return f"node/{sent.source.node}"
        if sent.source.startswith("node/"):
            return sent.source
        for node in self._scene.objects("Node", ""):
            if sent.address in [row["address"] for row in node["status"]["addresses"]]:
                return f"node/{node['metadata']['name']}"
        return "router"


def body(outcome: Outcome) -> str:
    """The body of an HTTP answer with status 200, as text; "" for anything else."""
    head, _, text = outcome.reply.partition(b"\r\n\r\n")
    return text.decode(errors="replace").strip() if b" 200 " in head.split(b"\r\n")[0] else ""


def _machine(source: Source) -> str:
    return source.machine if isinstance(source, Witness) else source


def _name(source: Source) -> str:
    return f"{source.name} ({source.node})" if isinstance(source, Witness) else source


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
