"""Whom one node may choose, as kube-proxy's own rules say it: readiness, terminating pods, hints, locality."""

from typing import Any

import pytest

from agents.desired import all_candidates, cluster_endpoints, local_endpoints, place
from agents.desired.candidates import Place
from netfns.service_types import Endpoint

Obj = dict[str, Any]
HTTP = {"name": "http", "protocol": "TCP", "port": 80}
HERE, ELSEWHERE = Place("worker1", "zone-a"), Place("worker3", "zone-c")
ENDING: Obj = {"ready": False, "serving": True, "terminating": True}
NOT_READY: Obj = {"ready": False, "serving": False, "terminating": False}


def endpoint(
    address: str,
    node: str = "worker1",
    zones: list[str] | None = None,
    nodes: list[str] | None = None,
    **said: Any,
) -> Obj:
    hints = {
        field: [{"name": name} for name in names]
        for field, names in (("forZones", zones), ("forNodes", nodes))
        if names is not None
    }
    return {
        "addresses": [address],
        "conditions": said,
        "nodeName": node,
        **({"hints": hints} if hints else {}),
    }


def endpoint_slice(*endpoints: Obj, port: int = 8080, name: str = "http", protocol: str = "TCP") -> Obj:
    return {"ports": [{"name": name, "protocol": protocol, "port": port}], "endpoints": list(endpoints)}


def chosen(*endpoints: Obj, here: Place = HERE) -> list[str]:
    found = all_candidates(HTTP, [endpoint_slice(*endpoints)])
    return [entry.address for entry in cluster_endpoints(found, here)]


def chosen_locally(*endpoints: Obj, here: Place = HERE) -> list[str]:
    found = all_candidates(HTTP, [endpoint_slice(*endpoints)])
    return [entry.address for entry in local_endpoints(found, here)]


def test_ready_endpoints_of_all_slices_answer() -> None:
    slices = [
        endpoint_slice(endpoint("10.244.1.3", ready=True), endpoint("10.244.1.9", ready=False)),
        endpoint_slice(endpoint("10.244.1.2"), port=9090),
    ]
    found = cluster_endpoints(all_candidates(HTTP, slices), HERE)
    assert found == (Endpoint("10.244.1.2", 9090, "worker1"), Endpoint("10.244.1.3", 8080, "worker1"))


def test_an_endpoint_that_ends_answers_only_while_no_other_is_ready() -> None:
    assert chosen(endpoint("10.244.1.2", **ENDING)) == ["10.244.1.2"]
    assert chosen(endpoint("10.244.1.2", **ENDING), endpoint("10.244.1.3")) == ["10.244.1.3"]
    assert chosen(endpoint("10.244.1.2", **NOT_READY)) == []
    assert chosen(endpoint("10.244.1.2", ready=False, serving=False, terminating=True)) == []


def test_local_counts_this_nodes_endpoints_alone() -> None:
    local, remote = endpoint("10.244.1.2"), endpoint("10.244.2.2", "worker2")
    assert chosen_locally(local, remote) == ["10.244.1.2"]
    assert chosen_locally(remote) == []
    assert chosen_locally(endpoint("10.244.1.4", **ENDING), remote) == ["10.244.1.4"]
    assert chosen_locally(endpoint("10.244.1.4", **ENDING), local) == ["10.244.1.2"]


def test_ports_are_matched_by_name_and_protocol() -> None:
    there = endpoint("10.244.1.2")
    assert all_candidates(HTTP, [endpoint_slice(there, name="metrics")]) == []
    assert all_candidates(HTTP, [endpoint_slice(there, protocol="UDP")]) == []


def test_an_endpoint_in_two_slices_counts_once() -> None:
    found = all_candidates(HTTP, [endpoint_slice(endpoint("10.244.1.2"))] * 2)
    assert len(cluster_endpoints(found, HERE)) == 1


def test_a_slice_of_names_has_no_endpoints() -> None:
    names = {**endpoint_slice(endpoint("db.example.org")), "addressType": "FQDN"}
    assert all_candidates(HTTP, [names]) == []


A, B = endpoint("10.244.1.2", zones=["zone-a"]), endpoint("10.244.2.2", "worker2", zones=["zone-b"])
NODE_A = endpoint("10.244.1.2", zones=["zone-a"], nodes=["worker1"])
NODE_B = endpoint("10.244.2.2", "worker2", zones=["zone-a"], nodes=["worker2"])
HINTS = {
    "the zone's own": ([A, B], HERE, ["10.244.1.2"]),
    "none is for this zone": ([A, B], ELSEWHERE, ["10.244.1.2", "10.244.2.2"]),
    "this node has no zone": ([A, B], Place("worker1"), ["10.244.1.2", "10.244.2.2"]),
    "one has no hint": ([A, B, endpoint("10.244.3.2", "worker3")], HERE, ["10.244.1.2", "10.244.2.2", "10.244.3.2"]),
    "one that is not ready has no hint": ([A, B, endpoint("10.244.3.2", **NOT_READY)], HERE, ["10.244.1.2"]),
    "only one that ends is for this zone": (
        [{**A, "conditions": ENDING}, B], HERE, ["10.244.2.2"]
    ),
    "the node's own before the zone's": ([NODE_A, NODE_B], HERE, ["10.244.1.2"]),
    "no node's own: the zone's": (
        [NODE_A, NODE_B, endpoint("10.244.3.2", zones=["zone-b"], nodes=["worker9"])],
        Place("worker3", "zone-a"),
        ["10.244.1.2", "10.244.2.2"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HINTS.values(), ids=HINTS)
def test_hints(case: tuple[list[Obj], Place, list[str]]) -> None:
    endpoints, here, wanted = case
    assert chosen(*endpoints, here=here) == wanted


def test_hints_do_not_bend_the_policy_local() -> None:
    assert chosen_locally(endpoint("10.244.1.2", zones=["zone-b"])) == ["10.244.1.2"]


def test_a_nodes_zone_is_its_label() -> None:
    node = {"metadata": {"name": "worker1", "labels": {"topology.kubernetes.io/zone": "zone-a"}}}
    assert place(node, "worker1") == HERE
    assert place(None, "worker1") == Place("worker1", "")
