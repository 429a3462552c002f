"""Denied packets as they are denied, with the policies that did it.

    each node:  table inet policy-watch-PID, hook forward, before the policies: new packets are traced
                `nft monitor` ──lines──> Trace: the packet, and the rule of network-policy that dropped it

The table belongs to an nft that is held open: when that ends, however it ends, the kernel takes the table away. So
nothing is slowed down but while somebody watches, and nothing stays behind.

nft does not say when it begins to listen; but it tells of rules that are made, too, so the table's own rule is made
until it does. Of a rule that is newer than itself it tells the number only: then the chain is asked whose it is.

Sources: nft(8), "MONITOR", "trace", "flags owner".
"""

from __future__ import annotations

import os
import re
import select
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from labs.lab import Lab

TABLE = f"policy-watch-{os.getpid()}"  # another may watch too
SETUP = (
    f"add table inet {TABLE} {{ flags owner; }}\n"
    f"add chain inet {TABLE} forward {{ type filter hook forward priority -20; }}\n"
)
RULE = f"add rule inet {TABLE} forward ct state new meta nftrace set 1"
LINE = re.compile(r"trace id (\w+) inet network-policy (\S+) (packet|rule|unknown rule)(?:: )? ?(.*)")
FIELDS = re.compile(r"\b(ip6? saddr|ip6? daddr|sport|dport|ip protocol|ip6 nexthdr) (\S+)")
DROP = r'counter packets \d+ bytes \d+ drop comment "([^"]*)"'
DROPPED = re.compile(rf"(?:{DROP}|handle \d+) \(verdict drop\)")
PROTOCOLS = ("tcp", "udp", "sctp")
FORGET = 1000  # packets that are not decided yet
AGAIN = 0.1  # seconds until a rule is made again that nft has not told of


@dataclass(frozen=True)
class Denied:
    """One packet that was dropped on a node, in a direction, by these policies."""

    node: str
    source: str
    destination: str
    protocol: str
    port: int
    direction: str
    policies: str


class Trace:
    """Puts together what `nft monitor` says of a packet in several lines. `policies_of`: of a chain that it does not
    know.
    """

    def __init__(self, node: str, policies_of: Callable[[str], str]) -> None:
        self._node = node
        self._policies_of = policies_of
        self._packets: dict[str, dict[str, str]] = {}

    def take(self, line: str) -> Denied | None:
        """The packet that this line says is dropped, if it says so."""
        found = LINE.match(line)
        if found is None:
            return None
        number, chain, what, rest = found.groups()
        if what == "packet":
            self._packets[number] = {key.split()[-1]: value for key, value in FIELDS.findall(rest)}
            self._packets[number]["kind"] = next((p for p in PROTOCOLS if f" {p} dport " in f" {rest}"), "")
            while len(self._packets) > FORGET:
                del self._packets[next(iter(self._packets))]
            return None
        dropped = DROPPED.match(rest)
        packet = self._packets.pop(number, None) if dropped else None
        if dropped is None or packet is None:
            return None
        protocol = packet["kind"] or packet.get("protocol") or packet.get("nexthdr") or "?"
        return Denied(
            self._node,
            packet.get("saddr", "?"),
            packet.get("daddr", "?"),
            protocol.upper(),
            int(packet.get("dport", 0)),
            chain.partition("/")[0],
            dropped[1] or self._policies_of(chain),
        )


class Monitor:
    """The nft that listens on a node, and its lines."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._output = process.stdout.fileno()
        self._begun = b""

    def fileno(self) -> int:
        """For whoever waits until there is something to read."""
        return self._output

    def lines(self) -> list[str] | None:
        """What it has said since the last time, as soon as there is something; None when it has ended."""
        said = os.read(self._output, 1 << 16)
        *lines, self._begun = (self._begun + said).split(b"\n")
        return [line.decode(errors="replace") for line in lines] if said else None


def watch(lab: Lab, nodes: Sequence[str], seconds: float | None = None) -> Iterator[Denied | None]:
    """Denied packets on these nodes as they come; None once everything is in place. Ends after `seconds`."""
    end = None if seconds is None else time.monotonic() + seconds
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for node in nodes:
            trace = Trace(node, partial(_policies_of, lab, node))
            selector.register(_open(lab, node, stack), selectors.EVENT_READ, trace)
        yield None
        while end is None or time.monotonic() < end:
            for key, _ in selector.select(None if end is None else max(0.0, end - time.monotonic())):
                lines = key.fileobj.lines()  # type: ignore[union-attr]
                if lines is None:
                    return
                yield from filter(None, map(key.data.take, lines))


def _open(lab: Lab, node: str, stack: ExitStack) -> Monitor:
    """Begin to trace on a node: its monitor, which listens and ends with the stack, and so does the table."""
    machine = f"node/{node}"
    process = lab.popen(machine, ["nft", "monitor"], stdout=subprocess.PIPE)
    stack.callback(_end, process)
    owner = lab.popen(
        machine, ["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    stack.callback(_end, owner)
    assert owner.stdin is not None
    monitor, told = Monitor(process), False
    owner.stdin.write(f"{SETUP}{RULE}\n".encode())
    while not told:
        owner.stdin.flush()
        if select.select([monitor], [], [], AGAIN)[0]:
            lines = monitor.lines()
            told = lines is None or RULE in lines
        else:
            owner.stdin.write(f"flush chain inet {TABLE} forward; {RULE}\n".encode())
    return monitor


def _policies_of(lab: Lab, node: str, chain: str) -> str:
    """Whose drops are in a chain, as the node's kernel has it."""
    listed = lab.exec(f"node/{node}", ["nft", "list", "chain", "inet", "network-policy", chain]).stdout
    found = re.search(DROP, listed)
    return found[1] if found else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def text(denied: Denied, names: dict[str, str]) -> str:
    """One line; `names` has the names of pods by their addresses."""
    one, other = (
        f"{names[address]} {address}" if address in names else address
        for address in (denied.source, denied.destination)
    )
    port = f"{denied.port}/{denied.protocol}" if denied.port else denied.protocol
    return f"{denied.node}: {one} -> {other} {port}: {denied.direction} denied by {denied.policies}"


def to_json(denied: Denied, names: dict[str, str]) -> dict[str, Any]:
    """As plain data."""
    return asdict(denied) | {"from": names.get(denied.source), "to": names.get(denied.destination)}
