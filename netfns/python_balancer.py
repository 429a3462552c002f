"""A load balancer in Python: the decisions of HAProxy in three small functions. It runs on the machine lb2.

    outside 203.0.113.10              lb2                                          nodes
      | to 192.168.50.200:80    +-------------------------------+
      |                         | accept                        |
      `------- connection ----->| choose(servers, last) --------+--> one of  192.168.50.21:30080 (worker1)
                                | relay bytes, both ways        |            192.168.50.22:30080 (worker2)
                                |                               |
                                | twice a second: connect to    |
                                | each, checked(state, passed)  |
                                | a new configuration:          |
                                | reload(servers, wanted)       |
                                +-------------------------------+

A connection is given to one server when it comes and stays there until it ends. So all that a balancer
decides is: who gets the next connection (`choose`), who may get any (`checked`), and what becomes of the
connections of a server that is taken out (`reload`). These three are pure: they are given states and give
states back. The loop that accepts, connects and relays is netfns/python_balancer_server.py.

    a server's state        checks fail `fall` times in a row          taken out of the configuration
                         up ---------------------------------> down      while it has connections
                            <---------------------------------           -----------------> draining
                            checks pass `rise` times in a row            the last one ends: forgotten

Invariants: a new connection goes only to a server that is up and not draining; a running connection is cut
only when its server is forgotten, and a server with connections is never forgotten.

Sources: HAProxy 2.6 configuration manual, "balance roundrobin" in section 4.2, "rise", "fall" and "inter" in
section 5.2; HAProxy management guide, "set server <b>/<s> state drain" in section 9.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netfns.balancer_types import Server, ServerState

# ---------------------------------------------------------------- who gets the next connection


def choose(servers: Sequence[ServerState], last: int) -> int | None:
    """Choose the server of the next connection by round robin: its index in `servers`.

    `last` is the index that was chosen the time before, -1 at first. The answer is the first index after
    `last`, going on from the end to the beginning, whose server is up and not draining. That may be `last`
    again, when it is the only one. None when no server may get a connection: the client is refused at once.
    """
    for step in range(1, len(servers) + 1):
        index = (last + step) % len(servers)
        if servers[index].up and not servers[index].draining:
            return index
    return None


# ---------------------------------------------------------------- who may get any


def checked(state: ServerState, passed: bool, rise: int, fall: int) -> ServerState:
    """Take the result of one health check into account: the server's new state.

    A server that is up goes down at the `fall`-th failure in a row, and one that is down comes up at the
    `rise`-th success in a row (both are 1 or more). Until then `streak` counts them. A result that agrees
    with `up` sets `streak` to 0, and so does a change of `up`. Nothing else of the state changes.
    """
    if passed == state.up:
        return replace(state, streak=0)
    needed = rise if passed else fall
    if state.streak + 1 < needed:
        return replace(state, streak=state.streak + 1)
    return replace(state, up=passed, streak=0)


# ---------------------------------------------------------------- what becomes of those taken out


def reload(servers: Sequence[ServerState], wanted: Sequence[Server]) -> tuple[ServerState, ...]:
    """Bring the servers in line with a new configuration, without touching a running connection.

    First come the servers of `wanted`, in that order: one that was there already keeps its state, but is no
    longer draining; a new one starts as `ServerState(server)`. After them come those of `servers` that are
    no longer wanted and still have connections, in their old order, draining; the others are forgotten.
    """
    known = {state.server: state for state in servers}
    kept = tuple(replace(known.get(server, ServerState(server)), draining=False) for server in wanted)
    leaving = (state for state in servers if state.server not in set(wanted))
    return kept + tuple(replace(state, draining=True) for state in leaving if state.connections)
