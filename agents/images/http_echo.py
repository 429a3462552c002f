"""hashicorp/http-echo: answers every request with one text. Source:
https://github.com/hashicorp/http-echo.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from agents.images.flags import FlagError, Flags, Value
from agents.images.http_message import Request, Response, json_response, text_response
from agents.images.process import STDERR, write
from agents.images.serve import ENDS_WITH_ZERO, run_http
from agents.images.sockets import join

FLAGS: dict[str, Value] = {"listen": ":5678", "text": "", "status-code": 200, "version": False}


def main(argv: Sequence[str]) -> int:
    """Serve on -listen. Exit status 127 without a text or with a bad flag, 1 when the port is taken, as the
    real one.
    """
    try:
        flags = Flags(argv[1:], FLAGS)
        address, _, port_text = flags.text("listen").rpartition(":")
        port, status = int(port_text), flags.number("status-code")
    except (FlagError, ValueError) as error:
        write(f"http-echo: {error}\n", STDERR)
        return 127
    text = flags.text("text") or os.environ.get("ECHO_TEXT", "")
    if not text:
        write("Missing -text option or ECHO_TEXT env var!\n", STDERR)
        return 127

    def answer(request: Request) -> Response:
        if request.path == "/health":
            return json_response('{"status":"ok"}\n')
        return text_response(f"{text}\n", status)

    return run_http(port, answer, ENDS_WITH_ZERO, address=address.strip("[]"), on_answer=log_access)


def log_access(request: Request, response: Response) -> None:
    """One line for each request, on stdout."""
    write(
        f"{time.strftime('%Y/%m/%d %H:%M:%S')} {request.header('host')} {join(*request.client)} "
        f'"{request.method} {request.target} {request.version}" {response.status} {len(response.body)}\n'
    )
