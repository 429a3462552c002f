"""The Python balancer's configuration as text, which a person can read and write as well.

    frontend default/web:http 192.168.50.200 80
        allow 203.0.113.0/24 198.51.100.7/32        loadBalancerSourceRanges; without the line: everybody
        health 30100                                healthCheckNodePort; without it: to take a connection is enough
        server worker1 192.168.50.21 30080
        server worker2 192.168.50.22 30080

Invariant: `parse` reads back what `render` wrote.

Sources: HAProxy 2.6 configuration manual, section 2.1, whose `frontend` and `server` these are; Kubernetes API
reference, ServiceSpec.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network

from netfns.balancer_types import Frontend, Server


def render(frontends: Iterable[Frontend]) -> str:
    """Write the balancer's configuration: a line for each frontend, and under it who may connect and where health
    is asked for, if the frontend says so, and a line for each server.
    """
    lines = [HEAD]
    for frontend in frontends:
        lines.append(f"frontend {frontend.owner} {frontend.address} {frontend.port}\n")
        if frontend.source_ranges:
            lines.append(f"    allow {' '.join(frontend.source_ranges)}\n")
        if frontend.health_check_port:
            lines.append(f"    health {frontend.health_check_port}\n")
        lines += [f"    server {server.node} {server.address} {server.port}\n" for server in frontend.servers]
    return "".join(lines)


HEAD = """\
# frontend NAMESPACE/SERVICE:PORT ADDRESS PORT    where clients connect
#     allow RANGE...                              who may connect, if not everybody
#     health PORT                                 where each node says by HTTP whether it has endpoints
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
            case ["allow", _, *_] if found:
                found[-1] = replace(
                    found[-1], source_ranges=tuple(_range(word, number) for word in words[1:])
                )
            case ["health", port] if found:
                found[-1] = replace(found[-1], health_check_port=_port(port, number))
            case ["server", node, address, port] if found:
                server = Server(node, _address(address, number), _port(port, number))
                found[-1] = replace(found[-1], servers=(*found[-1].servers, server))
            case _:
                raise ValueError(
                    f"line {number}: {line.strip()!r}: want `frontend NAME ADDRESS PORT` or, below one, "
                    "`allow RANGE...`, `health PORT` or `server NODE ADDRESS PORT`"
                )
    return tuple(found)


def _address(word: str, number: int) -> str:
    try:
        return str(ip_address(word))
    except ValueError:
        raise ValueError(f"line {number}: {word!r}: want an IP address") from None


def _range(word: str, number: int) -> str:
    try:
        ip_network(word, strict=False)
    except ValueError:
        raise ValueError(f"line {number}: {word!r}: want a range of addresses, as 203.0.113.0/24") from None
    return word


def _port(word: str, number: int) -> int:
    if not (word.isascii() and word.isdigit() and 1 <= int(word) <= 65535):
        raise ValueError(f"line {number}: {word!r}: want a port, 1-65535")
    return int(word)
