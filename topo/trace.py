"""Which rule a packet matched last: one packet, watched on one machine.

    table inet minipod-trace: packets to ADDRESS:PORT ── meta nftrace set 1     (ours, there only while we look)
    nft monitor trace ──> trace id 5c… ip service translate rule … dnat … (verdict accept)
                                       └ family, table, chain      └ the rule as it is listed

The kernel tells of each rule that a marked packet matched. The last one that is not ours is the answer.

Invariant: the table is gone when `last_rule` returns, and no rule of anybody else was touched.

Sources: nft(8) "MONITOR" and "meta nftrace"; the kernel's nf_tables_trace.c.
"""

import contextlib
import os
import re
import select
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Protocol

TABLE = "minipod-trace"
WITHIN = 2.0  # seconds to look
_QUIET = 0.1  # seconds without a line after which a packet's trace is over
_LINE = re.compile(
    r"^trace id (?P<id>\S+) (?P<place>\S+ \S+ \S+) (?P<kind>rule|policy) "
    r"(?P<what>.*?)(?: \(verdict (?P<verdict>[^)]*)\))?$"
)


class Hand(Protocol):
    """A machine on which commands can be run and started."""

    def run(self, argv: Sequence[str], stdin: str = "") -> str:
        """Run a command to its end; its standard output, "" when it failed."""

    def spawn(self, argv: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start a command whose standard output can be read."""


def last_rule(machine: Hand, send: Callable[[], object], protocol: str, address: str, port: int) -> str:
    """Send a packet by `send()` and tell the last rule that the first one to ADDRESS:PORT matched on a machine.

    protocol: tcp or udp. Returns text such as `ip service translate: … (accept)`, or "" when no rule was seen.
    """
    family = "ip6" if ":" in address else "ip"
    match = f"{family} daddr {address} {protocol} dport {port} meta nftrace set 1"
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority -350; {match}; }}\n"
        for hook in ("prerouting", "output")
    )
    machine.run(
        ["nft", "-f", "-"],
        f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n{chains}}}\n",
    )
    monitor = machine.spawn(["nft", "monitor", "trace"])
    try:
        return _last(_watch(monitor, send))
    finally:
        monitor.kill()
        monitor.wait()
        machine.run(["nft", "delete", "table", "inet", TABLE])


def _watch(monitor: "subprocess.Popen[bytes]", send: Callable[[], object]) -> list[str]:
    """What the monitor says of a packet; it is sent again until the monitor, which has to begin first, sees it."""
    assert monitor.stdout is not None
    descriptor, seen, deadline = monitor.stdout.fileno(), b"", time.monotonic() + WITHIN
    while not seen and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            send()
        while select.select([descriptor], [], [], _QUIET)[0]:
            data = os.read(descriptor, 1 << 16)
            if not data or len(seen) > 1 << 20:
                break
            seen += data
    return seen.decode(errors="replace").splitlines()


def _last(lines: Sequence[str]) -> str:
    """The last rule, not ours, of the first packet seen."""
    found = [match for match in map(_LINE.match, map(str.strip, lines)) if match]
    ours = [match for match in found if match["id"] == found[0]["id"]] if found else []
    rules = [match for match in ours if f" {TABLE} " not in f" {match['place']} "]
    if not rules:
        return ""
    last = next((match for match in reversed(rules) if match["kind"] == "rule"), rules[-1])
    verdict = f" ({last['verdict']})" if last["verdict"] else ""
    return f"{last['place']}: {last['what']}{verdict}"
