"""The same texts, by nft and by topo.nft, leave the same ruleset and are refused alike."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.node_rules import NodeRules
from bench.support.policing import NODE, index_of
from netfns.policy import PART, render, render_change
from netfns.policy_rules import PolicyRules
from netfns.transactions import transactions
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
    chain hooked { type filter hook input priority 0; }
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
# One line of each form that a change of policies is written in; what others there are is in the golden texts.
RULES = """add set inet t peers4-1 { type ipv4_addr; comment "app=a in x; app=b; {}"; }
add set inet t peers6-1 { type ipv6_addr; }
add set inet t named4-1 { type ipv4_addr . inet_proto . inet_service; comment "http/TCP of x"; }
add set inet t named6-1 { type ipv6_addr . inet_proto . inet_service; comment "http/TCP of x"; }
add map inet t gates { type ipv4_addr : verdict; comment "isolated"; }
add chain inet t from-1 { comment "app=a in x; app=b"; }
add chain inet t gate { comment "x/a, x/b"; }
add chain inet t gone { comment "x/c"; }
add element inet t peers4-1 { 10.0.0.1 comment "x/p" }
add element inet t named6-1 { fd00::1 . tcp . 80 comment "x/p" }
flush chain inet t from-1; add rule inet t from-1 ip saddr @peers4-1 accept; add rule inet t from-1 accept
add rule inet t from-1 ip6 saddr @peers6-1 goto a/b.c-d
add rule inet t from-1 ip saddr { 10.0.0.9 } accept
add rule inet t from-1 ip saddr { 10.0.0.0-10.0.0.6 } accept
add rule inet t from-1 ip saddr { 10.0.0.0-10.0.0.255 } accept
add rule inet t from-1 ip saddr { 0.0.0.0-255.255.255.255 } accept
add rule inet t from-1 ip saddr { 10.0.0.1, 10.0.0.3 } accept
add rule inet t from-1 ip daddr { 10.0.0.0-10.0.0.7, 10.0.0.9, 10.0.1.0-10.0.1.6 } goto a/b.c-d
add rule inet t from-1 ip saddr { 0.0.0.0-9.255.255.255, 11.0.0.0-255.255.255.255 } accept
add rule inet t from-1 ip6 saddr { fd00:: } accept
add rule inet t from-1 ip6 daddr { ::-fd00::ffff, fd00::1:5, fe80::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff } accept
add rule inet t gate tcp dport vmap { 53 : goto a/b.c-d }
add rule inet t gate udp dport vmap { 0 : accept, 443 : accept, 8080 : jump from-1, 65535 : drop }
add rule inet t gate sctp dport vmap { 80 : accept, 5000-5010 : jump from-1 }
add rule inet t gate tcp dport vmap { 80 : accept, 81-90 : jump from-1, 91 : drop, 100-65535 : accept }
add rule inet t gate tcp dport vmap { 0-79 : jump from-1, 80 : accept }
add rule inet t gate ip daddr . meta l4proto . th dport @named4-1 goto a/b.c-d
add rule inet t gate ip6 daddr . meta l4proto . th dport @named6-1 goto a/b.c-d
add rule inet t gate jump from-1
add rule inet t gate counter drop comment "x/a, x/b"
add element inet t gates { 10.0.0.4 comment "x/p" : jump gate }
"""
CHANGES = """flush chain inet t from-1; add rule inet t from-1 accept
delete element inet t gates { 10.0.0.4 }; add element inet t gates { 10.0.0.4 comment "x/p" : jump from-1 }
flush chain inet t gone
delete chain inet t gone
delete set inet t peers6-1
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


def test_rules_of_policies_go_by_raw_netlink_and_leave_the_same() -> None:
    expected, found = both([TABLES, RULES, CHANGES])
    assert expected["results"] == found["results"] == [[0, ""]] * 3
    assert found["fast"] == 2
    assert found["ruleset"] == expected["ruleset"]
    assert 'comment "app=a in x; app=b; {}"' in found["ruleset"]


def test_many_policies_are_loaded_and_taken_away_by_raw_netlink() -> None:
    rules = NodeRules(NODE, index_of(60)).everything()
    empty = render(PolicyRules())
    loaded = transactions(render_change(PolicyRules(), rules), PART)
    removed = transactions(render_change(rules, PolicyRules()), PART)
    for texts in ([empty, *loaded], [empty, *loaded, *removed]):
        expected, found = both(texts)
        assert expected["results"] == found["results"] == [[0, ""]] * len(texts)
        assert found["fast"] == len(texts) - 1
        assert unordered(found["ruleset"]) == unordered(expected["ruleset"])


def unordered(ruleset: str) -> list[str]:
    """The lines; those in braces in the order of their text, which is the kernel's otherwise."""
    return [" ".join(sorted(line.replace(",", " ").split())) for line in ruleset.splitlines()]


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
        "add rule inet t a/b.c-d ct state new accept\n",
        "add rule inet t a/b.c-d counter drop; add rule inet t a/b.c-d tcp dport 80 accept\n",
        "add element inet t v4 { 10.0.0.5 }\nadd rule inet t a/b.c-d log\n",
        "add chain ip u c\nadd rule ip u c ip saddr @v4 accept\n",
        "add rule inet t a/b.c-d ip saddr { 10.0.0.0/8 } accept\n",
        'add rule inet t a/b.c-d counter drop comment "x; y"\n',
        "add rule inet t a/b.c-d ip saddr { 10.0.0.4, 10.0.0.1-10.0.0.3 } accept\n",
        "add rule inet t a/b.c-d tcp dport vmap { http : accept }\n",
        "add chain inet t b { type filter hook input priority 0; policy accept; }\n",
        "add set inet t s { type inet_service; flags interval; }\n",
        "add map inet t m { type inet_service : ipv4_addr; }\n",
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
        ("add rule inet t nowhere accept\n", "No such file"),
        ("add rule inet t a/b.c-d ip saddr @nowhere accept\n", "No such file"),
        ("add rule inet t a/b.c-d ip saddr @v6 accept\n", "Error"),
        ("add rule inet t a/b.c-d jump hooked\nadd rule inet t hooked jump a/b.c-d\n", "Error"),
        ("add rule inet t hooked jump a/b.c-d\ndelete chain inet t a/b.c-d\n", "busy"),
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
