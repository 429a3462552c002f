"""Who is asking? A check that is plugged into the application; no answer is 401.

A Unix socket is trusted: who can open it may do everything (its folder is closed to others). Over TCP a
client shows a certificate of the lab's own authority, the lab's key, or a service account's token signed with it.

Source: Kubernetes documentation "Authenticating".
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Callable

from aiohttp import web

from controlplane.errors import StatusError
from controlplane.http.tokens import claims_of

ADMIN = "kubernetes-admin"
Authenticate = Callable[[web.Request], str | None]  # the user's name, or None: not known


def trusted(request: web.Request) -> str | None:
    """Everybody who gets here."""
    return ADMIN


def credentials(key: str) -> Authenticate:
    """The check for a server that listens on a Unix socket and on TCP with TLS: socket, certificate, or a bearer's
    `key` or token.
    """

    def authenticate(request: web.Request) -> str | None:
        transport = request.transport
        if transport is None:
            return None
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX:
            return ADMIN
        certificate = transport.get_extra_info("peercert")  # already verified by TLS
        if certificate:
            return _common_name(certificate)
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        return _bearer(given.strip(), key) if scheme.lower() == "bearer" else None

    return authenticate


def _bearer(given: str, key: str) -> str | None:
    if given.isascii() and hmac.compare_digest(given, key):
        return ADMIN
    claims = claims_of(key, given)
    return None if claims is None else str(claims["sub"])


def _common_name(certificate: dict[str, tuple[tuple[tuple[str, str], ...], ...]]) -> str:
    for part in certificate.get("subject", ()):
        for name, value in part:
            if name == "commonName":
                return value
    return ADMIN


def unauthorized() -> StatusError:
    """401."""
    return StatusError(401, "Unauthorized", "Unauthorized")
