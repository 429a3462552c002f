"""The Python balancer's configuration as text, which a person can read and write as well.

    frontend default/web:http 192.168.50.200 80
        server worker1 192.168.50.21 30080
        server worker2 192.168.50.22 30080

Invariant: `parse` reads back what `render` wrote.

Source: HAProxy 2.6 configuration manual, section 2.1, whose keywords these are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

from netfns.balancer_types import Frontend, Server


def render(frontends: Iterable[Frontend]) -> str:
    """Write the balancer's configuration: a line for each frontend, and under it one for each server."""
    lines = [HEAD]
    for frontend in frontends:
        lines.append(f"frontend {frontend.owner} {frontend.address} {frontend.port}\n")
        lines += [f"    server {server.node} {server.address} {server.port}\n" for server in frontend.servers]
    return "".join(lines)


HEAD = """\
# frontend NAMESPACE/SERVICE:PORT ADDRESS PORT    where clients connect
#     server NODE ADDRESS PORT                    where their connections may go
"""


def parse(text: str) -> tuple[Frontend, ...]:
    """Read what `render` wrote. Raises ValueError, which names the line."""
    found: list[Frontend] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        match words:
            case []:
                continue
            case ["frontend", owner, address, port]:
                found.append(Frontend(owner, _address(address, number), _port(port, number), ()))
            case ["server", node, address, port] if found:
                server = Server(node, _address(address, number), _port(port, number))
                found[-1] = replace(found[-1], servers=(*found[-1].servers, server))
            case _:
                raise ValueError(
                    f"line {number}: {line.strip()!r}: want `frontend NAME ADDRESS PORT` or, below one, "
                    "`server NODE ADDRESS PORT`"
                )
    return tuple(found)


def _address(word: str, number: int) -> str:
    try:
        return str(ip_address(word))
    except ValueError:
        raise ValueError(f"line {number}: {word!r}: want an IP address") from None


def _port(word: str, number: int) -> int:
    if not (word.isascii() and word.isdigit() and 1 <= int(word) <= 65535):
        raise ValueError(f"line {number}: {word!r}: want a port, 1-65535")
    return int(word)
