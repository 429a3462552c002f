"""Hundreds of packets between pods at once: more requests for sandbox.py, which runs this file.

    {"do": "serve", "pods": {name: addresses}, "ports"}      -> {}; from now on each pod takes what comes
    {"do": "probe", "probes": [[sender, receiver, destination, protocol, port, wanted]…], "deadline"}
                                                             -> {"arrived": [bool…]}
    {"do": "forget", "netns"}                                -> {}; no connection is known there any more

TCP has arrived when the connection is made, UDP when its answer is back; here are no SCTP sockets, so of SCTP
an INIT chunk is sent, and has arrived when a raw socket of the receiver sees it.

What is not to arrive is sent first. The last probe must be one that always arrives: once it has, together with
all others that shall, those that were dropped would have come before them.
"""

import contextlib
import errno
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

# Given by sandbox.py.
inside: Callable[[str], AbstractContextManager[None]] = globals()["inside"]
sctp_packet: Callable[..., bytes] = globals()["sctp_packet"]

SCTP = 132
NETLINK_NETFILTER = 12
FLUSH = struct.pack(
    "=IHHIIBBH", 20, 0x0102, 5, 1, 0, 0, 0, 0
)  # IPCTNL_MSG_CT_DELETE, request and acknowledge
POLL = 0.001  # seconds

listeners: list[tuple[str, socket.socket]] = []  # TCP
datagrams: list[tuple[str, socket.socket]] = []
raw: list[tuple[str, socket.socket]] = []
senders: dict[tuple[str, int], socket.socket] = {}  # of SCTP


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def opened(family: int, kind: int, protocol: int = 0) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    return made


def serve(pods: dict[str, list[str]], ports: list[int]) -> dict[str, Any]:
    for name, addresses in pods.items():
        with inside(name):
            for address in addresses:
                family = family_of(address)
                raw.append((name, opened(family, socket.SOCK_RAW, SCTP)))
                senders[name, family] = opened(family, socket.SOCK_RAW, SCTP)
                for port in ports:
                    listener = opened(family, socket.SOCK_STREAM)
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    listener.bind((address, port))
                    listener.listen(1000)
                    listeners.append((name, listener))
                    receiver = opened(family, socket.SOCK_DGRAM)
                    receiver.bind((address, port))
                    datagrams.append((name, receiver))
    return {}


def probe(probes: list[list[Any]], deadline: float) -> dict[str, Any]:
    for _ in drained():  # what is left of the time before
        pass
    order = sorted(range(len(probes)), key=lambda number: (probes[number][5], number))
    clients: dict[int, socket.socket] = {}
    arrived: set[int] = set()
    wanted = {number for number in order if probes[number][5]}
    with contextlib.ExitStack() as stack:
        for number in order:
            sender, _, destination, protocol, port, _ = probes[number]
            if protocol == "SCTP":
                init = sctp_packet(
                    20000 + number, port, 1, number + 1
                )  # the initiate tag says which probe it is
                senders[sender, family_of(destination)].sendto(init, (destination, 0))
                continue
            kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
            with inside(sender):
                client = stack.enter_context(opened(family_of(destination), kind))
            with contextlib.suppress(BlockingIOError):
                client.connect((destination, port))
            if protocol == "UDP":
                client.send(b"?")
            clients[number] = client
        end = time.monotonic() + deadline
        while True:
            arrived |= {number for receiver, number in drained() if probes[number][1] == receiver}
            arrived |= {number for number, client in clients.items() if answered(client)}
            for number in arrived & clients.keys():
                del clients[number]
            if wanted <= arrived or time.monotonic() > end:
                return {"arrived": [number in arrived for number in range(len(probes))]}
            time.sleep(POLL)


def drained() -> Iterator[tuple[str, int]]:
    """Accept and answer whatever has come; yields (receiver, number of the probe) of each INIT chunk."""
    for _, listener in listeners:
        with contextlib.suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()
    for _, receiver in datagrams:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, client = receiver.recvfrom(100)
                receiver.sendto(data, client)
    for name, receiver in raw:
        with contextlib.suppress(BlockingIOError):
            while True:
                data = receiver.recv(200)
                header = (data[0] & 0xF) * 4 if receiver.family == socket.AF_INET else 0
                yield name, int(struct.unpack_from("!I", data, header + 16)[0]) - 1


def answered(client: socket.socket) -> bool:
    """Whether a connection is made, or a datagram has come back."""
    poll = select.poll()
    if client.type == socket.SOCK_STREAM:
        poll.register(client, select.POLLOUT)
        events = poll.poll(0)
        return bool(events) and not client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    try:
        return bool(client.recv(10))
    except OSError as error:
        if error.errno != errno.EAGAIN:
            raise
        return False


def forget(netns: str) -> dict[str, Any]:
    with inside(netns), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.send(FLUSH)
        code = struct.unpack_from("=i", netlink.recv(1000), 16)[0]
    return {"error": code} if code else {}


DO = {"serve": serve, "probe": probe, "forget": forget}
