"""traefik/whoami: shows who answered and the request in the form in which it came. Source: its README."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from agents.images.flags import FlagError, Flags, Value
from agents.images.http_message import Request, Response, json_response, text_response
from agents.images.process import hostname, log
from agents.images.serve import ENDS_AS_GO, run_http
from agents.images.sockets import join


def main(argv: Sequence[str]) -> int:
    """Serve on --port or $WHOAMI_PORT_NUMBER, 80 without them. 1: the port is taken; 2: a bad flag."""
    defaults: dict[str, Value] = {
        "port": int(os.environ.get("WHOAMI_PORT_NUMBER", "80")),
        "name": os.environ.get("WHOAMI_NAME", ""),
        "verbose": False,
    }
    try:
        flags = Flags(argv[1:], defaults)
    except FlagError as error:
        log(str(error))
        return 2
    return run_http(flags.number("port"), lambda request: answer(request, flags.text("name")), ENDS_AS_GO)


def answer(request: Request, name: str) -> Response:
    """`/health`: nothing; `/bench`: 1; `/api`: as JSON; anything else as text."""
    if request.path == "/health":
        return Response()
    if request.path == "/bench":
        return text_response("1")
    if request.path == "/api":
        return json_response(json.dumps(as_json(request, name)))
    lines = [f"Name: {name}"] if name else []
    lines += [f"Hostname: {hostname()}", f"IP: {request.local[0]}", f"RemoteAddr: {join(*request.client)}"]
    lines.append(f"{request.method} {request.target} {request.version}")
    lines += [f"{key}: {value}" for key, value in request.headers]
    return text_response("\n".join(lines) + "\n\n")


def as_json(request: Request, name: str) -> dict[str, object]:
    """The same facts under the original's keys."""
    headers: dict[str, list[str]] = {}
    for key, value in request.headers:
        headers.setdefault(key, []).append(value)
    facts: dict[str, object] = {
        "hostname": hostname(),
        "ip": [request.local[0]],
        "headers": headers,
        "url": request.target,
        "host": request.header("host"),
        "method": request.method,
        "name": name,
        "remoteAddr": join(*request.client),
    }
    return {key: value for key, value in facts.items() if value}
