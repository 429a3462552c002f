"""nginx as the official image starts it: files, redirects and proxying, with nginx's log and error pages.

    request -> nginx_config: server by port and Host, location by path
            -> return | nginx_proxy.forward | static_files.serve -> response, or nginx's page for why there is
            none
    stdout: access log, combined format      stderr: `[error]`, `[notice]` lines; both are the container's log

Sources: https://nginx.org/en/docs/http/ngx_http_log_module.html, https://nginx.org/en/docs/control.html
(signals), https://hub.docker.com/_/nginx (where the files are).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agents.images import static_files
from agents.images.eventloop import Loop
from agents.images.http_message import REASONS, Request, Response
from agents.images.http_server import HTTPServer
from agents.images.nginx_config import Config, ConfigError, Location, read
from agents.images.nginx_proxy import forward
from agents.images.process import SIGQUIT, STDERR, write
from agents.images.serve import ENDS_WITH_ZERO, on_signal, run_until
from agents.images.sockets import join, listen_tcp

VERSION = "nginx/1.27.5"
FOLDER = Path("/etc/nginx")


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM (at once) or SIGQUIT (after the last request). Exit status 1 when a port is taken
    or the configuration is wrong.

    Reads `-c FILE`, else /etc/nginx/nginx.conf and conf.d/*.conf as far as they are there; `-t` only checks.
    """
    if "-v" in argv or "-V" in argv:
        write(f"nginx version: {VERSION}\n", STDERR)
        return 0
    given = [Path(argv[index + 1]) for index, word in enumerate(argv[:-1]) if word == "-c"]
    try:
        config = read(given or [*FOLDER.glob("nginx.conf"), *sorted(FOLDER.glob("conf.d/*.conf"))])
    except ConfigError as error:
        write(f"nginx: [emerg] {error}\n", STDERR)
        return 1
    if "-t" in argv:
        write("nginx: configuration file /etc/nginx/nginx.conf test is successful\n", STDERR)
        return 0
    loop = Loop()
    ports = dict.fromkeys(port for server in config.servers for port in server.ports)
    try:
        servers = [listen(loop, config, port) for port in ports]
    except OSError:
        return 1
    for name in sorted(config.ignored):
        note("warn", f'this stand-in does not follow the directive "{name}"')
    note("notice", f"{VERSION}: start worker processes")
    on_signal(loop, SIGQUIT, lambda: drain(servers))
    return run_until(loop, ENDS_WITH_ZERO)


def listen(loop: Loop, config: Config, port: int) -> HTTPServer:
    """Serve one port. A port that is taken is told as nginx tells it and raised as OSError."""
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
        lambda request: answer(config, request),
        server=VERSION,
        on_answer=log_access,
        error_page=error_page,
    )


def answer(config: Config, request: Request) -> Response:
    """What the location says: a return, the upstream's response, or a file."""
    place = config.server(request.local[1], request.header("host")).location(request.path)
    if place.returns:
        response = returned(place.returns)
    elif place.proxy_pass:

        def failed(status: int, fact: str) -> Response:
            note_error(request, fact)
            return error_page(status)

        member = config.member(place.proxy_pass.partition("://")[2].partition("/")[0])
        return Response(slow=lambda: forward(member, place, request, failed))
    else:
        response = file(place, request)
    response.headers += place.headers
    return response


def returned(words: Sequence[str]) -> Response:
    """`return CODE;`, `return CODE TEXT;`, `return CODE URL;` for a redirect, `return URL;`."""
    code, text = (int(words[0]), words[1:]) if words[0].isdigit() else (302, words[:1])
    if 300 <= code < 400 and text:
        response = error_page(code)
        response.headers.append(("Location", text[0]))
        return response
    if text:
        plain = [("Content-Type", "application/octet-stream")]
        return Response(text[0].replace("\\n", "\n").encode(), code, plain)
    return error_page(code) if code >= 300 else Response(status=code)


def file(place: Location, request: Request) -> Response:
    """The file, or nginx's page for why there is none."""
    root, path = place.root, request.path
    if place.alias:
        root, path = place.alias, "/" + path.removeprefix(place.prefix)
    try:
        return static_files.serve(root, request, path, place.index)
    except static_files.Problem as problem:
        if problem.status in (403, 404) and place.fallback:
            return file(replace(place, fallback=""), replace(request, target=place.fallback))
        if problem.fact:
            note_error(request, problem.fact)
        response = error_page(problem.status)
        if problem.status == 301:
            host = request.header("host") or join(*request.local)
            response.headers.append(("Location", f"http://{host}{problem.location}"))
        elif problem.status == 416:
            response.headers.append(("Content-Range", problem.location))
        return response


def note_error(request: Request, fact: str) -> None:
    """One line of the error log about a request."""
    client = f"client: {request.client[0]}, server: localhost"
    note("error", f'{fact}, {client}, request: "{request.method} {request.target} {request.version}"')


def error_page(status: int) -> Response:
    """The page of nginx for a status."""
    title = f"{status} {'Not Allowed' if status == 405 else REASONS.get(status, 'Status')}"
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
