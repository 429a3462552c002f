"""A pod's first process: what `pause` and a container shim are in a real cluster, in one small program.

    kubelet ═══ channel ═══ pod_init (pid 1 of the pod's namespaces: network, pid, host name, IPC)
                               ├── container: own pid and mount namespaces, own root, the pod's network
                               │     └── stdout, stderr ──> pod_init ──> log (topo.container_log)
                               └── container …

It holds the pod's namespaces, starts containers when it is told to, writes their logs, reaps them and says how they
ended. When it dies, the kernel ends all of the pod, and the kubelet sees the end of the channel. It is forked from the
warm pod runtime, so it and every stand-in start without loading a single module.

Messages in:   {"do": "start", "container": {...}} | {"do": "signal", "name": N, "signal": 15}
Messages out:  {"event": "started", "name": N} with a pidfd, and for a container with `stdin` or `tty` its input
               {"event": "failed", "name": N, "message": …}
               {"event": "exited", "name": N, "status": 0-255, "signal": 0-64}

Source: "pause" of Kubernetes (build/pause), the OCI runtime specification, "Lifecycle".
"""

import _signal  # type: ignore[import-not-found] # CPython's own; typeshed leaves it out
import contextlib
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from topo import rootfs, syscalls, wire
from topo.container_log import LogWriter
from topo.stdio import Stdio

_CONTAINER = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CHUNK = 1 << 16
_MOST_DESCRIPTORS = 1 << 20


@dataclass
class _Container:
    """A running container: its first process, its log, and its outputs (descriptor -> stream)."""

    name: str
    pid: int
    pidfd: int
    log: LogWriter
    outputs: dict[int, str]

    def read(self, descriptor: int) -> bool:
        """Put what an output holds, one chunk at most, into the log. False when there is none now."""
        try:
            data = os.read(descriptor, _CHUNK)
        except OSError:  # BlockingIOError: nothing there; EIO: nobody has the terminal open
            return False
        self.log.write(self.outputs[descriptor], data)
        return bool(data)


