"""Apache httpd as the official image starts it: static files from /usr/local/apache2/htdocs on port 80.

Sources: https://hub.docker.com/_/httpd, https://httpd.apache.org/docs/2.4/logs.html (common log format),
…/stopping.html.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from agents.images import static_files
from agents.images.eventloop import Loop
from agents.images.http_message import REASONS, Request, Response
from agents.images.http_server import HTTPServer
from agents.images.process import SIGWINCH, STDERR, write
from agents.images.serve import ENDS_WITH_ZERO, run_until
from agents.images.sockets import listen_tcp

ROOT = "/usr/local/apache2/htdocs"
VERSION = "Apache/2.4.63 (Unix)"
PORT = 80


def main(_argv: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGWINCH (the image's stop signal). Exit status 1 when port 80 is taken."""
    loop = Loop()
    try:
        listener = listen_tcp(PORT)
    except OSError as error:
        told = (
            f"({error.errno}){error.strerror}: AH00072: make_sock: could not bind to address 0.0.0.0:{PORT}"
        )
        write(
            f"{told}\nno listening sockets available, shutting down\nAH00015: Unable to open logs\n", STDERR
        )
        return 1
    HTTPServer(loop, listener, answer, server=VERSION, on_answer=log_access, error_page=error_page)
    write(
        f"[{time.strftime('%a %b %d %H:%M:%S %Y')}] [mpm_event:notice] [pid 1:tid 1] AH00489: {VERSION} "
        "configured -- resuming normal operations\n",
        STDERR,
    )
    return run_until(loop, {**ENDS_WITH_ZERO, SIGWINCH: 0})


def answer(request: Request) -> Response:
    """The file, or httpd's page for why there is none."""
    try:
        return static_files.serve(ROOT, request, request.path)
    except static_files.Problem as problem:
        response = error_page(problem.status)
        if problem.location:
            header = "Content-Range" if problem.status == 416 else "Location"
            response.headers.append((header, problem.location))
        return response


def error_page(status: int) -> Response:
    """The page of httpd for a status."""
    reason = REASONS[status]
    page = (
        '<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n'
        f"<title>{status} {reason}</title>\n</head><body>\n<h1>{reason}</h1>\n</body></html>\n"
    )
    return Response(page.encode(), status, [("Content-Type", "text/html; charset=iso-8859-1")])


def log_access(request: Request, response: Response) -> None:
    """One line in the common format, on stdout."""
    sent = 0 if request.method == "HEAD" else len(response.body)
    write(
        f"{request.client[0]} - - [{time.strftime('%d/%b/%Y:%H:%M:%S %z')}] "
        f'"{request.method} {request.target} {request.version}" {response.status} {sent or "-"}\n'
    )
