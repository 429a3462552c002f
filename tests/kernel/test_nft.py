"""The same texts, by nft and by topo.nft, leave the same ruleset and are refused alike."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.golden.cases import FOLDER
from tests.kernel.cluster import REPOSITORY, Machine, Sandbox, new_machine

pytestmark = pytest.mark.kernel
TABLES = """
table inet t {
    set v4 { type ipv4_addr; }
    set v6 { type ipv6_addr; }
    set ports { type ipv4_addr . inet_proto . inet_service; }
    set ports6 { type ipv6_addr . inet_proto . inet_service . mark; }
    set ranges { type inet_service; flags interval; }
    map verdicts { type ipv6_addr : verdict; }
    map marks { type inet_proto . inet_service : mark; }
    map targets { type ipv4_addr . mark : ipv4_addr . inet_service; }
    chain a/b.c-d { counter; }
}
table ip u { set v4 { type ipv4_addr; }
}
"""
ELEMENTS = """add element inet t v4 { 10.0.0.1 comment "x/a", 10.0.0.2 }
add element inet t v6 { fd00::1 comment "x/a: b" }
add element inet t ports { 10.0.0.1 . tcp . 80 comment "x/a", 10.0.0.1 . sctp . 65535 }
add element inet t ports6 { fd00::1 . udp . 53 . 0x00010000 }
add element inet t verdicts { fd00::1 comment "x/a" : jump a/b.c-d, fd00::2 : goto a/b.c-d, fd00::3 : drop }
add element inet t marks { tcp . 80 : 3, udp . 53 comment "dns" : 0x10 }
add element inet t targets { 10.0.0.1 . 2 comment "x/a" : 10.244.1.2 . 8080 }
add element ip u v4 { 10.0.0.9 }
delete element inet t v4 { 10.0.0.2 }; add element inet t v4 { 10.0.0.2 comment "x/b" }
delete element inet t verdicts { fd00::2 }
"""
MANY = (
    "add element inet t v4 { "
    + ", ".join(f'10.1.{n // 250}.{n % 250} comment "x/p{n}"' for n in range(1000))
    + " }\n"
)


def left_by(sandbox: Sandbox, way: str, texts: Sequence[str], name: str = "") -> dict[str, Any]:
    machine: Machine = new_machine(sandbox, name or way)
    script = Path(__file__).with_name("nft_state.py")
    argv = ["env", f"PYTHONPATH={REPOSITORY}", sys.executable, str(script), way]
    found: dict[str, Any] = json.loads(machine.run(argv, json.dumps(list(texts))))
    return found


def both(texts: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    sandbox = Sandbox()
    try:
        return left_by(sandbox, "nft", texts), left_by(sandbox, "topo", texts)
    finally:
        sandbox.close()


def test_both_ways_leave_the_same_and_elements_go_by_raw_netlink() -> None:
    expected, found = both([TABLES, ELEMENTS, MANY])
    assert found["results"] == [[0, ""]] * 3
    assert found["fast"] == 2
    assert found["ruleset"] == expected["ruleset"]
    assert "jump a/b.c-d" in found["ruleset"]


@pytest.mark.parametrize(
    "names", [["service.nft", "service-change.nft"], ["policy.nft", "policy-change.nft"]]
)
def test_golden_texts_leave_the_same(names: list[str]) -> None:
    texts = [(FOLDER / name).read_text() for name in names]
    expected, found = both(texts)
    assert [status for status, _ in found["results"]] == [0] * len(texts)
    assert found["ruleset"] == expected["ruleset"]


@pytest.mark.parametrize(
    "text",
    [
        "add element inet t ranges { 80-90 }\n",
        "add rule inet t a/b.c-d accept\n",
        "add element inet t v4 { 10.0.0.5 }\nadd rule inet t a/b.c-d accept\n",
    ],
)
def test_what_raw_netlink_does_not_know_is_nfts(text: str) -> None:
    expected, found = both([TABLES, text])
    assert found["results"] == [[0, ""], [0, ""]]
    assert found["fast"] == 0
    assert found["ruleset"] == expected["ruleset"]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("delete element inet t v4 { 10.0.0.7 }\n", "No such file"),
        ("add element inet t v4 { 10.0.0.300 }\n", "Error"),
        ("add element inet t nowhere { 10.0.0.3 }\n", "No such file"),
        ("add element inet t verdicts { fd00::1 : jump nowhere }\n", "Error"),
        ("add element inet t v4 { 10.0.0.8 }\ndelete element inet t v4 { 10.0.0.7 }\n", "No such file"),
    ],
)
def test_what_is_refused_leaves_nothing_and_is_told_in_nfts_words(text: str, fact: str) -> None:
    expected, found = both([TABLES, text])
    assert found["results"][1][0] == expected["results"][1][0] == 1
    assert fact in found["results"][1][1]
    assert found["ruleset"] == expected["ruleset"]


def test_a_set_that_was_made_anew_with_another_type_is_looked_at_again() -> None:
    again = "delete set inet t v4\nadd set inet t v4 { type ipv6_addr; }\n"
    texts = [TABLES, "add element inet t v4 { 10.0.0.1 }\n", again, "add element inet t v4 { fd00::9 }\n"]
    expected, found = both(texts)
    assert [status for status, _ in found["results"]] == [0] * 4
    assert found["ruleset"] == expected["ruleset"]


def test_what_others_change_is_told_apart_from_our_own_texts() -> None:
    """Texts that are taken in both ways, that are refused, and that change nothing."""
    refused, nothing = "delete element inet t v4 { 10.0.0.7 }\n", "add element inet t v4 { 10.0.0.1 }\n"
    _, found = both([TABLES, ELEMENTS, refused, nothing, "add rule inet t a/b.c-d accept\n"])
    assert [status for status, _ in found["results"]] == [0, 0, 1, 0, 0]
    assert found["elsewhere"] == [False, True, False]
