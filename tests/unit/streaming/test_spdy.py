import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.streaming.spdy import (
    DATA,
    DICTIONARY,
    FRAME_LIMIT,
    GOAWAY,
    HEADER_LIMIT,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    SYN_REPLY,
    SYN_STREAM,
    Decoder,
    Encoder,
    Frame,
    ProtocolError,
)

names = st.text("abcdefghijklmnopqrstuvwxyz-:", min_size=1, max_size=20)
headers = st.dictionaries(names, st.text(max_size=40), max_size=5)
streams = st.integers(1, 2**31 - 1)
frames = st.one_of(
    st.builds(Frame, st.just(DATA), streams, st.booleans(), data=st.binary(max_size=300)),
    st.builds(
        Frame, st.sampled_from([SYN_STREAM, SYN_REPLY, HEADERS]), streams, st.booleans(), headers=headers
    ),
    st.builds(Frame, st.sampled_from([RST_STREAM, GOAWAY]), streams, number=st.integers(0, 2**32 - 1)),
    st.builds(Frame, st.just(PING), st.just(0), number=st.integers(0, 2**32 - 1)),
)


def test_the_dictionary_is_the_one_of_the_specification() -> None:
    # Every zlib stream of SPDY/3 begins with the dictionary's Adler-32: 78 bb e3 c6 a7 c2 in any capture.
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


@given(st.lists(frames, max_size=8), st.integers(1, 50))
def test_frames_survive_the_way_in_pieces_of_any_size(sent: list[Frame], size: int) -> None:
    encoder, decoder = Encoder(), Decoder()
    wire = b"".join(encoder.encode(frame) for frame in sent)
    got = [frame for at in range(0, len(wire), size) for frame in decoder.feed(wire[at : at + size])]
    assert got == sent


@given(st.binary(max_size=200))
def test_garbage_is_frames_or_refused_and_nothing_else(garbage: bytes) -> None:
    decoder = Decoder()
    try:
        list(decoder.feed(garbage))
    except ProtocolError:
        return


def test_bytes_of_known_frames() -> None:
    assert Encoder().encode(Frame(DATA, 5, True, data=b"abc")).hex() == "00000005" + "01000003" + b"abc".hex()
    assert Encoder().encode(Frame(PING, 0, number=7)).hex() == "80030006" + "00000004" + "00000007"
    assert (
        Encoder().encode(Frame(RST_STREAM, 3, number=5)).hex()
        == "80030003" + "00000008" + "00000003" + "00000005"
    )


def test_a_syn_stream_as_kubectl_writes_it() -> None:
    block = struct.pack(">I", 2) + b"".join(
        struct.pack(">I", len(text)) + text for text in (b"port", b"80", b"streamtype", b"data")
    )
    deflate = zlib.compressobj(zdict=DICTIONARY)
    packed = deflate.compress(block) + deflate.flush(zlib.Z_SYNC_FLUSH)
    wire = struct.pack(">HHI", 0x8003, SYN_STREAM, len(packed) + 10) + struct.pack(">IIH", 1, 0, 0) + packed
    assert list(Decoder().feed(wire)) == [Frame(SYN_STREAM, 1, headers={"port": "80", "streamtype": "data"})]


def test_frames_without_meaning_here_are_left_out() -> None:
    settings = struct.pack(">HHI", 0x8003, SETTINGS, 4) + b"\0\0\0\0"
    ping = Frame(PING, 0, number=1)
    assert list(Decoder().feed(settings + Encoder().encode(ping))) == [ping]


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (struct.pack(">II", 1, FRAME_LIMIT + 1), "a frame of"),
        (struct.pack(">HHI", 0x8002, PING, 4) + b"\0\0\0\1", "not SPDY/3"),
        (struct.pack(">HHI", 0x8003, PING, 0), "control frame"),
        (struct.pack(">HHI", 0x8003, RST_STREAM, 2) + b"ab", "control frame"),
        (struct.pack(">HHI", 0x8003, SYN_STREAM, 14) + b"\0" * 10 + b"junk", "control frame"),
    ],
    ids=["huge", "version", "short ping", "short reset", "no zlib"],
)
def test_what_is_no_spdy_is_refused(wire: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        list(Decoder().feed(wire))


def _syn(block: bytes) -> bytes:
    deflate = zlib.compressobj(zdict=DICTIONARY)
    packed = deflate.compress(block) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return struct.pack(">HHI", 0x8003, SYN_STREAM, len(packed) + 10) + struct.pack(">IIH", 1, 0, 0) + packed


@pytest.mark.parametrize(
    "block",
    [
        b"\0" * (HEADER_LIMIT + 1000),
        struct.pack(">II", 1, 1000) + b"short",
        struct.pack(">I", 3),
        struct.pack(">II", 1, 1) + b"\xff" + struct.pack(">I", 0),
    ],
    ids=["a bomb", "a length behind the end", "fewer headers than told", "not UTF-8"],
)
def test_bad_header_blocks_are_refused(block: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(Decoder().feed(_syn(block)))