class PodInit:
    """The loop of a pod's first process."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._containers: dict[int, _Container] = {}  # by every descriptor that is waited for
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)

    def run(self) -> NoReturn:
        """Serve the channel until its end, then end the pod."""
        signal.signal(
            signal.SIGCHLD, signal.SIG_DFL
        )  # the forker ignores it, which would reap containers unseen
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._channel.fileno():
                    self._serve()
                    break  # what else was ready may have another meaning now
                self._look(descriptor)

    def _look(self, descriptor: int) -> None:
        """A container has ended or written something; or had, and that has been dealt with."""
        container = self._containers.get(descriptor)
        if container is None:
            return
        if descriptor == container.pidfd:
            self._reap(container)
        elif not container.read(descriptor):
            self._forget(descriptor)

    def _serve(self) -> None:
        received = wire.receive(self._channel)
        if received is None:
            os._exit(0)
        message, _ = received
        if message["do"] == "start":
            self._start(message["container"])
        else:
            self._signal(message["name"], message["signal"])

    def _start(self, spec: dict[str, Any]) -> None:
        try:
            log, stdio = LogWriter(spec["log"]), Stdio.open(stdin=spec["stdin"], tty=spec["tty"])
        except OSError as error:
            self._tell({"event": "failed", "name": spec["name"], "message": str(error)})
            return
        failed_read, failed_write = os.pipe()
        pid = syscalls.clone(_CONTAINER)
        if pid == 0:
            run_container(spec, stdio, failed_write)
        os.close(failed_write)
        stdio.close_theirs()
        message = _read_all(failed_read)
        container = _Container(spec["name"], pid, os.pidfd_open(pid), log, stdio.outputs)
        for descriptor in (container.pidfd, *container.outputs):
            self._containers[descriptor] = container
            self._poll.register(descriptor, select.POLLIN)
        if message:
            self._end(container)
            self._tell({"event": "failed", "name": container.name, "message": message})
        else:
            given = [container.pidfd] if stdio.input is None else [container.pidfd, stdio.input]
            self._tell({"event": "started", "name": container.name}, *given)
        if stdio.input is not None and stdio.input not in container.outputs:
            os.close(stdio.input)  # the kubelet's copy is the only one: when it closes that, the input ends

    def _signal(self, name: str, number: int) -> None:
        """Signal a container's first process. SIGKILL, or a signal that it would not notice, ends all of it."""
        for pidfd in [c.pidfd for fd, c in self._containers.items() if fd == c.pidfd and c.name == name]:
            deaf = number == signal.SIGTERM and not _catches(pidfd, number)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL if deaf else number)

    def _reap(self, container: _Container) -> None:
        """A container has ended: its last words go to the log before its end is told."""
        for descriptor in container.outputs:
            while descriptor in self._containers and container.read(descriptor):
                pass
        status = self._end(container)
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = 128 + ended_by if ended_by else os.WEXITSTATUS(status)
        self._tell({"event": "exited", "name": container.name, "status": code, "signal": ended_by})

    def _end(self, container: _Container) -> int:
        """Wait for a container's first process, which ends or has ended, and let go of all of it: its wait status."""
        _, status = os.waitpid(container.pid, 0)
        for descriptor in (container.pidfd, *container.outputs):
            if descriptor in self._containers:
                self._forget(descriptor)
        container.log.close()
        return status

    def _forget(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        del self._containers[descriptor]
        os.close(descriptor)

    def _tell(self, message: dict[str, Any], *descriptors: int) -> None:
        with contextlib.suppress(OSError):  # the kubelet is gone; so will be this pod at the next receive
            wire.send(self._channel, message, descriptors)


def _read_all(descriptor: int) -> str:
    data = b"".join(iter(lambda: os.read(descriptor, _CHUNK), b""))
    os.close(descriptor)
    return data.decode(errors="replace")


def _catches(pidfd: int, number: int) -> bool:
    """Whether a container's first process handles a signal.

    As pid 1 of its namespace it is spared the default action (pid_namespaces(7)), so a TERM that it does not handle
    would only let the grace period run out for nothing.
    """
    try:
        # The /proc here is the sandbox's, with other numbers than the pod's; the pidfd knows the right one.
        pid = _field(f"/proc/self/fdinfo/{pidfd}", "Pid:")
        caught = int(_field(f"/proc/{pid}/status", "SigCgt:"), 16)
    except (OSError, StopIteration):
        return True
    return bool(caught >> (number - 1) & 1)


def _field(path: str, name: str) -> str:
    with open(path) as lines:
        return next(line for line in lines if line.startswith(name)).split()[1]


def run_container(container: dict[str, Any], stdio: Stdio, failed: int) -> NoReturn:
    """In a container's first process: its input and outputs, its root, its environment, its program.

    Writes why it could not be started to the descriptor `failed`, which closes by itself when the program runs.
    """
    try:
        os.setsid()
        stdio.take()
        os.closerange(3, failed)  # nothing of its pod's first process or of other containers stays open in it
        os.closerange(failed + 1, _MOST_DESCRIPTORS)
        rootfs.enter_container_root(rootfs.ContainerRoot(**container["root"]))
        _reset_signals()
        os.makedirs(container["working_dir"], exist_ok=True)
        os.chdir(container["working_dir"])
        if container["standin"]:
            _run_standin(container, failed)
        _exec(container["argv"], container["env"])
    except (OSError, ValueError) as error:
        os.write(failed, str(error).encode())
    except BaseException:
        os.write(failed, traceback.format_exc().encode())
    os._exit(127)


def _reset_signals() -> None:
    """Python ignores SIGPIPE and blocks nothing by default; a program expects the defaults of a fresh start."""
    for number in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGINT, signal.SIGXFSZ):
        _signal.signal(
            number, _signal.SIG_DFL
        )  # without the enumerations of `signal`, whose pages it would copy
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _exec(argv: list[str], env: dict[str, str]) -> NoReturn:
    """execvpe, with the search path of the container's own environment and the runtime's usual message."""
    if "/" in argv[0]:
        candidates = [argv[0]]
    else:
        candidates = [f"{folder}/{argv[0]}" for folder in env.get("PATH", _PATH).split(":")]
    refused: OSError | None = None
    for candidate in candidates:
        try:
            os.execve(candidate, argv, env)
        except FileNotFoundError:
            continue
        except OSError as error:
            refused = error
    if refused is not None:
        raise OSError(f'exec: "{argv[0]}": {str(refused.strerror).lower()}')
    where = "no such file or directory" if "/" in argv[0] else "executable file not found in $PATH"
    raise OSError(f'exec: "{argv[0]}": {where}')


def _run_standin(container: dict[str, Any], failed: int) -> NoReturn:
    """Call the stand-in's function in this very process, as if its program had been executed."""
    module, _, function = container["standin"].partition(":")
    run: Callable[[list[str]], int] = getattr(
        sys.modules.get(module) or importlib.import_module(module), function
    )
    os.close(failed)
    os.environ.update(container["env"])
    syscalls.set_process_name(os.path.basename(container["argv"][0]))
    sys.argv = list(container["argv"])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    status = 1
    try:
        status = run(list(container["argv"]))
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status & 0xFF)
