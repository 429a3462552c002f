import re

from netfns.service import render, render_change
from netfns.transactions import ELEMENTS, transactions
from tests.golden.cases import CHANGED, PROXY

RULESET = render(PROXY)


def test_a_small_text_is_one_transaction_and_none_is_none() -> None:
    assert transactions(RULESET) == [RULESET]
    assert transactions("") == []


def test_a_large_text_has_the_same_elements_in_parts() -> None:
    parts = transactions(RULESET, most=1000)
    assert len(parts) > 3
    for line in RULESET.splitlines():
        if " comment " in line and " . " in line and "meta mark" not in line and "@" not in line:
            assert sum(line.strip("\t,") in part for part in parts) == 1
    assert "elements" not in parts[0]


def test_the_first_part_has_every_chain() -> None:
    first = transactions(RULESET, most=1000)[0]
    assert re.findall(r"chain \S+ \{", first) == re.findall(r"chain \S+ \{", RULESET)


def test_what_is_looked_up_first_is_filled_last() -> None:
    parts = "".join(transactions(RULESET, most=1000))
    places = list(dict.fromkeys(re.findall(r"add element ip service (\S+)", parts)))
    assert places.index("endpoints") < places.index("services") < places.index("cluster_ips")


def test_a_long_change_is_cut_between_elements() -> None:
    elements = ", ".join(f"10.96.{n // 250}.{n % 250}" for n in range(2 * ELEMENTS + 1))
    parts = transactions(f"delete element ip service cluster_ips {{ {elements} }}\n", most=100)
    assert len(parts) == 3
    assert ", ".join(part[part.index("{ ") + 2 : -3] for part in parts) == elements


def test_a_change_in_parts_keeps_its_order() -> None:
    change = render_change(PROXY, CHANGED)
    assert "".join(transactions(change, most=200)) == change
