"""Denied packets as they are denied, with the policies that did it.

    each node:  table inet policy-watch, hook forward, before the policies: new packets are traced
                `nft monitor trace` ──lines──> Trace: the packet, and the rule of network-policy that dropped it

The table belongs to an nft that is held open: when that ends, however it ends, the kernel takes the table away. So
nothing is slowed down but while somebody watches, and nothing stays behind.

Sources: nft(8), "MONITOR", "trace", "flags owner".
"""

from __future__ import annotations

import re
import selectors
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from labs.lab import Lab

TABLE = "policy-watch"
SETUP = (
    f"add table inet {TABLE} {{ flags owner; }}\n"
    f"add chain inet {TABLE} forward {{ type filter hook forward priority -20; }}\n"
    f"add rule inet {TABLE} forward ct state new meta nftrace set 1\n"
)
LINE = re.compile(r"trace id (\w+) inet network-policy (\S+) (packet|rule)(?:: )? ?(.*)")
FIELDS = re.compile(r"\b(ip6? saddr|ip6? daddr|sport|dport|ip protocol|ip6 nexthdr) (\S+)")
COMMENT = re.compile(r'counter packets \d+ bytes \d+ drop comment "([^"]*)" \(verdict drop\)')
PROTOCOLS = ("tcp", "udp", "sctp")
FORGET = 1000  # packets that are not decided yet


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
    """Puts together what `nft monitor trace` says of a packet in several lines."""

    def __init__(self, node: str) -> None:
        self._node = node
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
        dropped = COMMENT.match(rest)
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
            dropped[1],
        )


def watch(lab: Lab, nodes: Sequence[str], seconds: float | None = None) -> Iterator[Denied | None]:
    """Denied packets on these nodes as they come; None once everything is in place. Ends after `seconds`."""
    end = None if seconds is None else time.monotonic() + seconds
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for node in nodes:
            monitor = _open(lab, node, stack)
            selector.register(monitor.stdout, selectors.EVENT_READ, (Trace(node), monitor.stdout))  # type: ignore[arg-type]
        yield None
        while end is None or time.monotonic() < end:
            for key, _ in selector.select(None if end is None else max(0.0, end - time.monotonic())):
                trace, stream = key.data
                line = stream.readline()
                if not line:
                    return
                denied = trace.take(line.decode(errors="replace"))
                if denied is not None:
                    yield denied


def _open(lab: Lab, node: str, stack: ExitStack) -> subprocess.Popen[bytes]:
    """Begin to trace on a node: its monitor, which ends with the stack, and so does the table."""
    machine = f"node/{node}"
    monitor = lab.popen(machine, ["nft", "monitor", "trace"], stdout=subprocess.PIPE, bufsize=0)
    stack.callback(_end, monitor)
    owner = lab.popen(
        machine, ["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    stack.callback(_end, owner)
    assert owner.stdin is not None
    owner.stdin.write(SETUP.encode())
    owner.stdin.flush()
    while lab.exec(machine, ["nft", "list", "chain", "inet", TABLE, "forward"]).stdout.count("nftrace") == 0:
        if owner.poll() is not None:
            break
        time.sleep(0.02)
    return monitor


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
