"""The process that makes pods: their namespaces, their wiring, and the process that holds both.

    supervisor ══ host name, `ip -batch` texts ══ pod runtime ──clone──> pause: holds network, UTS, IPC namespaces
                                                      │
                                                      └── goes into fresh namespaces, wires them, comes home

Everything about the network is done here, one pod after another: the kernel's lock on all of it (RTNL) is then never
waited for, and the supervisor has its processor for itself. A pod that has been answered for is wired.

Pods are children of the supervisor (CLONE_PARENT), which watches and reaps them: killing this process hurts none.

Request:  {"id", "hostname", "shares_pids", "machine", "node", "pod", "port"} with the machine's network: the texts are
          run, `node` there, `pod` in the new one and `port` there again; the node's text calls the pod's namespace by
          this process, which is in it meanwhile
          {"id", "hostname", "shares_pids"} with the network that the pod shares
Answer:   {"id", "pid"} with a pidfd, or {"id", "error", "errno"}

Sources: unshare(2), setns(2), clone(2), network_namespaces(7), rtnetlink(7).
"""

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from topo import syscalls
from topo.home import Home
from topo.netlink import Rtnetlink, compile_batch
from topo.serving import Server

NICENESS = (
    5  # a pod that has begun goes on before the next one does: its containers, the supervisor come first
)
_NAME = "pod-runtime"


class PodRuntime(Server):
    """See the head of this file."""

    def __init__(self, channel: socket.socket) -> None:
        super().__init__(channel)
        self._home = Home()
        self._machines: dict[str, Rtnetlink] = {}

    def serve(self, message: dict[str, Any], descriptors: Sequence[int]) -> None:
        """Make a pod. Raises OSError."""
        network = descriptors[0]
        kinds = syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC
        node = None
        if "machine" in message:
            node = self._machine(message["machine"], network)
            kinds |= syscalls.CLONE_NEWNET
        try:
            syscalls.unshare(kinds)
            if node is None:
                syscalls.setns(network, syscalls.CLONE_NEWNET)
            else:
                self._wire(message, node, network)
            syscalls.sethostname(message["hostname"])
            pid = self._pause(shares_pids=message["shares_pids"])
        finally:
            self._home.return_to(kinds | syscalls.CLONE_NEWNET)
        pidfd = os.pidfd_open(pid)
        self.answer({"id": message["id"], "pid": pid}, [pidfd])
        os.close(pidfd)

    @staticmethod
    def _pause(*, shares_pids: bool) -> int:
        """The process that holds the namespaces; `shares_pids`: it is the first of a pid namespace too."""
        kinds = syscalls.CLONE_PARENT
        syscalls.set_process_name("pause")
        if shares_pids:
            kinds |= syscalls.CLONE_NEWPID
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # it inherits that, and then has no orphans to reap
        try:
            return syscalls.clone_pause(kinds)
        finally:
            if shares_pids:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            syscalls.set_process_name(_NAME)

    def _machine(self, name: str, network: int) -> Rtnetlink:
        """The socket on a machine, whose network stays the same as long as the lab lives."""
        known = self._machines.get(name)
        if known is None:
            syscalls.setns(network, syscalls.CLONE_NEWNET)
            try:
                known = self._machines[name] = Rtnetlink()
            finally:
                self._home.return_to(syscalls.CLONE_NEWNET)
        return known

    @staticmethod
    def _wire(message: dict[str, Any], node: Rtnetlink, network: int) -> None:
        def enter_machine() -> None:
            syscalls.setns(network, syscalls.CLONE_NEWNET)

        pod = Rtnetlink()
        try:
            _batch(message["node"], node, enter_machine)
            _batch(message["pod"], pod, lambda: None)
            _batch(message["port"], node, enter_machine)
        finally:
            pod.close()


def _batch(text: str, rtnetlink: Rtnetlink, enter: Callable[[], None]) -> None:
    """Run a text; one with lines that topo.netlink does not know by `ip`, once `enter` was called. Raises OSError."""
    requests = compile_batch(text)
    if requests is not None:
        rtnetlink.send(requests)
        return
    import subprocess

    argv = ["ip", "-batch", "-"]
    done = subprocess.run(argv, input=text, text=True, capture_output=True, check=False, preexec_fn=enter)
    if done.returncode:
        raise OSError(None, f"ip -batch: {done.stderr.strip()}")


def main(argv: Sequence[str]) -> None:
    """`python -m topo.pod_runtime CHANNEL`: the descriptor of the channel to the supervisor."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what shares this memory would run Python's handler in it
    syscalls.set_process_name(_NAME)
    os.nice(NICENESS)
    PodRuntime(socket.socket(fileno=int(argv[0]))).run()


if __name__ == "__main__":
    main(sys.argv[1:])
