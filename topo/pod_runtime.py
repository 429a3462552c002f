"""The pod runtime's busy process: builds what pods and containers need, has them forked, and writes their logs.

    supervisor ══ requests, answers ══ pod runtime <── pipes ── what containers write, into logs (topo.container_log)
                                         ║
                                       topo.forker ──clone──> pause: holds a pod's network, host name, IPC namespaces
                                            └────────clone──> container: own pid and mount namespaces, the pod's others

After a fork, each page that either side writes is copied. So the process that works and the one that forks are two:
this one builds a container's root in a mount namespace of its own and hands it over, and never forks.

Pods and containers are children of the supervisor (CLONE_PARENT), which watches and reaps them. So killing this process
or the forker hurts nobody: others are started, and given the pipes, which the supervisor holds as well.

Requests:  {"id", "do": "pod", "hostname", "shares_pids"}, perhaps with the network namespace to join
           {"id", "do": "container", "container": {...}} with a pidfd of the pod, perhaps of a pid namespace to join
           {"do": "adopt", "log": PATH, "streams": [...]} with the pipes of a container that runs already
Answers:   {"id", "pid"} with a pidfd; for a container also with its outputs and, if it has one, its input
           {"id", "started": true} when a container's program runs; {"id", "error", "errno"} when it cannot
           {"drained": PATH} when all that a container wrote is in its log

Sources: clone(2), setns(2), mount_namespaces(7), pid_namespaces(7).
"""

import os
import select
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from topo import forker, rootfs, syscalls, wire
from topo.container_log import LogWriter
from topo.forker import Home
from topo.stdio import Stdio

_CHUNK = 1 << 16
_NAME = "pod-runtime"


class PodRuntime:
    """The loop: requests, containers that start, outputs of containers that run."""

    def __init__(self, channel: socket.socket, forker_: socket.socket) -> None:
        self._channel = channel
        self._forker = forker_
        self._home = Home()
        self._proc = os.open("/proc", os.O_PATH)  # to be found from within a container's root
        self._handlers: dict[int, Callable[[], None]] = {}  # by descriptor that is waited for
        self._poll = select.poll()
        self._wait_for(channel.fileno(), self._serve)

    def run(self) -> NoReturn:
        """Serve until the supervisor is gone."""
        while True:
            for descriptor, _ in self._poll.poll():
                handler = self._handlers.get(descriptor)
                if handler is not None:  # None: an earlier one of this round has dealt with it
                    handler()

    def _wait_for(self, descriptor: int, handler: Callable[[], None]) -> None:
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, select.POLLIN)

    def _forget(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        del self._handlers[descriptor]
        os.close(descriptor)

    def _serve(self) -> None:
        received = wire.receive(self._channel)
        if received is None:
            os._exit(0)
        message, descriptors = received
        try:
            if message["do"] == "pod":
                self._start_pod(message, descriptors)
            elif message["do"] == "container":
                self._start_container(message, *descriptors)
            else:
                self._read_outputs(message["log"], dict(zip(descriptors, message["streams"], strict=True)))
                return
        except (OSError, ValueError) as error:
            number = error.errno if isinstance(error, OSError) else None
            wire.send(self._channel, {"id": message["id"], "error": str(error), "errno": number})
        for descriptor in descriptors:
            os.close(descriptor)

    def _start_pod(self, message: dict[str, Any], networks: Sequence[int]) -> None:
        pid, pidfd = forker.ask_pause(
            self._forker,
            message["hostname"],
            networks[0] if networks else None,
            shares_pids=message["shares_pids"],
        )
        wire.send(self._channel, {"id": message["id"], "pid": pid}, [pidfd])
        os.close(pidfd)

    def _start_container(self, message: dict[str, Any], pod: int, pids: int | None = None) -> None:
        spec = message["container"]
        stdio = Stdio.open(stdin=spec["stdin"], tty=spec["tty"])
        report, theirs = wire.pair()
        try:
            root = self._build_root(spec)
            pid, pidfd = forker.ask_container(self._forker, pod, root, theirs.fileno(), stdio, pids)
            os.close(root)
        finally:
            stdio.close_theirs()
            theirs.close()
        given = [pidfd, *stdio.outputs, *([] if stdio.input is None else [stdio.input])]
        streams = list(stdio.outputs.values())
        wire.send(self._channel, {"id": message["id"], "pid": pid, "streams": streams}, given)
        os.close(pidfd)
        if stdio.input is not None and stdio.input not in stdio.outputs:
            os.close(stdio.input)  # the kubelet's copy is the only one: when it closes that, the input ends
        self._read_outputs(spec["log"], stdio.outputs)
        wire.send(report, {word: spec[word] for word in ("argv", "env", "working_dir", "standin")})
        descriptor = report.detach()
        self._wait_for(descriptor, lambda: self._has_started(message["id"], descriptor))

    def _build_root(self, spec: dict[str, Any]) -> int:
        """A descriptor of a new mount namespace whose root is the container's. Raises OSError, ValueError."""
        syscalls.unshare(syscalls.CLONE_NEWNS)
        try:
            rootfs.enter_container_root(rootfs.ContainerRoot(**spec["root"]))
            os.makedirs(spec["working_dir"], exist_ok=True)
            return os.open("self/ns/mnt", os.O_RDONLY, dir_fd=self._proc)
        finally:
            self._home.return_to()

    def _has_started(self, request: int, report: int) -> None:
        """The container's program runs (its end of the socket closed without a word), or it tells why it cannot."""
        try:
            error = os.read(report, _CHUNK).decode(errors="replace")
        except ConnectionResetError:
            error = "killed before its program ran"
        self._forget(report)
        answer = {"error": error, "errno": None} if error else {"started": True}
        wire.send(self._channel, {"id": request, **answer})

    def _read_outputs(self, path: str, outputs: dict[int, str]) -> None:
        """From now on, write what comes out of a container into its log. Raises OSError."""
        log = LogWriter(path)
        open_ = set(outputs)

        def read(descriptor: int, stream: str) -> None:
            try:
                data = os.read(descriptor, _CHUNK)
            except BlockingIOError:
                return
            except OSError:  # EIO: nobody has the terminal open any more
                data = b""
            if data:
                log.write(stream, data)
                return
            self._forget(descriptor)
            open_.discard(descriptor)
            if not open_:
                log.close()
                wire.send(self._channel, {"drained": path})

        for descriptor, stream in outputs.items():
            self._wait_for(descriptor, lambda d=descriptor, s=stream: read(d, s))  # type: ignore[misc]


def main(argv: Sequence[str]) -> None:
    """`python -m topo.pod_runtime CHANNEL FORKER`: descriptors of the channels to the supervisor and to the forker."""
    syscalls.set_process_name(_NAME)
    PodRuntime(*(socket.socket(fileno=int(word)) for word in argv)).run()


if __name__ == "__main__":
    main(sys.argv[1:])
