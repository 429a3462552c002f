"""The Python balancer's own door: what one can ask it, over a Unix socket.

    GET /stat        a table of the servers            GET /log      the last connections, a line each
    GET /stat.json   the same as data                  POST /reload  the body is the new configuration

    curl --unix-socket /run/minipod/files/lb2/balancer.sock http://lb2/stat

The socket is made by whoever starts the process and handed over, as inetd did: so it is there before the process, and
outlives it.

Sources: RFC 9112 (just enough HTTP/1.1 for curl --unix-socket); sd_listen_fds(3) for handing a listening socket over.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from netfns.python_balancer_server import Mistake, PythonBalancer

REQUEST_WAIT = 5.0  # seconds for a request to come
MOST = 1 << 22  # bytes of a configuration
ROW = "{:<28} {:<22} {:<14} {:<7} {:>11} {:>8}\n"


Answer = Callable[[str, str, str], tuple[str, str]]  # method, path, body -> status, body


async def balance(balancer: PythonBalancer, configuration: str, listener: socket.socket) -> None:
    """Begin with a configuration, then answer on the socket until cancelled."""
    reload(balancer, configuration)
    await serve(partial(answer, balancer), listener)


async def serve(answer: Answer, listener: socket.socket) -> None:
    """Give each request on the socket its answer until cancelled."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_WAIT):
                method, path, body = await _request(reader)
            status, text = answer(method, path, body)
            payload = text.encode()
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + payload)
            await writer.drain()
        except (OSError, EOFError, asyncio.LimitOverrunError, ValueError):
            pass  # whoever asked has gone, or asked nothing
        finally:
            writer.close()

    server = await asyncio.start_unix_server(one, sock=listener)
    async with server:
        await server.serve_forever()


async def _request(reader: asyncio.StreamReader) -> tuple[str, str, str]:
    """Method, path and body. Raises OSError, EOFError, ValueError."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    method, path, *_ = head.split()
    length = 0
    for line in head.splitlines()[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    if not 0 <= length <= MOST:
        raise ValueError(length)
    return method, path, (await reader.readexactly(length)).decode()


def answer(balancer: PythonBalancer, method: str, path: str, body: str = "") -> tuple[str, str]:
    """The status and the body for one request."""
    match method, path:
        case "GET", "/stat":
            return "200 OK", table(balancer.statistics())
        case "GET", "/stat.json":
            return "200 OK", json.dumps(balancer.statistics()) + "\n"
        case "GET", "/log":
            return "200 OK", "".join(f"{line}\n" for line in balancer.log)
        case "POST", "/reload":
            error = reload(balancer, body)
            return ("409 Conflict", f"{error}\n") if error else ("200 OK", "")
    return "404 Not Found", "want GET /stat, GET /stat.json, GET /log or POST /reload\n"


def reload(balancer: PythonBalancer, configuration: str) -> str:
    """Serve another configuration; what is wrong with it, "" when nothing is: the one before stays in force then."""
    try:
        balancer.load(configuration)
    except OSError as error:
        return str(error.strerror or error)
    except (ValueError, Mistake) as error:
        return str(error)
    return ""


def table(statistics: dict[str, Any]) -> str:
    """Statistics as `GET /stat` shows them."""
    lines = [ROW.format("FRONTEND", "AT", "SERVER", "STATUS", "CONNECTIONS", "TOTAL")]
    for frontend in statistics["frontends"]:
        place = f"{frontend['address']}:{frontend['port']}"
        lines += [
            ROW.format(frontend["name"], place, one["node"], one["status"], one["connections"], one["total"])
            for one in frontend["servers"]
        ] or [ROW.format(frontend["name"], place, "-", "-", 0, 0)]
    lines += [f"mistake: {mistake}\n" for mistake in statistics["mistakes"]]
    return "".join(lines)
