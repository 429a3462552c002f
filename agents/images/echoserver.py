"""echoserver: shows the request as the server saw it, in the sections of the original. Port 8080.

Source: test/images/echoserver of Kubernetes (an nginx with a template).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from agents.images.http_message import Request, Response, text_response
from agents.images.identity import who_am_i
from agents.images.serve import ENDS_WITH_ZERO, run_http


def main(_argv: Sequence[str]) -> int:
    """Serve on $PORT, 8080 without it. Exit status 1 when that is taken."""
    return run_http(int(os.environ.get("PORT", "8080")), answer, ENDS_WITH_ZERO, server="echoserver")


def answer(request: Request) -> Response:
    """Hostname, pod information, client, request, headers and body."""
    host = request.header("host")
    name, *pod = who_am_i(request)
    sections = {
        "Pod Information": pod,
        "Request Information": [
            ("client_address", request.client[0]),
            ("method", request.method),
            ("real path", request.target),
            ("query", request.query),
            ("request_version", request.version.removeprefix("HTTP/")),
            ("request_uri", f"http://{host}{request.target}"),
        ],
        "Request Headers": sorted((key.lower(), value) for key, value in request.headers),
    }
    text = f"\n\nHostname: {name[1]}\n\n"
    for title, pairs in sections.items():
        between = ": " if title == "Pod Information" else "="
        text += f"{title}:\n" + "".join(f"\t{word}{between}{value}\n" for word, value in pairs) + "\n"
    body = request.body.decode("utf-8", "replace") or "\t-no body in request-"
    return text_response(f"{text}Request Body:\n{body}\n")
