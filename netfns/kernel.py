"""The hand that a network function lends from its node: run a command in the node's namespaces.

    service.apply(kernel, text)            netfns: knows what to say, not where
         |
         v
    Kernel.nft(text)                       this protocol
         |
         v
    topo.machine.Machine, or a test's      knows where: enters the network namespace of one node

A network function never opens a namespace itself. It is given a `Kernel`, speaks the text that a student
could paste (`ip -batch`, `bridge -batch`, `nft -f`), and gets a `CommandError` when the kernel refuses.

Invariant: every call is blocking and either took effect as a whole or raised. (`nft` is one transaction by
nature; `ip -batch` stops at the first line that fails, so what it is given must be safe to give again.)

Sources: ip(8), bridge(8), nft(8), sysctl(8).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

# Not so when IPv6 is left out of the kernel, or was disabled at boot.
HAS_IPV6 = Path("/proc/sys/net/ipv6").exists()


class CommandError(Exception):
    """A command in a node's namespaces ended with a status other than zero.

    `argv` is the command, `status` its exit status (1-255, or minus the signal's number), `stderr` all
    that it said.
    """

    def __init__(self, argv: Sequence[str], status: int, stderr: str) -> None:
        self.argv = tuple(argv)
        self.status = status
        self.stderr = stderr
        lines = stderr.strip().splitlines()
        fact = lines[0] if lines else "it said nothing"
        super().__init__(f"{' '.join(self.argv)}: exit status {status}: {fact}")


class Kernel(Protocol):
    """One machine's network, as a network function sees it. All calls block; agents make them in a thread."""

    @property
    def name(self) -> str:
        """The machine's name, such as worker1."""

    def run(self, argv: Sequence[str], stdin: str = "") -> str:
        """Run a command in the machine's namespaces and return its standard output. Raises CommandError."""

    def ip(self, batch: str) -> None:
        """Run the lines of an `ip -batch -` text, in order. Raises CommandError at the first line refused."""

    def bridge(self, batch: str) -> None:
        """Run the lines of a `bridge -batch -` text, in order. Raises CommandError at the first line
        refused.
        """

    def nft(self, ruleset: str) -> None:
        """Load an `nft -f -` text as one transaction: all of it or, with CommandError, nothing."""

    def sysctl(self, key: str, value: str) -> None:
        """Set one sysctl by its dotted name, such as `net.ipv4.ip_forward`. Raises CommandError."""


def settings_for(settings: Mapping[str, str], ipv6: bool) -> dict[str, str]:
    """The sysctls of `settings` that can be set: without `ipv6` none of its own, for the kernel may not have it."""
    return {key: value for key, value in settings.items() if ipv6 or not ("ipv6" in key or "ip6" in key)}
