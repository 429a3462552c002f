"""A pod's first process: what `pause` and a container shim are in a real cluster, in one small program.

    kubelet ═══ channel ═══ pod_init (pid 1 of the pod's namespaces: network, pid, host name, IPC)
                               ├── container: own pid and mount namespaces, own root, the pod's network
                               └── container …

It holds the pod's namespaces, starts containers when it is told to, reaps them and says how they ended. When it dies,
the kernel ends all of the pod, and the kubelet sees the end of the channel. It is forked from the warm pod runtime, so
it and every stand-in start without loading a single module.

Messages in:   {"do": "start", "container": {...}} | {"do": "signal", "name": N, "signal": 15}
Messages out:  {"event": "started", "name": N} with a pidfd | {"event": "failed", "name": N, "message": …}
               {"event": "exited", "name": N, "status": 0-255, "signal": 0-64}

Source: "pause" of Kubernetes (build/pause), the OCI runtime specification, "Lifecycle".
"""

import contextlib
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from topo import rootfs, syscalls, wire

_CONTAINER = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class PodInit:
    """The loop of a pod's first process."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._containers: dict[int, tuple[str, int]] = {}  # pid -> name, pidfd

    def run(self) -> NoReturn:
        """Serve the channel until its end, then end the pod."""
        signal.signal(signal.SIGCHLD, lambda *_: self._reap())
        while (received := wire.receive(self._channel)) is not None:
            message, _ = received
            if message["do"] == "start":
                self._start(message["container"])
            else:
                self._signal(message["name"], message["signal"])
        os._exit(0)

    def _start(self, container: dict[str, Any]) -> None:
        failed_read, failed_write = os.pipe()
        # A container that ends at once must be known before it is reaped.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = syscalls.clone(_CONTAINER)
        if pid == 0:
            os.close(failed_read)
            self._channel.close()
            run_container(container, failed_write)
        os.close(failed_write)
        message = _read_all(failed_read)
        if message:
            os.waitpid(pid, 0)
            self._tell({"event": "failed", "name": container["name"], "message": message})
        else:
            pidfd = os.pidfd_open(pid)
            self._containers[pid] = container["name"], pidfd
            self._tell({"event": "started", "name": container["name"]}, pidfd)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _signal(self, name: str, number: int) -> None:
        """Signal a container's first process. SIGKILL, or a signal that it would not notice, ends all of it."""
        for known, pidfd in self._containers.values():
            if known == name:
                deaf = number == signal.SIGTERM and not _catches(pidfd, number)
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL if deaf else number)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in self._containers:
                    name, pidfd = self._containers.pop(pid)
                    os.close(pidfd)
                    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
                    code = 128 + ended_by if ended_by else os.WEXITSTATUS(status)
                    self._tell({"event": "exited", "name": name, "status": code, "signal": ended_by})

    def _tell(self, message: dict[str, Any], *descriptors: int) -> None:
        with contextlib.suppress(OSError):  # the kubelet is gone; so will be this pod at the next receive
            wire.send(self._channel, message, descriptors)


def _read_all(descriptor: int) -> str:
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read().decode(errors="replace")


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


def run_container(container: dict[str, Any], failed: int) -> NoReturn:
    """In a container's first process: its root, its log, its environment, its program.

    Writes why it could not be started to the descriptor `failed`, which closes by itself when the program runs.
    """
    try:
        os.setsid()
        _open_log(container["log"])
        root = container["root"]
        rootfs.enter_container_root(
            rootfs.ContainerRoot(
                upper=root["upper"],
                image=root["image"],
                files={path: (text, mode) for path, text, mode in root["files"]},
                mounts=tuple((source, path, read_only) for source, path, read_only in root["mounts"]),
            )
        )
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


def _open_log(path: str) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(log)


def _reset_signals() -> None:
    """Python ignores SIGPIPE and blocks nothing by default; a program expects the defaults of a fresh start."""
    for number in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGINT, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
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
    run: Callable[[list[str]], int] = getattr(importlib.import_module(module), function)
    os.close(failed)
    os.environ.clear()
    os.environ.update(container["env"])
    syscalls.set_process_name(os.path.basename(container["argv"][0]))
    sys.argv = list(container["argv"])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    status = 1
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        status = run(list(container["argv"]))
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status & 0xFF)
