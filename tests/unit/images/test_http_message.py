from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.images.http_message import (
    MAX_BODY,
    HTTPError,
    Response,
    body_length,
    encode,
    parse_head,
    take_chunked,
)


def head(*lines: str) -> bytes:
    return "\r\n".join(lines).encode("latin-1")


def test_a_request_is_taken_apart() -> None:
    request = parse_head(head("GET /a%20b?x=1&y=&x=2 HTTP/1.1", "Host: web", "X-A:  v "))
    assert (request.method, request.path, request.query) == ("GET", "/a b", "x=1&y=&x=2")
    assert request.header("x-a") == "v"
    assert request.form() == {"x": "1", "y": ""}
    assert request.keep_alive()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["GET / HTTP/1.1"], 400),
        (["GET / HTTP/1.1", "Host: a", "Host: b"], 400),
        (["GET / HTTP/1.1", "Host: a", " folded"], 400),
        (["GET / HTTP/1.1", "Host : a"], 400),
        (["GET  / HTTP/1.1", "Host: a"], 400),
        (["GET /\tx HTTP/1.1", "Host: a"], 400),
        (["GET / HTTP/2.0", "Host: a"], 505),
        (["GET / FTP/1.1", "Host: a"], 400),
        (["G(T / HTTP/1.1", "Host: a"], 400),
        (["GET / HTTP/1.1", "Host: a", "X: a\x00b"], 400),
        (["GET / HTTP/1.1", "Host: a", *["X: y"] * 300], 431),
    ],
)
def test_bad_heads(lines: list[str], status: int) -> None:
    with pytest.raises(HTTPError) as caught:
        parse_head(head(*lines))
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("headers", "want"),
    [
        ([], 0),
        (["Content-Length: 12"], 12),
        (["Content-Length: 12", "Content-Length: 12"], 12),
        (["Content-Length: 12", "Content-Length: 13"], HTTPError),
        (["Content-Length: +1"], HTTPError),
        ([f"Content-Length: {MAX_BODY + 1}"], HTTPError),
        (["Transfer-Encoding: chunked"], None),
        (["Transfer-Encoding: gzip"], HTTPError),
        (["Transfer-Encoding: chunked", "Content-Length: 1"], HTTPError),
    ],
)
def test_body_length(headers: list[str], want: object) -> None:
    request = parse_head(head("POST / HTTP/1.1", "Host: a", *headers))
    if want is HTTPError:
        with pytest.raises(HTTPError):
            body_length(request)
    else:
        assert body_length(request) == want


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.binary(max_size=20))
def test_chunked_bodies_are_put_together(chunks: list[bytes], after: bytes) -> None:
    data = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\nTrailer: x\r\n\r\n"
    assert take_chunked(data + after, 0) == (b"".join(chunks), len(data))
    for end in range(len(data)):
        assert take_chunked(data[:end], 0) is None


@pytest.mark.parametrize(
    "data", [b"zz\r\n", b"-1\r\n", b"1\r\nabc\r\n", b"\r\n\r\n", b"x" * 300, b"%x\r\n" % (MAX_BODY + 1)]
)
def test_bad_chunks(data: bytes) -> None:
    with pytest.raises(HTTPError):
        take_chunked(data, 0)


def test_encode() -> None:
    data = encode(Response(b"hi", 200, [("X", "y")]), head_only=False, keep_alive=True, server="s")
    lines = data.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert {"Server: s", "X: y", "Content-Length: 2", "Connection: keep-alive"} <= set(lines)
    assert lines[-1] == "hi"
    assert encode(Response(b"hi"), head_only=True, keep_alive=False).endswith(b"Connection: close\r\n\r\n")
