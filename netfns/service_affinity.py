"""sessionAffinity: ClientIP. A client that had an endpoint gets the same one again.

    client --> sticky-2 --> affinity-default/web/http: does this client have an endpoint?
                 |   yes: its number into the mark -> translate -> the endpoint, if it still is one
                 |   no, or it is gone: draw one, `affinity_ids` tells its number,
                 `----> affinity-default/web/http: remember it, for so many seconds from now

Each service port with affinity has one map of its clients, client -> the endpoint's number, which the
kernel itself fills and empties. So it must live through everything: no ruleset ever replaces the table, a
full load flushes what it knows and leaves these maps alone, and one goes only with its service port.

A choice (0..2) tells nothing once the endpoints have changed, so clients are remembered with the
endpoint's *number*: made from address and port, the same on every node, and whoever else comes or goes
does not alter it. An endpoint that has gone is found in no map any more, and the client draws again. All
frontends of a service port share its map, so a client keeps its endpoint by whichever way it comes in, as
long as that way's policy has it.

Sources: Kubernetes, "Service": Session stickiness; nft(8), "SET STATEMENT"; kube-proxy, pkg/proxy/nftables.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

from netfns.service_picks import SHORT_CUT
from netfns.service_types import Endpoint

CLIENTS = 65535  # that one service port remembers; whoever comes then is served, and not remembered


def name_of(owner: str) -> str:
    """The name of both the chain and the map of clients of one service port, `affinity-default/web/http`; nft takes
    no colon in a name.
    """
    return f"affinity-{owner.replace(':', '/')}"


def numbers(endpoints: Iterable[Endpoint]) -> dict[Endpoint, int]:
    """A number from 1 to SHORT_CUT - 1 for each endpoint. Of two that would have the same, the later one
    takes the next that is free.
    """
    given: dict[Endpoint, int] = {}
    taken: set[int] = set()
    for endpoint in sorted(set(endpoints)):
        number = crc32(f"{endpoint.address} {endpoint.port}".encode()) % (SHORT_CUT - 1)
        while number + 1 in taken:
            number = (number + 1) % (SHORT_CUT - 1)
        taken.add(number + 1)
        given[endpoint] = number + 1
    return given


def declaration(address: str) -> str:
    """What stands between the braces of the map of clients; `address` is its key's type, ipv4_addr or ipv6_addr."""
    return f"type {address} : mark; size {CLIENTS}; flags dynamic,timeout;"


def rules(owner: str, timeout: int, ip: str) -> list[str]:
    """The rules of a service port's chain; `timeout` is in seconds, 1 to 86400, and `ip` is ip or ip6.

    With 0 in the connection's mark it asks, and when the client is known, its time begins anew; otherwise it
    remembers.

    An entry that is there keeps its old value when it is updated, so to remember is to delete it first; but
    not to refresh it, for deleted entries stay in the kernel's way until it sweeps, once in a second.
    """
    clients = f"@{name_of(owner)}"
    update = f"update {clients} {{ {ip} saddr timeout {timeout}s : ct mark }}"
    return [
        f"ct mark 0 ct mark set {ip} saddr map {clients} {update} return",
        "ct mark 0 return",
        f"delete {clients} {{ {ip} saddr : ct mark }}",
        update,
    ]
