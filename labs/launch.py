"""`minipod up`: from a cluster's make-up to a lab in which all is Ready.

    lock the name -> test the kernel -> open the sockets that the host sees -> sandbox -> progress … ready -> keep

Invariant: until the last step the lab hangs on this process: if it ends, for whatever reason, the lab ends.
"""

import compileall
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from labs.cluster_file import ClusterConfig
from labs.errors import LabError
from labs.sockets import short_path
from labs.state import NETFNS, StateFolder, wait_for_end
from topo import sandbox
from topo.enter import PATH
from topo.rootfs import CODE
from topo.sandbox import Plan, Sandbox, SandboxError, UserNamespaceRefused

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("topo", "netfns", "controlplane", "agents", "labs")
LOG_LINES = 15


def up(
    folder: StateFolder,
    config: ClusterConfig,
    *,
    privileged: bool = False,
    resume: bool = False,
    netfns: Mapping[str, Path] | None = None,
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Start a lab, or go on with its objects, and return lab.json's content once all is Ready.

    netfns: by seat, the student's file that takes it from the start.
    Raises LabError; nothing runs then.
    """
    if privileged and os.geteuid() != 0:
        raise LabError("--privileged: needs root: leave it out, or run as root")
    files = {seat: student_file(path) for seat, path in (netfns or {}).items()}
    folder.make()
    lock = folder.lock()
    try:
        (folder.path / NETFNS).write_text(json.dumps(files))
        _compile_packages()
        try:
            return _launch(folder, config, lock, privileged, resume, progress)
        except UserNamespaceRefused as error:
            if privileged or os.geteuid() != 0:
                raise
            progress(f"warning: {error}")
            progress(
                "warning: so this lab runs as the host's root, without a user namespace: nothing is graded in it"
            )
            return _launch(folder, config, lock, True, resume, progress)
    except SandboxError as error:
        raise LabError(str(error)) from None
    finally:
        os.close(lock)


def student_file(path: Path) -> dict[str, str]:
    """A student's file as it is sent to a lab: its text, and its name. Raises LabError."""
    try:
        return {"label": path.name, "source": path.read_text()}
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}: give the path of a Python file") from None
    except UnicodeDecodeError:
        raise LabError(f"{path}: not text: give the path of a Python file") from None


def _launch(
    folder: StateFolder,
    config: ClusterConfig,
    lock: int,
    privileged: bool,
    resume: bool,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Start the sandbox and wait until the lab in it is Ready. Raises SandboxError, LabError; nothing runs then."""
    lab = _start(folder, config, lock, _open_sockets(folder), privileged=privileged, resume=resume)
    isolation = "privileged" if privileged else "user-namespace"
    info = {"pid": lab.pid, "isolation": isolation, "config": config.to_json(), "checkout": str(ROOT)}
    try:
        folder.write(info)
        _follow(lab, folder, progress)
    except BaseException:
        _end(lab)
        raise
    lab.lifeline.sendall(b"keep\n")
    return info


def _compile_packages() -> None:
    """Byte-compile what the sandbox will load, for it cannot write here; without it the lab just starts slower."""
    for package in PACKAGES:
        compileall.compile_dir(ROOT / package, quiet=2)


def _open_sockets(folder: StateFolder) -> dict[str, socket.socket]:
    """The sockets that the host sees: opened here, answered in the sandbox."""
    sockets = {"api_tcp": socket.create_server(("127.0.0.1", 0), backlog=128)}
    for name, kind in (("api_unix", socket.SOCK_STREAM), ("control", socket.SOCK_SEQPACKET)):
        path = folder.path / f"{name.removesuffix('_unix')}.sock"
        path.unlink(missing_ok=True)
        sockets[name] = socket.socket(socket.AF_UNIX, kind)
        with short_path(path) as short:
            sockets[name].bind(str(short))
        path.chmod(0o600)
        sockets[name].listen(128)
    return sockets


def _start(
    folder: StateFolder,
    config: ClusterConfig,
    lock: int,
    sockets: dict[str, socket.socket],
    *,
    privileged: bool,
    resume: bool,
) -> Sandbox:
    settings = {"name": folder.name, "config": config.to_json(), "resume": resume}
    descriptors = {name: sock.fileno() for name, sock in sockets.items()}
    environment = {
        "PATH": PATH,
        "PYTHONPATH": CODE,
        "LANG": "C.UTF-8",
        "HOME": "/root",
        "PYTHONUNBUFFERED": "1",
    }
    log = os.open(folder.path / "lab.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        return sandbox.start(
            Plan(
                argv=sandbox.python_argv("labs.supervisor", json.dumps(settings | descriptors)),
                environment=environment,
                code=ROOT,
                state=folder.path,
                log=log,
                inherited=(lock, *descriptors.values()),
                privileged=privileged,
            )
        )
    except (SandboxError, OSError) as error:
        raise SandboxError(str(error)) from None
    finally:
        os.close(log)
        for sock in sockets.values():
            sock.close()


def _follow(lab: Sandbox, folder: StateFolder, progress: Callable[[str], None]) -> None:
    """Show the lab's progress until it is ready. Raises SandboxError, LabError when it does not come to that."""
    for line in _lines(lab.lifeline):
        if line.startswith("error "):
            raise sandbox.error_of(line.removeprefix("error "))
        message = json.loads(line)
        if "progress" in message:
            progress(message["progress"])
        elif "ready" in message:
            return
        else:
            reason = message["error"].replace("the lab's log", f"{folder.path}/lab.log")
            raise LabError(f"lab {folder.name}: {reason}")
    tail = "\n".join((folder.path / "lab.log").read_text(errors="replace").splitlines()[-LOG_LINES:])
    if tail:
        print(tail, file=sys.stderr)
    raise LabError(f"lab {folder.name}: ended while it was starting: see {folder.path}/lab.log")


def _lines(lifeline: socket.socket) -> Iterator[str]:
    buffer = b""
    while data := lifeline.recv(4096):
        *lines, buffer = (buffer + data).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)


def _end(lab: Sandbox) -> None:
    """End a lab that will not be kept, and wait until it has ended."""
    lab.kill()
    wait_for_end(lab.pid)
