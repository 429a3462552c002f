"""The name files of pods, as the Kubernetes documentation gives them for each policy."""

from typing import Any

import pytest

from agents.pod_files import ClusterDns, hostname, hosts, node_hosts, resolv_conf

CLUSTER = ClusterDns(("10.96.0.10",))
NODE = "search lan\nnameserver 203.0.113.10\noptions timeout:1\n"


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web-1", "namespace": "shop"}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {},
            [
                "search shop.svc.cluster.local svc.cluster.local cluster.local",
                "nameserver 10.96.0.10",
                "options ndots:5",
            ],
        ),
        ({"dnsPolicy": "Default"}, ["search lan", "nameserver 203.0.113.10", "options timeout:1"]),
        ({"hostNetwork": True}, ["search lan", "nameserver 203.0.113.10", "options timeout:1"]),
        (
            {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"},
            [
                "search shop.svc.cluster.local svc.cluster.local cluster.local",
                "nameserver 10.96.0.10",
                "options ndots:5",
            ],
        ),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"]}}, ["nameserver 192.0.2.1"]),
        (
            {
                "dnsConfig": {
                    "searches": ["corp"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                }
            },
            [
                "search shop.svc.cluster.local svc.cluster.local cluster.local corp",
                "nameserver 10.96.0.10",
                "options ndots:2 edns0",
            ],
        ),
    ],
)
def test_resolv_conf_follows_the_policy(spec: dict[str, Any], expected: list[str]) -> None:
    plain = "nameserver 203.0.113.10\n" if "svc.cluster.local" in expected[0] else NODE
    assert str(resolv_conf(pod(**spec), CLUSTER, plain)).splitlines() == expected


def test_a_pod_takes_over_its_nodes_search_list_after_the_clusters() -> None:
    found = resolv_conf(pod(), CLUSTER, NODE)
    assert found.searches == ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "lan")
    assert found.options == ("ndots:5",)


def test_what_is_given_twice_is_written_once() -> None:
    config = {"nameservers": ["10.96.0.10"], "searches": ["cluster.local"], "options": [{"name": "ndots"}]}
    found = resolv_conf(pod(dnsConfig=config), CLUSTER, "")
    assert (found.servers, len(found.searches), found.options) == (("10.96.0.10",), 3, ("ndots",))


def test_no_more_than_three_name_servers_are_written() -> None:
    config = {"nameservers": ["192.0.2.1", "192.0.2.2", "192.0.2.3"]}
    found = resolv_conf(pod(dnsConfig=config), CLUSTER, "")
    assert found.servers == ("10.96.0.10", "192.0.2.1", "192.0.2.2")
    assert found.omitted == (
        "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
        "10.96.0.10 192.0.2.1 192.0.2.2",
    )


@pytest.mark.parametrize(("searches", "kept"), [(["d" * n for n in range(1, 33)], 29), (["e" * 200] * 1, 1)])
def test_the_search_list_has_limits(searches: list[str], kept: int) -> None:
    found = resolv_conf(pod(dnsConfig={"searches": searches}), CLUSTER, "")
    assert len(found.searches) == 3 + kept
    assert bool(found.omitted) == (kept < len(searches))


def test_the_search_list_fits_its_characters() -> None:
    searches = [f"{number:02}" + "d" * 198 for number in range(10)]
    found = resolv_conf(pod(dnsConfig={"searches": searches}), CLUSTER, "")
    assert len(" ".join(found.searches)) <= 2048
    assert len(found.searches) == 3 + 9
    assert "Search Line limits were exceeded" in found.omitted[0]


def test_hosts_has_every_address_and_the_name_that_a_subdomain_gives() -> None:
    text = hosts(pod(hostname="left", subdomain="hands"), ["10.244.1.2", "fd00:244:0:1::2"], "cluster.local")
    assert "10.244.1.2\tleft.hands.shop.svc.cluster.local\tleft\n" in text
    assert "fd00:244:0:1::2\tleft.hands.shop.svc.cluster.local\tleft\n" in text
    assert hosts(pod(), ["10.244.1.2"], "cluster.local").endswith("10.244.1.2\tweb-1\n")


def test_aliases_come_last_and_a_node_keeps_its_own_lines() -> None:
    aliases = [{"ip": "192.0.2.1", "hostnames": ["one", "two"]}]
    expected = "\n# Entries added by HostAliases.\n192.0.2.1\tone\ttwo\n"
    assert hosts(pod(hostAliases=aliases), ["10.244.1.2"], "cluster.local").endswith(expected)
    text = node_hosts(pod(hostAliases=aliases), "127.0.0.1 localhost\n")
    assert text.splitlines()[1] == "127.0.0.1 localhost"
    assert text.endswith(expected)


def test_a_host_name_is_a_label() -> None:
    assert hostname(pod()) == "web-1"
    long = {"metadata": {"name": "a" * 62 + "-b", "namespace": "shop"}, "spec": {}}
    assert hostname(long) == "a" * 62
