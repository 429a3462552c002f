"""A student's text is loaded by somebody with rights: what it may say, and what is refused."""

from pathlib import Path

import pytest

from agents import vetting
from agents.vetting import VettingError

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
PODS = ("10.244.0.0/16", "fd00:244::/56")


@pytest.mark.parametrize("name", ["service.nft", "service-change.nft"])
def test_what_the_reference_writes_passes(name: str) -> None:
    vetting.ruleset((GOLDEN / name).read_text(), "service")


def test_what_the_reference_writes_for_the_tunnel_passes() -> None:
    vetting.links((GOLDEN / "overlay.ip").read_text(), "vxlan0", PODS)
    vetting.forwarding((GOLDEN / "overlay.bridge").read_text(), "vxlan0")


@pytest.mark.parametrize(
    "text",
    [
        "add table ip service\ndelete table ip service\nadd element ip service m { 1 : 2 }",
        "table ip service \\\n{ }",
        'table ip6 service { chain a { log prefix "include, define, $x; }" } } # flush ruleset',
        "table ip service { chain a { } }; flush chain ip service a",
    ],
)
def test_own_tables_pass(text: str) -> None:
    vetting.ruleset(text, "service")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('include "/etc/shadow"', "include"),
        ('table ip service {\n include "/etc/shadow"\n}', "line 2: include"),
        ('table ip service { # "\n include "/etc/shadow"\n}', "line 2: include"),
        ('1include "/etc/shadow"', "include"),
        ('in\\\nclude "/etc/shadow"', "not understood"),
        ("define t = filter\nflush table ip $t", "define"),
        ("table ip service { chain x { ip saddr $y accept } }", "\\$"),
        ("flush ruleset", "flush ruleset"),
        ("delete table ip masquerading", "masquerading"),
        ("table ip policy { }", "table ip policy"),
        ("table inet service { }", "inet"),
        ("table service { }", "table service"),
        ("delete table ip handle 3", "handle"),
        ("add rule ip service x accept; flush table ip filter", "flush table ip filter"),
        ("table ip service { } table ip other { }", "other"),
        ("table ip service { } }", "closes nothing"),
        ("table ip service {", "not closed"),
        ("list ruleset", "list ruleset"),
        ("table ip service { }\0", "ASCII"),
        ("table ip service { }\r", "ASCII"),
        ("reset counters", "reset"),
    ],
)
def test_everything_else_is_refused(text: str, why: str) -> None:
    with pytest.raises(VettingError, match=why):
        vetting.ruleset(text, "service")


@pytest.mark.parametrize(
    "line",
    [
        "netns exec x sh -c id",
        "link set eth0 down",
        "link del cni0",
        "link add vxlan0 type veth peer name x",
        "link add vxlan0 type vxlan id 1 master cni0",
        "link set vxlan0 netns 1",
        "link set vxlan0 name eth0",
        "address replace 10.0.0.1/32 dev eth0",
        "address replace 10.0.0.1/32 dev vxlan0 dev eth0",
        "route replace default via 10.244.2.0 dev vxlan0",
        "route replace 0.0.0.0/0 via 10.244.2.0 dev vxlan0",
        "route replace 192.168.50.0/24 via 10.244.2.0 dev vxlan0",
        "route replace 10.244.2.0/24 dev eth0",
        "route flush table main",
        "rule add from all lookup 5",
        "neigh replace 10.244.2.0 lladdr 02:00:00:00:00:01 dev eth0",
        "link add vxlan0 type vxlan id 1 $(id)",
    ],
)
def test_other_devices_and_routes_are_refused(line: str) -> None:
    with pytest.raises(VettingError, match="line 2"):
        vetting.links(f"link set vxlan0 up\n{line}\n", "vxlan0", PODS)


def test_a_route_by_the_nodes_own_network_passes() -> None:
    vetting.links("route replace 10.244.2.0/24 via 192.168.50.22\n", "vxlan0", PODS)


@pytest.mark.parametrize(
    "line", ["fdb append 02:00:00:00:00:01 dev cni0", "link set dev cni0 learning on", "vlan add"]
)
def test_other_bridges_are_refused(line: str) -> None:
    with pytest.raises(VettingError, match="line 1"):
        vetting.forwarding(line, "vxlan0")


def test_endless_text_is_refused() -> None:
    with pytest.raises(VettingError, match="at most"):
        vetting.ruleset("#" * (vetting.MOST + 1), "service")
