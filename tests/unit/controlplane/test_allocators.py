from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controlplane.allocators import AddressPool, Pool

FIRST, LAST = 100, 109


class PoolMachine(RuleBasedStateMachine):
    """A pool against a plain dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool(FIRST, LAST, reserved=3)
        self.held: dict[int, str] = {}

    @rule(who=st.sampled_from("abc"))
    def take(self, who: str) -> None:
        number = self.pool.next_free()
        if number is None:
            assert len(self.held) == LAST - FIRST + 1
            return
        assert number not in self.held
        assert FIRST <= number <= LAST
        if number < FIRST + 3:
            assert all(other in self.held for other in range(FIRST + 3, LAST + 1))
        self.pool.hold(number, who)
        self.held[number] = who

    @rule(number=st.integers(FIRST - 1, LAST + 1), who=st.sampled_from("abc"))
    def claim(self, number: int, who: str) -> None:
        free = self.pool.is_free_for(number, who)
        assert free == (FIRST <= number <= LAST and self.held.get(number, who) == who)
        if free:
            self.pool.hold(number, who)
            self.held[number] = who

    @rule(number=st.integers(FIRST, LAST), who=st.sampled_from("abc"))
    def release(self, number: int, who: str) -> None:
        self.pool.release(number, who)
        if self.held.get(number) == who:
            del self.held[number]

    @invariant()
    def same_books(self) -> None:
        assert len(self.pool) == len(self.held)
        assert all(self.pool.is_free_for(number, who) for number, who in self.held.items())
        assert not any(self.pool.is_free_for(number, "nobody") for number in self.held)


TestPool = PoolMachine.TestCase


def test_next_free_leaves_out() -> None:
    pool = Pool(1, 3)
    assert pool.next_free(frozenset({1, 2})) == 3
    assert pool.next_free(frozenset({1, 2, 3})) is None


@given(st.integers(1, 2**16 - 2))
def test_address_and_number_are_inverse(offset: int) -> None:
    pool = AddressPool("10.96.0.0/16")
    address = pool.address(pool.numbers.first + offset - 1)
    assert pool.number(address) == pool.numbers.first + offset - 1


def test_dynamic_addresses_leave_the_low_ones_to_people() -> None:
    pool = AddressPool("10.96.0.0/16")
    assert pool.next_free() == "10.96.1.1"
    for edge in ("10.96.0.0", "10.96.255.255"):
        number = pool.number(edge)
        assert number is not None
        assert number not in pool.numbers


def test_part_of_a_network_and_the_other_family() -> None:
    pool = AddressPool("192.168.50.0/24", first="192.168.50.200", last="192.168.50.201")
    pool.hold("192.168.50.200", "a")
    assert pool.next_free() == "192.168.50.201"
    pool.hold("192.168.50.201", "b")
    assert pool.next_free() is None
    pool.release("192.168.50.200", "b")
    assert pool.next_free() is None
    pool.release("192.168.50.200", "a")
    assert pool.next_free() == "192.168.50.200"
    assert pool.number("fd00::1") is None
    assert pool.number("nonsense") is None
    assert AddressPool("fd00:96::/112").family == "IPv6"
