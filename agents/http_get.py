"""One HTTP GET, as a kubelet makes it: a request, the head of the answer, redirects within the host.

Sources: RFC 9112 (HTTP/1.1); the kubelet's pkg/probe/http.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urljoin, urlsplit

from agents.dial import streams
from topo.enter import Namespaces

USER_AGENT = "kube-probe/1.37"
MAX_REDIRECTS = 10
_FIELDS = {"User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}


class HttpGetError(Exception):
    """There was no answer; the message is the one of Go's HTTP client."""


async def http_get(node: Namespaces, url: str, headers: Mapping[str, str]) -> int:
    """The status of the answer; of the redirect, when that leads to another host. A certificate is not looked at.

    `url` has a host that is an address, and a port. Raises HttpGetError.
    """
    home = urlsplit(url).hostname
    for _ in range(MAX_REDIRECTS):
        try:
            status, location = await _get(node, url, headers)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise HttpGetError(f'Get "{url}": {why}') from None
        there = urljoin(url, location)
        if not 300 <= status < 400 or not location or urlsplit(there).hostname != home:
            return status
        url = there
    raise HttpGetError(f'Get "{url}": stopped after {MAX_REDIRECTS} redirects')


async def _get(node: Namespaces, url: str, headers: Mapping[str, str]) -> tuple[int, str]:
    """One request: the answer's status and its Location. Raises OSError, EOFError, ValueError, LimitOverrunError."""
    parts = urlsplit(url)
    host, tls = parts.hostname or "", _unverified() if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    async with streams(node, host, port, tls, "" if _is_address(host) else host) as (reader, writer):
        writer.write(request(parts.netloc, parts.path + (f"?{parts.query}" if parts.query else ""), headers))
        return _answer((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))


def request(host: str, path: str, headers: Mapping[str, str]) -> bytes:
    """The request's head; `headers` go before what a kubelet sends by itself."""
    given = {name.lower() for name in headers}
    fields = {name: value for name, value in {"Host": host, **_FIELDS}.items() if name.lower() not in given}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in {**fields, **headers}.items())]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _answer(head: str) -> tuple[int, str]:
    """Status and Location of an answer's head. Raises ValueError."""
    status_line, *lines = head.split("\r\n")
    version, _, rest = status_line.partition(" ")
    if not version.startswith("HTTP/") or not rest[:3].isdigit():
        raise ValueError(f'malformed HTTP response "{status_line[:80]}"')
    fields = [line.partition(":") for line in lines]
    location = next((value.strip() for name, _, value in fields if name.lower() == "location"), "")
    return int(rest[:3]), location


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
