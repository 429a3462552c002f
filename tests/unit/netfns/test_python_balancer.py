"""The three decisions of the Python balancer, and its configuration as text."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfns.balancer_types import Server, ServerState
from netfns.python_balancer import checked, choose, reload
from netfns.python_balancer_config import parse, render
from tests.golden.cases import BALANCER, CHOOSY

A, B, C = (Server(f"worker{number}", f"192.168.50.2{number}", 30080) for number in (1, 2, 3))
states = st.builds(
    ServerState,
    server=st.sampled_from((A, B, C)),
    up=st.booleans(),
    draining=st.booleans(),
    connections=st.integers(0, 3),
)
distinct_states = st.lists(states, max_size=3, unique_by=lambda state: state.server)


def test_connections_go_round() -> None:
    servers, last, order = [ServerState(A), ServerState(B), ServerState(C)], -1, []
    for _ in range(7):
        chosen = choose(servers, last)
        assert chosen is not None
        order.append(last := chosen)
    assert order == [0, 1, 2, 0, 1, 2, 0]


@given(distinct_states, st.integers(0, 2))
def test_all_that_may_get_connections_get_equally_many(servers: list[ServerState], start: int) -> None:
    able = [index for index, one in enumerate(servers) if one.up and not one.draining]
    last, got = min(start, len(servers) - 1), Counter[int | None]()
    for _ in range(2 * len(able)):
        index = choose(servers, last)
        assert index is not None
        got[index] += 1
        last = index
    assert got == dict.fromkeys(able, 2)
    if not able:
        assert choose(servers, last) is None


def test_a_server_goes_down_and_comes_up_after_results_in_a_row() -> None:
    state, seen = ServerState(A), []
    for passed in (False, True, False, False, False, True, False, True, True, True):
        state = checked(state, passed, rise=2, fall=3)
        seen.append((state.up, state.streak))
    assert seen == [
        (True, 1), (True, 0), (True, 1), (True, 2), (False, 0),
        (False, 1), (False, 0), (False, 1), (True, 0), (True, 0),
    ]  # fmt: skip


@given(states, st.booleans(), st.integers(1, 3), st.integers(1, 3))
def test_a_check_changes_nothing_else(state: ServerState, passed: bool, rise: int, fall: int) -> None:
    new = checked(state, passed, rise, fall)
    assert replace(new, up=state.up, streak=state.streak) == state


def test_a_server_that_is_taken_out_finishes_its_connections() -> None:
    servers = (ServerState(A, connections=2), ServerState(B))
    assert reload(servers, [B, C]) == (
        ServerState(B), ServerState(C), ServerState(A, draining=True, connections=2)
    )  # fmt: skip
    assert reload((ServerState(A),), [B]) == (ServerState(B),)


def test_a_server_that_stays_or_comes_back_keeps_its_state() -> None:
    down = ServerState(A, up=False, streak=1, connections=1)
    assert reload([down], [A]) == (down,)
    assert reload([replace(down, draining=True)], [A]) == (down,)


@given(distinct_states, st.lists(st.sampled_from((A, B, C)), unique=True))
def test_no_server_with_connections_is_forgotten(servers: list[ServerState], wanted: list[Server]) -> None:
    new = {state.server: state for state in reload(servers, wanted)}
    assert [state.server for state in reload(servers, wanted)][: len(wanted)] == wanted
    for state in servers:
        if state.connections:
            assert new[state.server].connections == state.connections
    assert all(state.draining == (server not in wanted) for server, state in new.items())


def test_the_text_says_what_is_served() -> None:
    frontends = (*BALANCER.frontends, CHOOSY)
    assert parse(render(frontends)) == frontends


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("server worker1 192.168.50.21 30080", "line 1"),
        ("frontend a 192.168.50.200 80\n  server worker1 nowhere 30080", "line 2: 'nowhere': want an IP"),
        ("frontend a 192.168.50.200 65536", "line 1: '65536': want a port, 1-65535"),
        ("frontend a 192.168.50.200 ²", "want a port"),
        ("frontend a 192.168.50.200 80\n  allow everybody", "line 2: 'everybody': want a range of addresses"),
        ("frontend a 192.168.50.200 80\n  allow", "line 2: 'allow': want"),
        ("frontend a 192.168.50.200 80\n  health 0", "line 2: '0': want a port, 1-65535"),
        ("allow 10.0.0.0/8", "line 1"),
        ("\n\nbackend a", "line 3: 'backend a': want `frontend NAME ADDRESS PORT`"),
    ],
)
def test_a_line_that_says_nothing_is_named(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="line") as raised:
        parse(text)
    assert complaint in str(raised.value)
