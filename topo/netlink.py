"""`ip -batch` text, compiled to netlink messages and sent in process.

Network functions speak in the text that a student can paste into `ip -batch -`. Starting `ip` for it costs 5 ms and
grows with the number of named namespaces; the same text sent over one netlink socket costs what the kernel needs,
about half a millisecond for a pod's veth pair. So `Rtnetlink.batch` understands the lines that are written for every
pod, and `compile_batch` returns None for text with any other line, which then goes to the real `ip`.

    link add [dev] NAME [mtu N] [numtxqueues N] [numrxqueues N] [address MAC] [master DEV] [up]
        type veth peer name NAME [mtu N] [numtxqueues N] [numrxqueues N] [address MAC] netns PID
    link set [dev] NAME [mtu N] [master DEV] [alias TEXT] [addrgenmode none] [up | down]
                        [type bridge_slave hairpin on|off]
    link del [dev] NAME
    addr add ADDRESS/LENGTH dev NAME [nodad]
    route add PREFIX|default [via GATEWAY] dev NAME [onlink]

Sources: rtnetlink(7), netlink(7), ip-link(8), ip-address(8), ip-route(8); linux/if_link.h, linux/rtnetlink.h.
"""

import errno
import fcntl
import os
import shlex
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_interface, ip_network

NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
NLMSG_ERROR = 2
RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_NEWROUTE = 16, 17, 20, 24
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_PID = 1, 3, 4, 10, 18, 19
IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 20, 26, 31, 32
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_BRPORT_MODE, IFLA_INET6_ADDR_GEN_MODE, VETH_INFO_PEER = 4, 8, 1
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
IFF_UP, IFA_F_NODAD, IN6_ADDR_GEN_MODE_NONE, RTNH_F_ONLINK = 0x1, 0x2, 1, 4
RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RTN_UNICAST = 254, 3, 0, 253, 1
_QUEUES = {"numtxqueues": IFLA_NUM_TX_QUEUES, "numrxqueues": IFLA_NUM_RX_QUEUES}
_SET, _UP_DOWN = {"mtu", "master", "alias", "addrgenmode"}, {"up", "down"}
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_IndexOf = Callable[[str], int]  # the number of a device


class NetlinkError(OSError):
    """The kernel refused a line of a batch; `str` tells the line and the reason."""


@dataclass(frozen=True)
class Request:
    """One netlink message before it has a sequence number. Device numbers are looked up when it is sent.

    device: the one that it is about, where the kernel looks for it by name.
    """

    line: str
    kind: int
    flags: int
    build: Callable[[_IndexOf], bytes]
    device: str = ""


def attribute(kind: int, payload: bytes) -> bytes:
    """A netlink attribute: length, type, payload, padded to four bytes."""
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + b"\0" * (-length % 4)


def _u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def _name(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


class _Unsupported(Exception):
    """A line that is left to the real `ip`."""


def compile_batch(text: str) -> list[Request] | None:
    """The messages that `text` stands for, or None when a line is not in the subset at this file's head."""
    try:
        return [_compile_line(line) for line in _lines(text)]
    except (_Unsupported, ValueError, LookupError):
        return None


def _lines(text: str) -> Iterator[str]:
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        if line:
            yield line


@lru_cache(maxsize=1024)  # most lines of a pod are the same for all pods of a node
def _compile_line(line: str) -> Request:
    # shlex takes ten times as long, and only a line with quotes needs it.
    quoted = "'" in line or '"' in line or "\\" in line
    words = shlex.split(line) if quoted else line.split()
    compiler = _COMPILERS.get(tuple(words[:2]))
    if compiler is None:
        raise _Unsupported(line)
    arguments = words[2:]
    if words[0] == "link" and arguments[:1] == ["dev"]:
        arguments = arguments[1:]
    return compiler(line, arguments)


@dataclass
class _Options:
    """The words after a device's name or an address: `key value` pairs and single flags."""

    values: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, words: Sequence[str], *, keys: set[str], flags: set[str]) -> "_Options":
        options, rest = cls(), list(words)
        while rest:
            word = rest.pop(0)
            if word in flags:
                options.flags.add(word)
            elif word in keys and rest:
                options.values[word] = rest.pop(0)
            else:
                raise _Unsupported(word)
        return options


def _link_attributes(options: _Options) -> bytes:
    attributes = b""
    if "alias" in options.values:
        attributes += attribute(IFLA_IFALIAS, options.values["alias"].encode())
    if "mtu" in options.values:
        attributes += _u32(IFLA_MTU, int(options.values["mtu"]))
    for word, kind in _QUEUES.items():
        if word in options.values:
            attributes += _u32(kind, int(options.values[word]))
    if "address" in options.values:
        attributes += attribute(IFLA_ADDRESS, _mac(options.values["address"]))
    if "netns" in options.values:
        attributes += _u32(IFLA_NET_NS_PID, int(options.values["netns"]))
    return attributes


