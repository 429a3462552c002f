import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfns.ipam import IpamError, allocate, new_pool, release

DUAL = ("10.244.1.0/24", "fd00:244:0:1::/64")


def test_first_pod_gets_the_first_address_after_the_gateway_in_both_families() -> None:
    pool = allocate(new_pool(DUAL), "uid-1")
    assert pool.addresses("uid-1") == ("10.244.1.2", "fd00:244:0:1::2")


def test_last_address_is_the_one_before_broadcast() -> None:
    pool = new_pool(DUAL)
    for number in range(253):
        pool = allocate(pool, f"uid-{number}")
    assert pool.addresses("uid-252")[0] == "10.244.1.254"


def test_a_freed_address_is_not_used_while_another_is_free() -> None:
    pool = new_pool(("10.244.1.0/24",))
    given_out: list[str] = []
    for number in range(253):
        pool = allocate(pool, f"uid-{number}")
        given_out += pool.addresses(f"uid-{number}")
        pool = release(pool, f"uid-{number}")
    assert len(set(given_out)) == 253


def test_exhaustion_says_so() -> None:
    pool = new_pool(("10.244.1.0/29",))
    for number in range(5):
        pool = allocate(pool, f"uid-{number}")
    with pytest.raises(IpamError, match=r"no free address in 10\.244\.1\.0/29"):
        allocate(pool, "uid-5")


def test_asking_twice_gives_the_same() -> None:
    pool = allocate(new_pool(DUAL), "uid-1")
    assert allocate(pool, "uid-1") == pool


def test_a_stranger_releases_nothing() -> None:
    assert release(new_pool(DUAL), "uid-1") == new_pool(DUAL)


@pytest.mark.parametrize(
    "cidrs", [(), ("10.244.1.0/31",), ("10.244.1.1/24",), ("pods",), (*DUAL, "10.0.0.0/31")]
)
def test_unusable_ranges(cidrs: tuple[str, ...]) -> None:
    with pytest.raises(IpamError, match="ipam: "):
        new_pool(cidrs)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_no_address_has_two_owners(steps: list[tuple[bool, int]]) -> None:
    pool = new_pool(("10.244.1.0/28",))
    for give, owner in steps:
        pool = allocate(pool, str(owner)) if give else release(pool, str(owner))
        taken = [pool.addresses(name)[0] for name in pool.owners]
        assert len(set(taken)) == len(taken)
        assert len(pool.free) + len(taken) == 13
