"""nginx's proxy_pass: a request goes to another server, its response comes back.

    client -> request -> location.proxy_pass http://HOST[:PORT][/URI] -> exchange -> response -> client
                         HOST may name an upstream: its servers take turns

Each request gets a process of its own (Response.slow), which looks the name up and waits; so a name that
begins to resolve later works later, unlike in nginx, which resolves at its start. Errors are nginx's: 502 no
connection, 504 no answer in time. Source: https://nginx.org/en/docs/http/ngx_http_proxy_module.html.
"""

from __future__ import annotations

from collections.abc import Callable

from agents.images.http_client import exchange
from agents.images.http_message import HTTPError, Request, Response
from agents.images.nginx_config import Location
from agents.images.sockets import join, reason

SECONDS = 15.0
# Hop by hop (RFC 9110 section 7.6.1), or written anew by the server.
_DROPPED = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "server",
    "date",
    "upgrade",
    "te",
}


def forward(
    member: str, place: Location, request: Request, failed: Callable[[int, str], Response]
) -> Response:
    """The response of `member` (host[:port]), or `failed(status, fact)` without one. Waits up to SECONDS."""
    authority, slash, uri = place.proxy_pass.partition("://")[2].partition("/")
    host, _, port = member.rpartition(":") if member.rpartition(":")[2].isdigit() else (member, "", "80")
    target = f"/{uri}{request.target.removeprefix(place.prefix)}" if slash else request.target
    headers = to_upstream(place, request, authority)
    try:
        status, fields, body = exchange(
            host.strip("[]"), int(port), request.method, target, headers, request.body, SECONDS
        )
    except TimeoutError:
        return failed(504, "upstream timed out (110: Connection timed out) while connecting to upstream")
    except OSError as error:
        return failed(502, f"connect() to {join(host, port)} failed ({error.errno}: {reason(error)})")
    except HTTPError as error:
        return failed(502, f"upstream sent invalid response: {error}")
    kept = [(name, value) for name, value in fields if name.lower() not in _DROPPED]
    return Response(body, status, kept + place.headers)


def to_upstream(place: Location, request: Request, authority: str) -> list[tuple[str, str]]:
    """The headers that the upstream gets: the client's, Host anew, and what proxy_set_header says."""
    client = request.client[0]
    forwarded = request.header("x-forwarded-for")
    variables = {
        "$proxy_add_x_forwarded_for": f"{forwarded}, {client}" if forwarded else client,
        "$http_host": request.header("host"),
        "$host": request.header("host").partition(":")[0],
        "$remote_addr": client,
        "$request_uri": request.target,
        "$scheme": "http",
    }
    given = {"host": ("Host", authority)}
    for name, value in place.proxy_headers:
        for variable, text in variables.items():
            value = value.replace(variable, text)  # noqa: PLW2901 - the value is what the variables make of it
        given[name.lower()] = (name, value)
    kept = [(n, v) for n, v in request.headers if n.lower() not in _DROPPED and n.lower() not in given]
    return [pair for pair in given.values() if pair[1]] + kept
