from itertools import combinations

from netfns import marks
from netfns.service import render
from tests.golden.cases import PROXY

PLAN = {name: value for name, value in vars(marks).items() if name.isupper()}


def test_no_two_functions_share_a_bit() -> None:
    assert set(PLAN) == {"ENDPOINT", "MASQUERADE", "POLICY", "TRACE"}
    assert all(one & other == 0 for one, other in combinations(PLAN.values(), 2))


def test_the_packets_mark_is_written_through_a_mask_only() -> None:
    writes = [line for line in render(PROXY).splitlines() if "meta mark set" in line]
    others = f"0x{marks.MASQUERADE ^ 0xFFFFFFFF:08x}"
    assert writes
    assert all(
        f"meta mark | 0x{marks.MASQUERADE:08x}" in line or f"meta mark & {others}" in line for line in writes
    )
