"""The inner side of the kernel tests: a process that holds fresh namespaces and does what it is told in them.

    pytest (conftest.Sandbox) --one JSON line a request--> this process, root of its own user namespace
                              <--one JSON line an answer--   network namespaces /run/netns/NAME

Started through `unshare`, so that nothing of a test touches the host and everything ends with this
process. Requests:

    {"do": "run", "netns", "argv", "stdin"}                  -> {"status", "stdout", "stderr"}
    {"do": "spawn", "netns", "argv", "cwd"}                  -> {"pid"}; it ends with the sandbox
    {"do": "listen", "netns", "name", "address", "port", "protocol"}  -> {}; from then on answers "NAME
    CLIENT-ADDRESS" {"do": "connect", "netns", "address", "port", "protocol", "wait"} -> {"reply"} or
    {"error": refused|timeout|...}
    {"do": "use", "file"}                                    -> {}; that file's own requests are known too
"""

import contextlib
import ctypes
import errno
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
HOME = os.open("/proc/self/ns/net", os.O_RDONLY)


def setns(descriptor: int) -> None:
    if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def inside(netns: str) -> Iterator[None]:
    """Be in a network namespace for a while; sockets made meanwhile stay there."""
    descriptor = os.open(f"/run/netns/{netns}", os.O_RDONLY) if netns else HOME
    setns(descriptor)
    try:
        yield
    finally:
        setns(HOME)
        if netns:
            os.close(descriptor)


def run(netns: str, argv: list[str], stdin: str) -> dict[str, Any]:
    enter = ["nsenter", f"--net=/run/netns/{netns}", "--"] if netns else []
    done = subprocess.run([*enter, *argv], input=stdin, capture_output=True, text=True)
    return {"status": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def new_socket(address: str, protocol: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, KINDS[protocol])


def listen(netns: str, name: str, address: str, port: int, protocol: str) -> dict[str, Any]:
    with inside(netns):
        server = new_socket(address, protocol)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    serve = serve_datagrams if protocol == "UDP" else serve_connections
    if protocol == "TCP":
        server.listen()
    threading.Thread(target=serve, args=(server, name), daemon=True).start()
    return {}


def serve_connections(server: socket.socket, name: str) -> None:
    while True:
        connection, client = server.accept()
        with connection:
            connection.sendall(f"{name} {client[0]}".encode())


def serve_datagrams(server: socket.socket, name: str) -> None:
    while True:
        _, client = server.recvfrom(100)
        server.sendto(f"{name} {client[0]}".encode(), client)


def connect(
    netns: str, address: str, port: int, protocol: str, wait: float, source_port: int = 0
) -> dict[str, Any]:
    with inside(netns):
        client = new_socket(address, protocol)
    with client:
        client.bind(("", source_port))
        client.settimeout(wait)
        try:
            client.connect((address, port))
            if protocol == "UDP":
                client.send(b"who?")
            return {"reply": client.recv(100).decode()}
        except TimeoutError:
            return {"error": "timeout"}
        except OSError as error:
            return {
                "error": "refused" if error.errno == errno.ECONNREFUSED else os.strerror(error.errno or 0)
            }


def spawn(netns: str, argv: list[str], cwd: str) -> dict[str, Any]:
    with inside(netns):
        process = subprocess.Popen(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    return {"pid": process.pid}


def use(file: str) -> dict[str, Any]:
    """Learn the requests of another file, which may enter namespaces as this one does."""
    DO.update(runpy.run_path(file, {"inside": inside})["DO"])
    return {}


DO: dict[str, Callable[..., dict[str, Any]]] = {
    "run": run,
    "spawn": spawn,
    "listen": listen,
    "connect": connect,
    "use": use,
}


def main() -> None:
    mounts = (["mount", "-t", "tmpfs", "tmpfs", "/run"], ["mount", "-t", "sysfs", "sysfs", "/sys"])
    for argv in (*mounts, ["ip", "link", "set", "lo", "up"]):
        subprocess.run(argv, check=True)
    Path("/run/netns").mkdir()
    for line in sys.stdin:
        request = json.loads(line)
        answer = DO[request.pop("do")](**request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
