"""The node's hand: `netfns.kernel.Kernel` on a machine, or on a pod, of `topo`.

Network functions know the protocol and topo knows machines; this is where the two meet, and a status other than zero
becomes a CommandError.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from typing import Any

from netfns.kernel import CommandError
from topo.enter import Completed, Links, Namespaces
from topo.netlink import compile_batch
from topo.nft import Nft

RULE_PROGRAMS = ("nft", "iptables", "ip6tables")  # what they change for an agent is no stranger's doing


class NodeKernel:
    """See `netfns.kernel.Kernel`, which this implements. Every call blocks."""

    def __init__(self, name: str, namespaces: Namespaces) -> None:
        self.name = name
        self._namespaces = namespaces
        self._links = Links(namespaces)
        self._nft = Nft(namespaces)

    def close(self) -> None:
        """Close the netlink sockets."""
        self._links.close()
        self._nft.close()

    def run(self, argv: Sequence[str], stdin: str = "") -> str:
        """Run a command; returns its standard output."""
        done = self._namespaces.run(argv, stdin)
        if argv[0].startswith(RULE_PROGRAMS):
            self._nft.own_change()
        return _checked(done).stdout

    def spawn(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command; options are subprocess.Popen's."""
        return self._namespaces.popen(argv, **options)

    def ip(self, batch: str) -> None:
        """`ip -batch -`, in process when every line is one that topo.netlink knows."""
        _checked(self._links.batch(batch, compile_batch(batch)))

    def bridge(self, batch: str) -> None:
        """`bridge -batch -`."""
        self.run(["bridge", "-batch", "-"], batch)

    def nft(self, ruleset: str) -> None:
        """`nft -f -`, in process."""
        _checked(self._nft.run(ruleset))

    def rules_changed_elsewhere(self) -> bool:
        """Whether anybody but the agents, who go through here, has changed the rules since this was last asked."""
        return self._nft.changed_elsewhere()

    def listen(self, port: int) -> socket.socket:
        """A TCP socket that listens on the machine, at all its addresses. Raises OSError."""

        def listening() -> socket.socket:
            both = socket.has_dualstack_ipv6()
            family, address = (socket.AF_INET6, "::") if both else (socket.AF_INET, "0.0.0.0")
            return socket.create_server((address, port), family=family, dualstack_ipv6=both)

        return self._namespaces.call(listening)

    def sysctl(self, key: str, value: str) -> None:
        """Write the file of /proc/sys, which shows the network namespace of whoever reads it.

        One that says so already is left alone: written again, those of `all` would undo those of `default`.
        """
        path = "/proc/sys/" + key.replace(".", "/")

        def write() -> None:
            with open(path, "r+") as setting:
                if setting.read().strip() != value:
                    setting.seek(0)
                    setting.write(value)

        try:
            self._namespaces.call(write)
        except OSError as error:
            raise CommandError(["sysctl", f"{key}={value}"], 1, f"{path}: {error.strerror}") from None


def _checked(result: Completed) -> Completed:
    if result.status:
        raise CommandError(result.argv, result.status, result.stderr)
    return result
