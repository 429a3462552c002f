"""Devices that are gone: told by the kernel once nothing that came in by them can be on its way any more.

    a pod's last process ends -> its network namespace ends, some time later, in a worker of the kernel:
        its pair of devices is found by nobody any more -> what waits in the processors' queues is let go
            -> RTM_DELLINK ──filter──> Departures, a netlink socket in the node's namespace

By its name a device cannot be found any more a little earlier than that. Whoever was not told (MessagesLost) has the
kernel try to delete it, which waits until everything about devices that has begun is done.

Sources: rtnetlink(7); netlink(7), ENOBUFS; bpf in socket(7), SO_ATTACH_FILTER, and the kernel's
Documentation/networking/filter.rst; net/core/dev.c, unregister_netdevice_many, for the order above.
"""

import ctypes
import errno
import socket
import struct

from topo.netlink import IFLA_IFNAME, RTM_DELLINK, NetlinkError, interface_index

GROUP = 1  # RTMGRP_LINK
SO_ATTACH_FILTER = 26
LOAD_HALF, LOAD_BYTE, JUMP_EQUAL, RETURN = 0x28, 0x30, 0x15, 0x06
# A node's pods tell of themselves all the time, and only their ends are to cost anything: a message of another type
# or of another family (a bridge says that it has lost a port) is not taken. Code, jumps if and if not, operand.
FILTER = (
    (LOAD_HALF, 0, 0, 4),
    (JUMP_EQUAL, 0, 3, socket.htons(RTM_DELLINK)),
    (LOAD_BYTE, 0, 0, 16),
    (JUMP_EQUAL, 0, 1, socket.AF_UNSPEC),
    (RETURN, 0, 0, 0xFFFFFFFF),
    (RETURN, 0, 0, 0),
)
ATTRIBUTES_AT = 32  # behind nlmsghdr and ifinfomsg


class MessagesLost(Exception):
    """There were more messages than the socket holds."""


class Departures:
    """Those from the network namespace that the calling thread is in when it is made; use it in any."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            socket.NETLINK_ROUTE,
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # as much as is allowed
        program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in FILTER))
        described = struct.pack("HP", len(FILTER), ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
        self._socket.bind((0, GROUP))

    def fileno(self) -> int:
        """For whoever waits until there is something to read."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def read(self) -> list[str]:
        """The names of the devices that have gone since the last time. Raises MessagesLost."""
        names = list[str]()
        while True:
            try:
                names.append(_name(self._socket.recv(1 << 16)))
            except BlockingIOError:
                return names
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise MessagesLost from None
                raise

    def has(self, device: str) -> bool:
        """Whether a device of this name is there."""
        try:
            interface_index(self._socket, device)
        except NetlinkError:
            return False
        return True


def _name(message: bytes) -> str:
    position = ATTRIBUTES_AT
    while position < len(message):
        length, kind = struct.unpack_from("=HH", message, position)
        if kind == IFLA_IFNAME:
            return message[position + 4 : position + length].rstrip(b"\0").decode()
        position += (length + 3) & ~3
    return ""