def _ifinfo(index: int, flags: int, change: int) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def _link_add(line: str, words: list[str]) -> Request:
    name = _name(IFLA_IFNAME, words[0])
    header, attributes, master = _pair(tuple(words[1:]))

    def build(index_of: _IndexOf) -> bytes:
        message = header + name + attributes
        return message + _u32(IFLA_MASTER, index_of(master)) if master else message

    return Request(line, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, build)


@lru_cache(maxsize=64)  # by name alone differ those of a node
def _pair(words: tuple[str, ...]) -> tuple[bytes, bytes, str]:
    """What comes behind a veth device's name: header and attributes of the message, and the name of its master."""
    kind_at = words.index("type")
    if words[kind_at + 1 : kind_at + 4] != ("veth", "peer", "name"):
        raise _Unsupported(" ".join(words))
    either = {"mtu", "address", *_QUEUES}
    link = _Options.read(words[:kind_at], keys=either | {"master"}, flags={"up"})
    peer = _Options.read(words[kind_at + 5 :], keys=either | {"netns"}, flags=set())
    peer_info = _ifinfo(0, 0, 0) + _name(IFLA_IFNAME, words[kind_at + 4]) + _link_attributes(peer)
    data = attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer_info))
    info = attribute(IFLA_LINKINFO, _name(IFLA_INFO_KIND, "veth") + data)
    up = IFF_UP if "up" in link.flags else 0
    return _ifinfo(0, up, up), _link_attributes(link) + info, link.values.get("master", "")


def _link_set(line: str, words: list[str]) -> Request:
    kind_at = words.index("type") if "type" in words else len(words)
    options = _Options.read(words[1:kind_at], keys=_SET, flags=_UP_DOWN)
    attributes = (
        _name(IFLA_IFNAME, words[0]) + _link_attributes(options) + _bridge_port(tuple(words[kind_at:]))
    )
    if "addrgenmode" in options.values:
        if options.values["addrgenmode"] != "none":
            raise _Unsupported(line)
        mode = attribute(IFLA_INET6_ADDR_GEN_MODE, struct.pack("=B", IN6_ADDR_GEN_MODE_NONE))
        attributes += attribute(IFLA_AF_SPEC, attribute(socket.AF_INET6, mode))
    up = IFF_UP if "up" in options.flags else 0
    change = IFF_UP if options.flags else 0

    def build(index_of: _IndexOf) -> bytes:
        message = _ifinfo(0, up, change) + attributes
        if "master" in options.values:
            message += _u32(IFLA_MASTER, index_of(options.values["master"]))
        return message

    return Request(line, RTM_NEWLINK, 0, build, words[0])


@lru_cache(maxsize=16)
def _bridge_port(words: tuple[str, ...]) -> bytes:
    """The attributes of `type bridge_slave hairpin on|off`; none for no words."""
    if not words:
        return b""
    if words[:3] != ("type", "bridge_slave", "hairpin") or words[3:] not in (("on",), ("off",)):
        raise _Unsupported(" ".join(words))
    mode = attribute(IFLA_BRPORT_MODE, struct.pack("=B", words[3] == "on"))
    info = _name(IFLA_INFO_SLAVE_KIND, "bridge") + attribute(IFLA_INFO_SLAVE_DATA, mode)
    return attribute(IFLA_LINKINFO, info)


def _link_del(line: str, words: list[str]) -> Request:
    if len(words) != 1:
        raise _Unsupported(line)
    message = _ifinfo(0, 0, 0) + _name(IFLA_IFNAME, words[0])
    return Request(line, RTM_DELLINK, 0, lambda _: message, words[0])


def _addr_add(line: str, words: list[str]) -> Request:
    family, packed, length = _interface(words[0])
    device, flags = _place(tuple(words[1:]))
    attributes = attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed) + flags

    def build(index_of: _IndexOf) -> bytes:
        return struct.pack("=BBBBI", family, length, 0, RT_SCOPE_UNIVERSE, index_of(device)) + attributes

    return Request(line, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, build)


@lru_cache(maxsize=64)
def _place(words: tuple[str, ...]) -> tuple[str, bytes]:
    """What comes behind an address: its device, and its flags as an attribute."""
    options = _Options.read(words, keys={"dev"}, flags={"nodad"})
    return options.values["dev"], _u32(IFA_FLAGS, IFA_F_NODAD if "nodad" in options.flags else 0)


def _interface(text: str) -> tuple[int, bytes, int]:
    """Family, address and prefix length of ADDRESS[/LENGTH], without the objects that ipaddress makes for them."""
    address, slash, length = text.partition("/")
    family, most = (socket.AF_INET6, 128) if ":" in address else (socket.AF_INET, 32)
    try:
        packed = socket.inet_pton(family, address)
    except OSError:
        raise _Unsupported(text) from None
    bits = int(length) if slash else most
    if not 0 <= bits <= most:
        raise _Unsupported(text)
    return family, packed, bits


