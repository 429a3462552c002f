"""The process that makes containers: builds the root of each, has it started, and writes its log.

    supervisor ══ requests, answers ══ container runtime <── pipes ── what containers write, into logs
                                         ║           └──clone──> container that executes a program, or only waits
                                       topo.forker ──clone──> container with a stand-in in Python

A container has a mount namespace and a pid namespace of its own, and the pod's others. What needs no interpreter is
started from here (topo.native_container); a stand-in is forked by topo.forker, which has loaded it. After such a fork,
each page that either side writes is copied: so the process that works and the one that forks are two.

Containers are children of the supervisor (CLONE_PARENT), which watches and reaps them. So killing this process or the
forker hurts nobody: others are started, and given the pipes, which the supervisor holds as well.

Requests:  {"id", "container": {...}} with a pidfd of the pod, perhaps of a pid namespace to join
           {"adopt": PATH, "streams": [...]} with the pipes of a container that runs already
Answers:   {"id", "pid", "streams"} with a pidfd, its outputs and, if it has one, its input; with "started": true for
           one that only waits, and does
           {"id", "started": true} when a container's program runs; {"id", "error", "errno"} when it cannot
           {"drained": PATH} when all that a container wrote is in its log

Sources: clone(2), setns(2), mount_namespaces(7), pid_namespaces(7).
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from topo import capabilities, container_root, forker, syscalls, wire
from topo.container_log import LogWriter
from topo.home import Home
from topo.native import Chain
from topo.native_container import WAIT, Slots, chain_of, is_native, refusal, settles
from topo.serving import Server
from topo.stdio import Stdio

KILLED = "killed before its program ran"
_CHUNK = 1 << 16
_DESCRIPTORS = 1 << 13  # two or three for each container
_NAME = "containers"
_TOLD = ("argv", "env", "working_dir", "standin", "confined")  # what a forked one is to become
_CHAIN = syscalls.CLONE_PARENT | syscalls.CLONE_FILES  # see topo.native_container
_AT_ONCE = 8  # chains whose processes have not settled: while one waits for a processor, others are started


@dataclass(frozen=True)
class _Forked:
    """A container whose first process is there. report: this end of the stream or channel to it."""

    request: int
    spec: dict[str, Any]
    pid: int
    pidfd: int
    stdio: Stdio
    log: LogWriter
    report: socket.socket


@dataclass(frozen=True)
class _Unsettled:
    """A chain's process that still takes its descriptors from `slots`."""

    forked: _Forked
    slots: Slots


