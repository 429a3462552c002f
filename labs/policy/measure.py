"""Packets sent from where they are asked for, and devices at which they are seen, or not.

    socket in the sender's network ──packet──> … ──> eth0 of a pod: a packet socket sees it arrive

Nobody needs to listen at the port: what counts is that the packet reaches the device, which is behind every policy.
An address where nobody can look (outside the lab's machines) is asked for an answer instead.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from labs.lab import Lab
from topo.capture import Capture

SCTP = 132
NUMBERS = {6: "TCP", 17: "UDP", SCTP: "SCTP"}
FIRST_SCTP_PORT, SCTP_PORTS = 40000, 20000
POLL = 0.005  # seconds
Seen = tuple[str, str, int, int]  # protocol, destination, its port, the sender's port


@dataclass
class Shot:
    """One packet: who sends, where to; `local_port` once it is sent, `answered` when the other side said something."""

    machine: str
    address: str
    protocol: str
    port: int
    local_port: int = 0
    answered: bool = False
    sock: socket.socket | None = field(default=None, repr=False)


def fire(lab: Lab, shots: Iterable[Shot], stack: ExitStack) -> None:
    """Send each packet, from a socket of its own."""
    for number, shot in enumerate(shots):
        family = socket.AF_INET6 if ":" in shot.address else socket.AF_INET
        if shot.protocol == "SCTP":
            sock = stack.enter_context(lab.socket(shot.machine, family, socket.SOCK_RAW, SCTP))
            shot.local_port = FIRST_SCTP_PORT + (time.monotonic_ns() + number) % SCTP_PORTS
            with suppress(OSError):
                sock.sendto(_init_chunk(shot.local_port, shot.port), (shot.address, 0))
            continue
        kind = socket.SOCK_STREAM if shot.protocol == "TCP" else socket.SOCK_DGRAM
        shot.sock = stack.enter_context(lab.socket(shot.machine, family, kind))
        shot.sock.setblocking(False)
        try:
            shot.sock.connect((shot.address, shot.port))
        except BlockingIOError:
            pass
        except OSError:  # there is no way there at all
            shot.sock = None
            continue
        if shot.protocol == "UDP":
            with suppress(OSError):
                shot.sock.send(b"minipod policy")
        shot.local_port = int(shot.sock.getsockname()[1])


def listen(shots: Iterable[Shot]) -> None:
    """Note which packets were answered: by a connection, data, or a refusal, which is an answer too."""
    for shot in shots:
        if shot.sock is None or shot.answered:
            continue
        poll = select.poll()
        poll.register(shot.sock, select.POLLOUT if shot.protocol == "TCP" else select.POLLIN)
        if poll.poll(0):
            error = shot.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            shot.answered = error in (0, 111)  # connected, or refused by the other side


def seen(capture: Capture) -> set[Seen]:
    """The packets of the three protocols that a device has taken in."""
    from scapy.layers import inet, inet6  # noqa: F401 - before frames are read, or their insides stay bytes

    return {packet for packet in map(_read, capture.packets()) if packet is not None}


def wait_for(
    captures: dict[str, Capture], shots: Sequence[Shot], want: int, seconds: float
) -> dict[str, set[Seen]]:
    """What arrives at each device: until `want` of the packets have arrived or been answered, or time is over."""
    end = time.monotonic() + seconds
    while True:
        listen(shots)
        arrived = {name: seen(capture) for name, capture in captures.items()}
        keys = {(s[0], s[3]) for packets in arrived.values() for s in packets}
        done = sum((shot.protocol, shot.local_port) in keys or shot.answered for shot in shots)
        if done >= want or time.monotonic() > end:
            return arrived
        time.sleep(POLL)


def _read(packet: Any) -> Seen | None:
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    layer = packet.getlayer(IP) or packet.getlayer(IPv6)
    if layer is None:
        return None
    number = layer.proto if layer.version == 4 else layer.nh
    if number not in NUMBERS:
        return None
    payload = bytes(layer.payload)
    ports = int.from_bytes(payload[2:4], "big"), int.from_bytes(payload[:2], "big")
    return NUMBERS[number], str(layer.dst), *ports


def _init_chunk(local_port: int, port: int) -> bytes:
    from scapy.layers import sctp

    return bytes(sctp.SCTP(sport=local_port, dport=port) / sctp.SCTPChunkInit(init_tag=1, a_rwnd=65536))
