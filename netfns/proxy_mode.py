"""What a proxy mode is: the one thing that kube-proxy needs of whoever carries out its Services.

    desired (ServiceProxy) --render--------> text --apply--> kernel        at start, and to begin again
    before, now            --render_change-> text --apply--> kernel        for each change
                                                    kernel --observe--> text
    --proxy-mode changes, or the lab is taken apart:  remove

A mode is a module with these functions, registered by name in `netfns.PROXY_MODES`; any object with the
same methods will do (a student's file in the seat `service` is one). What *should* happen to a packet is
no mode's own affair: `service_verdict.evaluate` says it for all of them, and the conformance table
(tests/conformance/service.py) holds each mode to it.

Source: kube-proxy's --proxy-mode; its interface Provider (pkg/proxy).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Protocol, cast

from netfns import PROXY_MODES
from netfns.kernel import Kernel
from netfns.service_types import ServiceProxy

# Modes in which no endpoint sees the sender's own address: mode -> why.
SOURCE_LOST = {"userspace": "a process on the node connects anew, and the endpoint sees the node's address"}


class ProxyMode(Protocol):
    """One way to carry out Services on a node. All that touches the kernel blocks and raises CommandError."""

    def prepare(self, kernel: Kernel) -> None:
        """Do what is needed once on a node before the first `apply`, sysctls for instance."""

    def render(self, desired: ServiceProxy) -> str:
        """The whole configuration as text, which replaces whatever of this mode's is there. Pure."""

    @property
    def render_change(self) -> Callable[[ServiceProxy, ServiceProxy], str] | None:
        """From two records that hold just the changed services, as they were and as they are, the text that
        turns one into the other; "" when nothing differs. Pure. None: every change is rendered as a whole.
        """

    def apply(self, kernel: Kernel, text: str) -> None:
        """Make the kernel hold what the text says. When it raises, nothing of the text is in force, or
        loading the whole again mends it.
        """

    def observe(self, kernel: Kernel) -> str:
        """What the kernel holds of this mode, as its own tool lists it; "" when it holds nothing."""

    def intact(self, kernel: Kernel, families: Iterable[str]) -> bool:
        """A quick look whether the frame (tables, chains, processes) still stands in each of the families
        (ip, ip6) that are in use, asked when somebody else has changed the node's rules.
        """

    def remove(self, kernel: Kernel) -> None:
        """Take away all that this mode has ever put on the node, and nothing else."""


def proxy_mode(name: str) -> ProxyMode:
    """The mode that is registered under a name. Raises KeyError."""
    return cast(ProxyMode, import_module(PROXY_MODES[name]))
