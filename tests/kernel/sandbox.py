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

The kernel here may have no SCTP sockets. So of an SCTP association there are the first two packets, by raw sockets:
the client sends an INIT chunk, the listener's INIT ACK brings the answer. Conntrack follows and NAT rewrites them
as any others. RFC 9260, sections 3.3.2, 3.3.3 and 5.1.
"""

import contextlib
import ctypes
import errno
import json
import os
import runpy
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
SCTP = 132
INIT, INIT_ACK = 1, 2  # types of SCTP chunks
KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
SOURCE_PORTS = count(33000)  # of SCTP clients, each another flow
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
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if protocol == "SCTP":
        return socket.socket(family, socket.SOCK_RAW, SCTP)
    return socket.socket(family, KINDS[protocol])


def listen(netns: str, name: str, address: str, port: int, protocol: str) -> dict[str, Any]:
    with inside(netns):
        server = new_socket(address, protocol)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, 0 if protocol == "SCTP" else port))
    ways: dict[str, Callable[[socket.socket, str], None]] = {
        "TCP": serve_connections,
        "UDP": serve_datagrams,
        "SCTP": partial(serve_chunks, port),
    }
    if protocol == "TCP":
        server.listen()
    threading.Thread(target=ways[protocol], args=(server, name), daemon=True).start()
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


def serve_chunks(port: int, server: socket.socket, name: str) -> None:
    while True:
        data, client = server.recvfrom(1000)
        kind, source_port, its_port, tag, _ = read_sctp(server, data)
        if (kind, its_port) == (INIT, port):
            answer = sctp_packet(port, source_port, INIT_ACK, 1, tag, f"{name} {client[0]}".encode())
            server.sendto(answer, (client[0], 0))


def sctp_packet(
    source_port: int, port: int, kind: int, tag: int, peer_tag: int = 0, said: bytes = b""
) -> bytes:
    """An SCTP packet with an INIT or INIT ACK chunk. `tag` is the sender's initiate tag, `peer_tag` the receiver's;
    `said` comes as the chunk's only parameter, of a type that receivers skip.
    """
    parameter = struct.pack("!HH", 0x8123, 4 + len(said)) + said + bytes(-len(said) % 4) if said else b""
    chunk = struct.pack("!BBHIIHHI", kind, 0, 20 + len(parameter), tag, 65536, 1, 1, 1) + parameter
    head = struct.pack("!HHI", source_port, port, peer_tag)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk


def read_sctp(raw: socket.socket, data: bytes) -> tuple[int, int, int, int, bytes]:
    """What a raw socket received: the chunk's type, the ports, the initiate tag, and what was said."""
    packet = data[(data[0] & 0xF) * 4 :] if raw.family == socket.AF_INET else data
    source_port, port = struct.unpack_from("!HH", packet)
    kind, tag = packet[12], struct.unpack_from("!I", packet, 16)[0]
    length = struct.unpack_from("!H", packet, 34)[0] if len(packet) > 36 else 4
    return kind, source_port, port, tag, packet[36 : 32 + length]


def crc32c(data: bytes) -> int:
    """RFC 9260, appendix A."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def crc_row(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


CRC_TABLE = [crc_row(value) for value in range(256)]


def ask_by_chunk(client: socket.socket, source_port: int, address: str, port: int) -> str:
    """Send an INIT, and give back what the INIT ACK says. `client` gets SCTP packets of the address only."""
    client.connect((address, 0))
    client.send(sctp_packet(source_port, port, INIT, 1))
    while True:
        kind, its_port, own_port, _, said = read_sctp(client, client.recv(1000))
        if (kind, its_port, own_port) == (INIT_ACK, port, source_port):
            return said.decode()


def connect(
    netns: str, address: str, port: int, protocol: str, wait: float, source_port: int = 0
) -> dict[str, Any]:
    with inside(netns):
        client = new_socket(address, protocol)
    with client:
        client.settimeout(wait)
        try:
            if protocol == "SCTP":
                return {"reply": ask_by_chunk(client, source_port or next(SOURCE_PORTS), address, port)}
            client.bind(("", source_port))
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
    DO.update(runpy.run_path(file, {"inside": inside, "sctp_packet": sctp_packet})["DO"])
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
