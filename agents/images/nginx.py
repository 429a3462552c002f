"""nginx as the official image starts it: static files from /usr/share/nginx/html on port 80, nginx's log and
error pages.

    request -> static_files.serve(root) -> file | Problem -> nginx's error page
    stdout: access log, combined format      stderr: `[error]`, `[notice]` lines; both are the container's log

`listen`, `root` and `index` are taken from /etc/nginx/conf.d/*.conf; any other directive there is named in
the log and not followed. Sources: https://nginx.org/en/docs/http/ngx_http_log_module.html,
https://nginx.org/en/docs/control.html (signals).
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents.images import static_files
from agents.images.eventloop import Loop
from agents.images.http_message import REASONS, Request, Response
from agents.images.http_server import HTTPServer
from agents.images.process import SIGQUIT, STDERR, write
from agents.images.serve import ENDS_WITH_ZERO, on_signal, run_until
from agents.images.sockets import join, listen_tcp

VERSION = "nginx/1.27.5"
CONFIGURATION = "/etc/nginx/conf.d"
_DIRECTIVE = re.compile(r"([a-z_]+)\s+([^;{}]*)[;{]")
_QUIET = {
    "server",
    "location",
    "server_name",
    "error_page",
    "default_type",
}  # their absence changes no answer here


@dataclass
class Site:
    """What the configuration says: the ports, the folder, the index page, and what was not understood."""

    ports: list[int] = field(default_factory=list)
    root: str = "/usr/share/nginx/html"
    index: str = "index.html"
    ignored: set[str] = field(default_factory=set)


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM (at once) or SIGQUIT (after the last request). Exit status 1 when a port is taken.

    `-c FILE` reads that file instead of conf.d; `-t` and `-v` say what nginx says and end.
    """
    if "-v" in argv or "-V" in argv:
        write(f"nginx version: {VERSION}\n", STDERR)
        return 0
    given = [Path(argv[index + 1]) for index, word in enumerate(argv[:-1]) if word == "-c"]
    site = configured(given or sorted(Path(CONFIGURATION).glob("*.conf")))
    if "-t" in argv:
        write("nginx: configuration file /etc/nginx/nginx.conf test is successful\n", STDERR)
        return 0
    loop = Loop()
    try:
        servers = [listen(loop, site, port) for port in site.ports]
    except OSError:
        return 1
    for name in sorted(site.ignored):
        note("warn", f'this stand-in does not follow the directive "{name}"')
    note("notice", f"{VERSION}: start worker processes")
    on_signal(loop, SIGQUIT, lambda: drain(servers))
    return run_until(loop, ENDS_WITH_ZERO)


def listen(loop: Loop, site: Site, port: int) -> HTTPServer:
    """Serve the site on one port. A port that is taken is told as nginx tells it and raised as OSError."""
    try:
        listener = listen_tcp(port)
    except OSError as error:
        told = f"bind() to 0.0.0.0:{port} failed ({error.errno}: {os.strerror(error.errno or errno.EINVAL)})"
        note("emerg", told)
        write(f"nginx: [emerg] {told}\n", STDERR)
        raise
    return HTTPServer(
        loop,
        listener,
        lambda request: answer(site, request),
        server=VERSION,
        on_answer=log_access,
        error_page=error_page,
    )


def configured(paths: Sequence[Path]) -> Site:
    """The site that the files describe; port 80 and the image's own folder without them."""
    site = Site()
    for path in paths:
        text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
        for name, value in _DIRECTIVE.findall(text):
            port = re.match(r"(?:.*:)?(\d+)\b", value)
            if name == "listen" and port and int(port[1]) not in site.ports:
                site.ports.append(int(port[1]))
            elif name == "root":
                site.root = value.strip()
            elif name == "index":
                site.index = value.split()[0]
            elif name not in _QUIET and name != "listen":
                site.ignored.add(name)
    site.ports = site.ports or [80]
    return site


def answer(site: Site, request: Request) -> Response:
    """The file, or nginx's page for why there is none."""
    try:
        return static_files.serve(site.root, request, site.index, "application/octet-stream")
    except static_files.Problem as problem:
        if problem.fact:
            client = f"client: {request.client[0]}, server: localhost, request: "
            note("error", f'{problem.fact}, {client}"{request.method} {request.target} {request.version}"')
        response = error_page(problem.status)
        if problem.status == 301:
            host = request.header("host") or join(*request.local)
            response.headers.append(("Location", f"http://{host}{problem.location}"))
        elif problem.status == 416:
            response.headers.append(("Content-Range", problem.location))
        return response


def error_page(status: int) -> Response:
    """The page of nginx for a status."""
    title = f"{status} {REASONS[status] if status != 405 else 'Not Allowed'}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        f"<hr><center>{VERSION}</center>\r\n</body>\r\n</html>\r\n"
    )
    return Response(page.encode(), status, [("Content-Type", "text/html")])


def drain(servers: Sequence[HTTPServer]) -> None:
    """End once every server has answered its last request."""
    waiting = len(servers)

    def done() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            os._exit(0)

    for server in servers:
        server.drain(done)


def log_access(request: Request, response: Response) -> None:
    """One line in the combined format, on stdout."""
    agent, referer = request.header("user-agent", "-"), request.header("referer", "-")
    forwarded = request.header("x-forwarded-for", "-")
    sent = 0 if request.method == "HEAD" else len(response.body)
    write(
        f"{request.client[0]} - - [{time.strftime('%d/%b/%Y:%H:%M:%S %z')}] "
        f'"{request.method} {request.target} {request.version}" {response.status} {sent} '
        f'"{referer}" "{agent}" "{forwarded}"\n'
    )


def note(level: str, line: str) -> None:
    """One line of nginx's error log."""
    write(f"{time.strftime('%Y/%m/%d %H:%M:%S')} [{level}] 1#1: {line}\n", STDERR)