def _route_add(line: str, words: list[str]) -> Request:
    options = _Options.read(words[1:], keys={"via", "dev"}, flags={"onlink"})
    device = options.values["dev"]
    via = ip_interface(options.values["via"]).ip if "via" in options.values else None
    version = via.version if via else 4
    prefix = (
        ip_network("0.0.0.0/0" if version == 4 else "::/0") if words[0] == "default" else ip_network(words[0])
    )
    family = socket.AF_INET if prefix.version == 4 else socket.AF_INET6
    scope = RT_SCOPE_LINK if via is None and prefix.version == 4 else RT_SCOPE_UNIVERSE
    flags = RTNH_F_ONLINK if "onlink" in options.flags else 0
    header = struct.pack(
        "=BBBBBBBBI", family, prefix.prefixlen, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, flags
    )
    attributes = attribute(RTA_DST, prefix.network_address.packed) if prefix.prefixlen else b""
    attributes += attribute(RTA_GATEWAY, via.packed) if via else b""

    def build(index_of: _IndexOf) -> bytes:
        return header + attributes + _u32(RTA_OIF, index_of(device))

    return Request(line, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, build)


_COMPILERS: dict[tuple[str, ...], Callable[[str, list[str]], Request]] = {
    ("link", "add"): _link_add,
    ("link", "set"): _link_set,
    ("link", "del"): _link_del,
    ("addr", "add"): _addr_add,
    ("route", "add"): _route_add,
}


class Rtnetlink:
    """A route netlink socket of the network namespace that the calling thread is in when it is made."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._indexes: dict[str, int] = {}
        self._sequence = 0
        self._batch: list[Request] = []
        self._messages: list[bytes] = []

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, requests: Sequence[Request]) -> None:
        """Send requests, together as far as that goes, and wait until they are done.

        Raises NetlinkError of the first that is refused; those that were sent with it have been tried all the same.
        """
        try:
            for request in requests:
                body = request.build(self._index)
                self._batch.append(request)
                self._messages.append(body)
            self._flush()
        finally:
            self._batch.clear()
            self._messages.clear()

    def _flush(self) -> None:
        """Send what has been gathered as one; only the last message asks to be acknowledged."""
        parts: list[bytes] = []
        for request, body in zip(self._batch, self._messages, strict=True):
            self._sequence += 1
            flags = NLM_F_REQUEST | request.flags | (NLM_F_ACK if request is self._batch[-1] else 0)
            parts += (_HEADER.pack(16 + len(body), request.kind, flags, self._sequence, 0), body)
        if parts:
            self._socket.send(b"".join(parts))
            self._acknowledge()
        self._batch.clear()
        self._messages.clear()

    def _acknowledge(self) -> None:
        """Read until the last message of the batch is answered. A refusal is told also for one that did not ask."""
        refused: NetlinkError | None = None
        while True:
            answer = self._socket.recv(65536)
            _, kind, _, sequence, _ = _HEADER.unpack_from(answer)
            if kind != NLMSG_ERROR:
                continue
            number = -struct.unpack_from("=i", answer, _HEADER.size)[0]
            place = sequence - self._sequence - 1
            if number and refused is None and -len(self._batch) <= place < 0:
                refused = _refusal(self._batch[place], number)
            if sequence == self._sequence:
                break
        if refused is not None:
            raise refused

    def _index(self, device: str) -> int:
        """The number of a device; bridges and lo are remembered, pods' devices come and go."""
        if device in self._indexes:
            return self._indexes[device]
        if any(request.kind == RTM_DELLINK or request.flags & NLM_F_CREATE for request in self._batch):
            self._flush()  # it may be one of those that are about to come or go
        index = interface_index(self._socket, device)
        if device in ("lo", "cni0", "eth0"):
            self._indexes[device] = index
        return index


def _refusal(request: Request, number: int) -> NetlinkError:
    if number == errno.ENODEV and request.device:
        return NetlinkError(number, f"ip {request.line}: Cannot find device {request.device}")
    return NetlinkError(number, f"ip {request.line}: {os.strerror(number)}")


def interface_index(any_socket: socket.socket, device: str) -> int:
    """The number of a device in the namespace that a socket belongs to. Raises NetlinkError."""
    try:
        answer = fcntl.ioctl(any_socket, 0x8933, struct.pack("16s24x", device.encode()))  # SIOCGIFINDEX
    except OSError as error:
        raise NetlinkError(error.errno, f"ip: Cannot find device {device}") from None
    return int(struct.unpack_from("=i", answer, 16)[0])
