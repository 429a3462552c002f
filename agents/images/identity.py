"""Who a container is and who is asking, as text: what the echoing stand-ins answer with."""

from __future__ import annotations

import os

from agents.images.http_message import Request
from agents.images.process import hostname
from agents.images.sockets import join

# Variables that manifests set from the downward API, by the names that the Kubernetes documentation uses.
_DOWNWARD = {
    "node name": "NODE_NAME",
    "pod name": "POD_NAME",
    "pod namespace": "POD_NAMESPACE",
    "pod IP": "POD_IP",
}


def who_am_i(request: Request) -> list[tuple[str, str]]:
    """(word, value) pairs: hostname, what the downward API was asked for, the address that the client
    reached.
    """
    pairs = [("hostname", hostname())]
    pairs += [(word, os.environ[name]) for word, name in _DOWNWARD.items() if name in os.environ]
    pairs.append(("server address", join(*request.local)))
    return pairs


def who_asks(request: Request) -> list[tuple[str, str]]:
    """(word, value) pairs: client address, method, path, and each header."""
    pairs = [("client address", join(*request.client)), ("method", request.method), ("path", request.target)]
    return pairs + [(f"header {name}", value) for name, value in request.headers]