class ContainerRuntime(Server):
    """See the head of this file."""

    def __init__(self, channel: socket.socket, forker_: socket.socket) -> None:
        super().__init__(channel)
        self._forker = forker_
        self._home = Home()
        self._proc = os.open("/proc", os.O_PATH)  # to be found from within a container's root
        self._pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._slots = [Slots.reserve() for _ in range(_AT_ONCE)]
        self._nothing = os.open(os.devnull, os.O_RDONLY)
        self._unsettled: dict[int, _Unsettled] = {}  # by request
        self._chains: dict[str, Chain] = {}  # by log, as long as the container's process may use them

    def serve(self, message: dict[str, Any], descriptors: Sequence[int]) -> None:
        """Start a container, or take over the outputs of one. Raises OSError, ValueError."""
        if "adopt" in message:
            self._adopt(message["adopt"], message["streams"], descriptors)
        else:
            self._start(message["id"], message["container"], *descriptors)

    def _adopt(self, path: str, streams: Sequence[str], descriptors: Sequence[int]) -> None:
        """Take over the outputs of a container; one whose pod has been removed meanwhile has no log any more."""
        try:
            log = LogWriter(path)
        except OSError:
            self.answer({"drained": path})
            return
        outputs = dict(zip((os.dup(one) for one in descriptors), streams, strict=True))
        self._read_outputs(path, log, outputs)

    def _start(self, request: int, spec: dict[str, Any], pod: int, pids: int | None = None) -> None:
        native = is_native(spec)
        slots: Slots | None = None
        if native and not self._slots:
            self._settle(next(iter(self._unsettled)))
        log = LogWriter(spec["log"])
        stdio = Stdio.open(stdin=spec["stdin"], tty=spec["tty"])
        # The end of a stream raises SIGPIPE in whoever writes to it; packets keep the description in one piece.
        report, theirs = socket.socketpair() if native else wire.pair()
        try:
            syscalls.unshare(syscalls.CLONE_NEWNS)
            container_root.enter(container_root.ContainerRoot(**spec["root"]))
            _make_working_folder(spec["working_dir"])
            if spec["root"].get("read_only"):
                container_root.seal()
            if native:
                slots = self._slots.pop()
                slots.fill(theirs.fileno(), stdio.theirs, pod)
                pid, pidfd = self._start_chain(spec, slots, pids)
            else:
                pid, pidfd = self._fork(pod, theirs.fileno(), stdio, pids)
        except BaseException:
            log.close()
            stdio.close_ours()
            if slots is not None:
                self._give_back(slots)
            raise
        finally:
            self._home.return_to(syscalls.CLONE_NEWNS)
            stdio.close_theirs()
            theirs.close()
        forked = _Forked(request, spec, pid, pidfd, stdio, log, report)
        if slots is not None:
            self._wait_until_settled(_Unsettled(forked, slots))
        else:
            self._tell(forked)
            wire.send(report, {word: spec[word] for word in _TOLD})
            self._wait_for_start(forked)

    # ---------------------------------------------------------------- those that need no interpreter

    def _give_back(self, slots: Slots) -> None:
        slots.clear(self._nothing)
        self._slots.append(slots)

    def _start_chain(self, spec: dict[str, Any], slots: Slots, pids: int | None) -> tuple[int, int]:
        """Start a process in the present root that needs no interpreter: its pid and a pidfd."""
        if spec["working_dir"] != "/":
            os.chdir(spec["working_dir"])
        chain = chain_of(spec, slots, tty=spec["tty"])
        pid, pidfd = self._clone(chain, pids)
        self._chains[spec["log"]] = chain
        return pid, pidfd

    def _wait_until_settled(self, unsettled: _Unsettled) -> None:
        forked = unsettled.forked
        self._unsettled[forked.request] = unsettled
        for descriptor in (forked.report.fileno(), forked.pidfd):
            self.wait_for(descriptor, lambda: self._settle(forked.request))

    def _settle(self, request: int) -> None:
        """Wait until a process has settled or ended, which it has when it was found by the loop, and let it go on."""
        unsettled = self._unsettled.pop(request)
        settled = settles(unsettled.forked.report, unsettled.forked.pidfd)
        self.leave(unsettled.forked.pidfd)
        self._give_back(unsettled.slots)
        self._let_go_on(unsettled.forked, settled)

    def _let_go_on(self, forked: _Forked, settled: bool) -> None:
        """Tell the supervisor of a chain's process, and then this one to go on, unless it has ended or failed."""
        spec, report = forked.spec, forked.report
        error = self._chains[spec["log"]].errno
        if error or not settled:
            self._tell(forked)
            text = f"cannot enter the pod: {os.strerror(error).lower()}" if error else KILLED
            self.answer({"id": forked.request, "error": text, "errno": None})
            self.forget(report.detach())
            return
        waits = spec["standin"] == WAIT
        self._tell(forked, **({"started": True} if waits else {}))
        with contextlib.suppress(BrokenPipeError):  # killed meanwhile, which its pidfd tells
            report.send(b".")
        descriptor = report.detach()
        if waits:  # it sees by this end that it was told by one who lives, and closes its own
            self.hand_over(descriptor, lambda: self.forget(descriptor))
        else:
            self.hand_over(descriptor, lambda: self._has_started(forked.request, descriptor, spec))

    def _clone(self, chain: Chain, pids: int | None) -> tuple[int, int]:
        """Start a chain in a pid namespace of its own, or beside another process: its pid and a pidfd."""
        if pids is None:
            return chain.start(syscalls.CLONE_NEWPID | _CHAIN)
        syscalls.setns(pids, syscalls.CLONE_NEWPID)  # of the children, not of this process
        try:
            return chain.start(_CHAIN)
        finally:
            syscalls.setns(self._pids, syscalls.CLONE_NEWPID)

    # ---------------------------------------------------------------- all

    def _tell(self, forked: _Forked, **more: bool) -> None:
        """Tell the supervisor of a process, and from now on write its log."""
        stdio, spec = forked.stdio, forked.spec
        given = [forked.pidfd, *stdio.outputs, *([] if stdio.input is None else [stdio.input])]
        streams = list(stdio.outputs.values())
        self.answer({"id": forked.request, "pid": forked.pid, "streams": streams, **more}, given)
        os.close(forked.pidfd)
        if stdio.input is not None and stdio.input not in stdio.outputs:
            os.close(stdio.input)  # the kubelet's copy is the only one: when it closes that, the input ends
        self._read_outputs(spec["log"], forked.log, stdio.outputs)

    def _wait_for_start(self, forked: _Forked) -> None:
        """See, now that the supervisor knows of it, whether a container becomes its program."""
        descriptor = forked.report.detach()
        self.wait_for(descriptor, lambda: self._has_started(forked.request, descriptor, forked.spec))

    def _fork(self, pod: int, report: int, stdio: Stdio, pids: int | None) -> tuple[int, int]:
        """Have a container forked that is in the present mount namespace: its pid and a pidfd."""
        root = os.open("self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        try:
            return forker.ask_container(self._forker, pod, root, report, stdio, pids)
        finally:
            os.close(root)

    def _has_started(self, request: int, report: int, spec: dict[str, Any]) -> None:
        """The container's program runs (its end of the socket closed without a word), or it tells why it cannot."""
        try:
            error = os.read(report, _CHUNK).decode(errors="replace")
        except ConnectionResetError:
            error = KILLED
        self.forget(report)
        chain = self._chains.get(spec["log"])
        if chain is not None and chain.errno:
            error = refusal(spec, chain.errno)
        answer = {"error": error, "errno": None} if error else {"started": True}
        self.answer({"id": request, **answer})

    def _read_outputs(self, path: str, log: LogWriter, outputs: dict[int, str]) -> None:
        """From now on, write what comes out of a container into its log, which is at `path`."""
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
            self.forget(descriptor)
            open_.discard(descriptor)
            if not open_:
                log.close()
                self._chains.pop(path, None)
                self.answer({"drained": path})

        for descriptor, stream in outputs.items():
            self.wait_for(descriptor, lambda d=descriptor, s=stream: read(d, s))  # type: ignore[misc]


def _make_working_folder(path: str) -> None:
    if path != "/" and not os.path.isdir(path):
        os.makedirs(path)


def main(argv: Sequence[str]) -> None:
    """`python -m topo.container_runtime CHANNEL FORKER`: descriptors of the channels to supervisor and forker."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what shares this memory would run Python's handler in it
    syscalls.set_process_name(_NAME)
    syscalls.expect_descriptors(_DESCRIPTORS)
    capabilities.keep_for_children()
    ContainerRuntime(*(socket.socket(fileno=int(word)) for word in argv)).run()


if __name__ == "__main__":
    main(sys.argv[1:])
