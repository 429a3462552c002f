"""How an endpoint is chosen and remembered: numbers that mean one thing only."""

from hypothesis import given
from hypothesis import strategies as st

from netfns.marks import ENDPOINT
from netfns.service_affinity import numbers
from netfns.service_picks import MOST, SHORT_CUT, Pick, chains
from netfns.service_types import Endpoint

WORDS = {"ip": "ip", "key": "KEY", "pods": "10.244.0.0/16", "masquerade": "0x00010000"}
COUNTS = st.integers(0, MOST)
PICKS = st.builds(Pick, COUNTS, st.booleans(), COUNTS, st.booleans()).filter(
    lambda pick: pick.local or not pick.short_cut
)
ENDPOINTS = st.lists(
    st.builds(Endpoint, st.integers(0, 255).map(lambda n: f"10.244.1.{n}"), st.integers(1, 65535)),
    unique=True,
    max_size=50,
)


@given(PICKS, PICKS)
def test_two_picks_share_neither_number_nor_chain(one: Pick, other: Pick) -> None:
    assert (one == other) == (one.number == other.number) == (one.chain == other.chain)


@given(PICKS)
def test_a_picks_number_fits_into_a_mark(pick: Pick) -> None:
    assert int(pick.number, 0) < 2**32


@given(st.lists(PICKS.filter(lambda pick: pick.count and (pick.short_cut or not pick.local)), max_size=5))
def test_a_chain_leads_only_to_chains_that_came_before_it(picks: list[Pick]) -> None:
    there = {"translate"}
    for name, rules in chains(picks, WORDS).items():
        for rule in rules:
            words = rule.split()
            there_now = [words[i + 1] for i, word in enumerate(words) if word in ("goto", "jump")]
            assert there.issuperset(there_now)
        there.add(name)


@given(ENDPOINTS)
def test_every_endpoint_has_a_number_of_its_own_within_the_marks_bits(endpoints: list[Endpoint]) -> None:
    given_numbers = numbers(endpoints)
    assert len(set(given_numbers.values())) == len(endpoints)
    assert all(0 < number < SHORT_CUT and number | SHORT_CUT <= ENDPOINT for number in given_numbers.values())


def test_an_endpoint_keeps_its_number_when_others_come_and_go() -> None:
    endpoints = [Endpoint(f"10.244.1.{n}", 8080) for n in range(2, 12)]
    alone = {endpoint: numbers([endpoint])[endpoint] for endpoint in endpoints}
    assert numbers(endpoints) == alone
