"""A machine of a lab: a Mininet host whose namespaces are held open by the lab, not by a shell.

Mininet's `Node` is a shell in fresh namespaces, and when the shell dies the network goes with it. Here the namespaces
(network, mounts, host name) come first and are held by descriptors; Mininet's shell is only their first inhabitant.
Kill it, and `revive` puts another one into the very same network: no link, route or rule is lost.

Mininet's camelCase stops in this file and in `underlay`.
"""

import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mininet.node import Node

from topo import syscalls
from topo.enter import Completed, Links, Namespaces
from topo.netlink import compile_batch


class MachineHost(Node):  # type: ignore[misc]
    """Mininet's view of a machine."""

    namespaces: Namespaces | None = None

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802 (Mininet's name)
        """Start Mininet's shell in this machine's namespaces, which are made at the first call.

        A thread takes the namespaces on and starts the shell, so that the caller stays where it is.
        """
        errors: list[BaseException] = []

        def start() -> None:
            try:
                self._take_namespaces()
                super(MachineHost, self).startShell(mnopts or "-cd")
            except BaseException as error:  # handed to the caller below
                errors.append(error)

        self.inNamespace = False  # no "-n" for mnexec: the namespaces are there already
        thread = threading.Thread(target=start, name=f"start-{self.name}")
        thread.start()
        thread.join()
        self.inNamespace = True
        if errors:
            raise errors[0]

    def _take_namespaces(self) -> None:
        syscalls.unshare(syscalls.CLONE_FS)
        if self.namespaces is not None:
            # The thread ends after this, so it need not come home.
            self.namespaces.join()
            return
        syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS)
        syscalls.sethostname(self.name)
        _be_quiet()
        self._own_files()
        self.namespaces = Namespaces.of_thread()

    def _own_files(self) -> None:
        """A /sys that shows this network, and name files of its own."""
        syscalls.mount("sysfs", "/sys", "sysfs")
        folder = Path("/run/minipod/machines", self.name)
        folder.mkdir(parents=True)
        for name in ("hosts", "resolv.conf", "hostname"):
            (folder / name).write_text(f"{self.name}\n" if name == "hostname" else "")
            syscalls.bind(str(folder / name), f"/etc/{name}")

    def terminate(self) -> None:
        """End the shell; the namespaces go when the lab does."""
        if self.shell:
            self.shell.kill()
        self.cleanup()


def _be_quiet() -> None:
    """Have no interface of this network look for another with its addresses, or for routers: all are given.

    Otherwise each does so for some seconds after its start, and its link-local address cannot be used before.
    """
    # The first: some hosts have a new network begin with the settings of the one that made it, that of the switches.
    for key, value in (("disable_ipv6", "0"), ("accept_dad", "0"), ("router_solicitations", "0")):
        setting = Path("/proc/sys/net/ipv6/conf/default", key)
        if setting.exists():
            setting.write_text(value)


class Machine:
    """What the rest of the lab sees of a machine: its name, its kind, and how to run something on it."""

    def __init__(self, host: MachineHost, kind: str) -> None:
        assert host.namespaces is not None
        self.name = str(host.name)
        self.kind = kind
        self.host = host
        self.namespaces = host.namespaces
        self._links = Links(host.namespaces)

    def run(self, argv: Sequence[str], stdin: str = "") -> Completed:
        """Run a command on the machine to its end. Blocks."""
        return self.namespaces.run(argv, stdin)

    def spawn(self, argv: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        """Start a command on the machine. Options are subprocess.Popen's."""
        return self.namespaces.popen(argv, **options)

    def ip(self, batch: str) -> Completed:
        """Run the lines of an `ip -batch` text: in process when every line is one that topo.netlink knows."""
        return self._links.batch(batch, compile_batch(batch))

    def write(self, name: str, text: str) -> None:
        """Write one of the machine's name files: hosts, resolv.conf. In place, for it is a bind mount's source."""
        Path("/run/minipod/machines", self.name, name).write_text(text)

    def anchor(self) -> int:
        """A new pidfd of the machine's shell, the process whose namespaces are the machine's."""
        return os.pidfd_open(self.host.shell.pid)


class Shell:
    """Mininet's shell of a host or a switch: which process it is, and how to have another one."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def pid(self) -> int:
        """The process id of the present shell."""
        return int(self._node.shell.pid)

    def revive(self) -> None:
        """Put a new shell in place of one that was killed: a host's goes into the host's own namespaces."""
        self._node.shell.wait()
        self._node.cleanup()
        self._node.startShell()
