"""What a balancer is told, and what it knows: the records that both engines and the Python balancer's lab speak of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Server:
    """One way in behind a frontend: a node and the port that it answers on."""

    node: str
    address: str
    port: int


@dataclass(frozen=True, order=True)
class Frontend:
    """One address and TCP port that clients use. `owner` is the service port, as `default/web:http`.

    `source_ranges` (CIDRs) are who may connect, none: everybody; `health_check_port` is where a server tells by
    HTTP whether it is to get connections, 0: whoever takes a connection is.
    """

    owner: str
    address: str
    port: int
    servers: tuple[Server, ...]
    source_ranges: tuple[str, ...] = ()
    health_check_port: int = 0


@dataclass(frozen=True)
class ServerState:
    """What the Python balancer knows of one server.

    `up`: whether it may get connections as far as its checks are concerned; a new server counts as up.
    `streak`: how many checks in a row, the last ones, said the opposite of `up` (0 or more).
    `draining`: it was taken out of the configuration and only finishes the connections that it has.
    `connections`: how many it has now.
    """

    server: Server
    up: bool = True
    streak: int = 0
    draining: bool = False
    connections: int = 0
