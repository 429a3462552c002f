"""The Python balancer's process: its Unix socket, on which one asks it for things, and its command line.

    GET /stat        a table of the servers            GET /log      the last connections, a line each
    GET /stat.json   the same as data                  POST /reload  read the configuration file again

The socket is made by whoever starts the process and handed over as standard input, as inetd did: so it is there
before the process, and outlives it.

Sources: RFC 9112 (just enough HTTP/1.1 for curl --unix-socket); sd_listen_fds(3) for the idea of handing a
listening socket over.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netfns.python_balancer_server import Decisions, Mistake, PythonBalancer, print_line

REQUEST_WAIT = 5.0  # seconds for a request to come
ROW = "{:<28} {:<22} {:<14} {:<7} {:>11} {:>8}\n"


async def serve(balancer: PythonBalancer, listener: socket.socket) -> None:
    """Load the configuration, then answer on the socket until cancelled."""
    _reload(balancer)

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_WAIT):
                request = await reader.readuntil(b"\r\n\r\n")
            status, text = answer(balancer, *request.split(b" ", 2)[:2])
            body = text.encode()
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TypeError):
            pass  # whoever asked has gone, or asked nothing
        finally:
            writer.close()

    server = await asyncio.start_unix_server(one, sock=listener)
    async with server:
        await server.serve_forever()


def answer(balancer: PythonBalancer, method: bytes, path: bytes) -> tuple[str, str]:
    """The status and the body for one request."""
    match method, path:
        case b"GET", b"/stat":
            return "200 OK", table(balancer.statistics())
        case b"GET", b"/stat.json":
            return "200 OK", json.dumps(balancer.statistics()) + "\n"
        case b"GET", b"/log":
            return "200 OK", "".join(f"{line}\n" for line in balancer.log)
        case b"POST", b"/reload":
            error = _reload(balancer)
            return ("409 Conflict", f"{error}\n") if error else ("200 OK", "")
    return "404 Not Found", "want GET /stat, GET /stat.json, GET /log or POST /reload\n"


def _reload(balancer: PythonBalancer) -> str:
    """Load the configuration file; what is wrong with it, "" when nothing is."""
    try:
        balancer.load()
    except (OSError, ValueError, Mistake) as error:
        text = str(error.strerror or error) if isinstance(error, OSError) else str(error)
        print_line(f"configuration: {text}: the one before stays in force")
        return text
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


def main(argv: Sequence[str]) -> int:
    """Balance until killed. The control socket is standard input; status 2 when the file cannot be used."""
    parser = argparse.ArgumentParser(prog="python_balancer", description="Balances TCP connections.")
    parser.add_argument("configuration", type=Path, help="the file that python_balancer.render writes")
    parser.add_argument("--functions", type=Path, help="take choose, checked and reload from this file")
    options = parser.parse_args(argv[1:])
    try:
        decisions = Decisions(options.functions)
    except Mistake as mistake:
        print_line(f"mistake: {mistake}")
        return 2
    listener = socket.socket(fileno=0)
    asyncio.run(serve(PythonBalancer(options.configuration, decisions), listener))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
