"""Explanations without a lab: dumps taken apart, wanted beside held, conntrack's lines."""

from typing import Any

import pytest

from labs.explain import EXPLAINERS, explain
from labs.explain.connections import _read
from labs.explain.network_policy import _of_policy
from labs.explain.ruleset import Item, items, of_owner
from labs.explain.story import Story, compared
from netfns import service
from tests.golden.cases import FOLDER, PROXY

KERNEL = """\
table ip service {
	map pickers {
		type mark : verdict
		elements = { 0x00000001 : goto pick-1, 0x00000002 : goto pick-2 }
	}

	map services {
		type ipv4_addr . inet_proto . inet_service : mark
		elements = { 10.96.0.20 . tcp . 80 comment "default/web:http" : 0x00000002,
			10.96.0.21 . tcp . 80 comment "default/web-two:a, b" : 0x0000000a }
	}

	chain reject-now {
		type filter hook input priority filter; policy accept;
		counter packets 3 bytes 180 reject with tcp reset
	}
}
"""
IPTABLES = """\
*nat
:KUBE-SERVICES - [0:0]
-A KUBE-SERVICES -d 10.96.0.20/32 -p tcp -m comment --comment "default/web:http cluster IP" -j KUBE-SVC-ABC
COMMIT
"""


def test_a_kernels_dump_is_taken_apart_into_one_form() -> None:
    found = items(KERNEL)
    assert [str(item) for item in found] == [
        "ip service pickers: 1 : goto pick-1",
        "ip service pickers: 2 : goto pick-2",
        'ip service services: 10.96.0.20 . tcp . 80 comment "default/web:http" : 2',
        'ip service services: 10.96.0.21 . tcp . 80 comment "default/web-two:a, b" : 10',
        "ip service reject-now: reject with tcp reset",
    ]
    assert found[-1].packets == 3


def test_what_is_rendered_is_taken_apart_too() -> None:
    found = items((FOLDER / "service.nft").read_text())
    assert Item("ip service services", '10.96.0.20 . tcp . 80 comment "default/web:http" : 2') in found
    assert {item.place for item in found} >= {
        "ip service pickers",
        "ip6 service endpoints",
        "ip service refuse",
    }


def test_rules_of_iptables_are_items_of_their_chain() -> None:
    (item,) = items(IPTABLES)
    assert item.place == "nat KUBE-SERVICES"
    assert of_owner("default/web")(item)
    assert not of_owner("default/we")(item)


def test_an_owner_is_a_whole_name() -> None:
    belongs = of_owner("default/web")
    assert [belongs(item) for item in items(KERNEL)] == [False, False, True, False, False]


def test_every_element_of_a_service_names_it() -> None:
    """What the explanation of a service leaves out is shared by all: chains and the map of pickers."""
    others = [i for i in items(service.render(PROXY)) if not any(of_owner(n)(i) for n in OWNERS)]
    assert {
        item.place.split()[-1] for item in others if "comment" in item.text and "default/" in item.text
    } == set()


OWNERS = [f"{one.namespace}/{one.name}" for one in PROXY.services]


def test_wanted_and_held_are_laid_side_by_side() -> None:
    step = compared("kernel", "", ["a", "b"], ["b", "c"], "nothing")
    assert step.lines == ("- a", "  b", "+ c")
    assert [row["mark"] for row in step.data] == ["missing", "same", "unwanted"]
    story = Story("Service", "default", "web", "worker1", (step,))
    assert story.differences == story.to_json()["differences"] == 2
    assert "lines that differ: 2" in str(story)
    assert compared("kernel", "", [], [], "nothing").lines == ("  nothing",)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            "tcp      6 119 TIME_WAIT src=10.244.1.4 dst=10.96.1.1 sport=47048 dport=80 "
            "src=10.244.2.2 dst=10.244.1.4 sport=8080 dport=47048 [ASSURED] mark=1 use=1",
            ("tcp", "10.244.1.4:47048", "10.96.1.1:80", "10.244.2.2:8080", "TIME_WAIT", 119),
        ),
        (
            "udp      17 29 src=10.244.1.4 dst=10.96.0.10 sport=40000 dport=53 packets=1 bytes=60 [UNREPLIED] "
            "src=10.244.0.2 dst=10.244.1.4 sport=53 dport=40000 packets=0 bytes=0 mark=1 use=1",
            ("udp", "10.244.1.4:40000", "10.96.0.10:53", "10.244.0.2:53", "no answer yet", 29),
        ),
    ],
)
def test_a_connection_is_read(line: str, wanted: tuple[Any, ...]) -> None:
    found = _read(line)
    assert found is not None
    assert tuple(found.values()) == wanted
    assert _read("conntrack v1.4.7 (conntrack-tools): 1 flow entries have been shown.") is None


def test_a_policys_gates_are_known_by_their_names() -> None:
    belongs = _of_policy("default", "api-only")
    assert belongs(Item("inet network-policy ingress/default/api-only/deny-all", "drop"))
    assert belongs(Item("inet network-policy egress4", "10.244.1.2 : jump egress/default/deny-all/api-only"))
    assert not belongs(Item("inet network-policy ingress/default/api-only-too", "drop"))
    assert not belongs(Item("inet network-policy ingress/other/api-only", "drop"))


def test_every_kind_has_its_module() -> None:
    for module in EXPLAINERS.values():
        assert callable(__import__(module, fromlist=["explain"]).explain)
    assert callable(explain)
