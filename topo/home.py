"""The way back for a process that goes into the namespaces of others.

Source: setns(2).
"""

import os

from topo import syscalls

_KINDS = {
    syscalls.CLONE_NEWNET: "net",
    syscalls.CLONE_NEWUTS: "uts",
    syscalls.CLONE_NEWIPC: "ipc",
    syscalls.CLONE_NEWNS: "mnt",
}


class Home:
    """The namespaces that this process began in."""

    def __init__(self) -> None:
        self._descriptors = [
            (os.open(f"/proc/self/ns/{name}", os.O_RDONLY), kind) for kind, name in _KINDS.items()
        ]

    def return_to(self, kinds: int) -> None:
        """Go back into those of the kinds CLONE_NEW*."""
        for descriptor, kind in self._descriptors:
            if kind & kinds:
                syscalls.setns(descriptor, kind)
