"""`ip -batch` lines become the bytes that rtnetlink(7) lays down; anything else is left to the real `ip`."""

import struct

import pytest

from topo.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_DELLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    Request,
    compile_batch,
)

INDEXES = {"eth0": 7, "cni0": 3}
NEW = NLM_F_CREATE | NLM_F_EXCL


def only(text: str) -> Request:
    requests = compile_batch(text)
    assert requests is not None
    (request,) = requests
    return request


def bytes_of(text: str) -> str:
    return only(text).build(INDEXES.__getitem__).hex(" ", 4)


def test_an_address_is_an_ifaddrmsg_with_local_address_and_flags() -> None:
    #             family 2, /24, device 7   IFA_LOCAL        IFA_ADDRESS       IFA_FLAGS: nodad
    assert bytes_of("addr add 10.244.1.2/24 dev eth0 nodad") == (
        "02180000 07000000 08000200 0af40102 08000100 0af40102 08000800 02000000"
    )
    assert (only("addr add 10.0.0.1/8 dev eth0").kind, only("addr add 10.0.0.1/8 dev eth0").flags) == (
        RTM_NEWADDR,
        NEW,
    )


def test_an_ipv6_address_keeps_its_sixteen_bytes() -> None:
    address = "fd002440 00000000 00000000 00000002"
    expected = f"0a400000 07000000 14000200 {address} 14000100 {address} 08000800 02000000"
    assert bytes_of("addr add fd00:2440::2/64 dev eth0 nodad") == expected


def test_a_default_route_has_a_gateway_and_no_destination() -> None:
    #            family 2, table main 254, boot 3, universe 0, unicast 1; flags; RTA_GATEWAY; RTA_OIF
    assert bytes_of("route add default via 10.244.1.1 dev eth0") == (
        "02000000 fe030001 00000000 08000500 0af40101 08000400 07000000"
    )
    assert only("route add default via 10.0.0.1 dev eth0").kind == RTM_NEWROUTE


def test_a_route_over_a_link_has_scope_link_and_one_marked_onlink_says_so() -> None:
    assert (
        bytes_of("route add 10.96.0.0/16 dev cni0")
        == "02100000 fe03fd01 00000000 08000100 0a600000 08000400 03000000"
    )
    onlink = only("route add 10.244.2.0/24 via 10.244.2.0 dev eth0 onlink").build(INDEXES.__getitem__)
    assert struct.unpack_from("=I", onlink, 8) == (4,)


def test_a_veth_pair_names_both_ends_and_the_namespace_of_the_peer() -> None:
    request = only("link add v1 mtu 1450 master cni0 up type veth peer name eth0 mtu 1450 netns 42")
    message = request.build(INDEXES.__getitem__)
    assert (request.kind, request.flags) == (RTM_NEWLINK, NEW)
    assert struct.unpack_from("=BxHiII", message) == (0, 0, 0, 1, 1), "up, and only that is changed"
    attributes = parsed(message[16:])
    assert attributes[3] == b"v1\0"
    assert struct.unpack("=I", attributes[4]) == (1450,)
    assert struct.unpack("=I", attributes[10]) == (INDEXES["cni0"],)
    info = parsed(attributes[18])
    assert info[1] == b"veth\0"
    peer = parsed(parsed(info[2])[1][16:])
    assert (peer[3], struct.unpack("=I", peer[19])) == (b"eth0\0", (42,))


def test_setting_and_deleting_a_link_name_it_so_that_nothing_has_to_be_asked_first() -> None:
    name = "09000300 65746830 00000000"  # IFLA_IFNAME eth0
    for line, change in (("link set dev eth0 up", (1, 1)), ("link set eth0 down", (0, 1))):
        raw = only(line).build(INDEXES.__getitem__)
        assert (struct.unpack("=BxHiII", raw[:16]), raw[16:].hex(" ", 4)) == ((0, 0, 0, *change), name)
    deletion = only("link del eth0")
    assert (deletion.kind, deletion.flags) == (RTM_DELLINK, 0)
    assert deletion.build(INDEXES.__getitem__)[16:].hex(" ", 4) == name
    hairpin = parsed(only("link set eth0 type bridge_slave hairpin on").build(INDEXES.__getitem__)[16:])
    assert parsed(parsed(hairpin[18])[5]) == {4: b"\x01"}


def parsed(raw: bytes) -> dict[int, bytes]:
    """The attributes of a netlink message, by number, without their padding."""
    found, at = {}, 0
    while at < len(raw):
        length, kind = struct.unpack_from("=HH", raw, at)
        found[kind] = raw[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def test_comments_and_empty_lines_are_nothing() -> None:
    assert compile_batch("# a line of talk\n\n   \n") == []
    assert len(compile_batch("link set lo up # the loopback\nlink set eth0 up\n") or ()) == 2


@pytest.mark.parametrize(
    "line",
    [
        "link add b0 type bridge",
        "link add v0 type vxlan id 1",
        "link set eth0 netns 5",
        "link set eth0 addrgenmode eui64",
        "link set eth0 type bridge_slave learning off",
        "link del eth0 type veth",
        "addr add 10.0.0.1/24 dev eth0 brd +",
        "addr del 10.0.0.1/24 dev eth0",
        "route add 10.0.0.0/8 via 10.1.1.1 dev eth0 metric 5",
        "route add blackhole 10.0.0.0/8",
        "neigh add 10.0.0.1 lladdr 02:00:00:00:00:01 dev eth0",
        "addr add not-an-address dev eth0",
        "addr add 10.0.0.1/24 dev",
        "addr add 10.0.0.1/24",
        "addr add",
        "link set",
        "route add default",
        "nonsense",
    ],
)
def test_a_line_that_is_not_known_leaves_the_whole_text_to_ip(line: str) -> None:
    assert compile_batch(f"link set lo up\n{line}\n") is None
