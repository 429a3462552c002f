"""Where pods go: resources, host ports, neighbours, spreading, preferences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.meta import condition
from controlplane.scheduling.ledger import Ledger, Needs, requests

Obj = dict[str, Any]
Run = Callable[..., None]
Make = Callable[..., Obj]
APP = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "name"}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def container(**resources: Any) -> Obj:
    return {"name": "c", "image": "nginx", "resources": resources}


def asking(cpu: str, **fields: Any) -> Obj:
    return {**container(requests={"cpu": cpu}), **fields}


def node_of(lab: Any, name: str) -> str:
    return str(lab.api.get("Pod", name, "default")["spec"].get("nodeName", ""))


async def placed(lab: Any, *pods: Obj) -> list[str]:
    """Create pods one after another; where each of them goes."""
    found = []
    for pod in pods:
        name = lab.api.create(pod)["metadata"]["name"]
        await lab.until(lambda name=name: node_of(lab, name))
        found.append(node_of(lab, name))
    return found


async def refused(lab: Any, pod: Obj) -> str:
    """Create a pod that fits nowhere; why."""
    name = lab.api.create(pod)["metadata"]["name"]
    await lab.until(lambda: condition(lab.api.get("Pod", name, "default"), "PodScheduled"))
    return str((condition(lab.api.get("Pod", name, "default"), "PodScheduled") or {})["message"])


def has(lab: Any, node: str, **resources: str) -> None:
    lab.api.update_status("Node", node, "", {"allocatable": {"pods": "100", "memory": "1Gi", **resources}})


def test_what_a_pod_takes() -> None:
    sidecar = {**asking("100m"), "restartPolicy": "Always"}
    spec = {"containers": [asking("200m"), container(limits={"cpu": "1"})], "initContainers": [sidecar]}
    assert float(requests(spec)["cpu"]) == pytest.approx(1.3)
    greedy = {**spec, "initContainers": [sidecar, asking("2")], "overhead": {"cpu": "1"}}
    assert float(requests(greedy)["cpu"]) == pytest.approx(3.1)
    assert requests({"containers": [{"name": "c"}]}) == {}


def test_a_pod_waits_for_room(cluster: Run, pod: Make) -> None:
    async def scenario(lab: Any) -> None:
        has(lab, "worker1", cpu="2")
        has(lab, "worker2", cpu="500m")
        assert await placed(lab, pod("a", containers=[asking("1500m")])) == ["worker1"]
        why = await refused(lab, pod("b", containers=[asking("1")]))
        assert why == "0/2 nodes are available: 2 Insufficient cpu."
        why = await refused(lab, pod("gpu", containers=[container(limits={"example.com/gpu": "1"})]))
        assert "2 Insufficient example.com/gpu" in why
        lab.api.delete("Pod", "a", "default")
        await lab.until(lambda: node_of(lab, "b") == "worker1")

    cluster(scenario)


def test_a_host_port_is_there_once_on_each_node(cluster: Run, pod: Make) -> None:
    def on_port(name: str, **port: Any) -> Obj:
        return pod(
            name, containers=[{"name": "c", "image": "nginx", "ports": [{"containerPort": 80, **port}]}]
        )

    async def scenario(lab: Any) -> None:
        two = await placed(lab, on_port("a", hostPort=8080), on_port("b", hostPort=8080))
        assert sorted(two) == ["worker1", "worker2"]
        why = await refused(lab, on_port("c", hostPort=8080, hostIP="127.0.0.1"))
        assert "2 node(s) didn't have free ports for the requested pod ports" in why
        await placed(lab, on_port("udp", hostPort=8080, protocol="UDP"), on_port("other", hostPort=8081))
        lab.api.delete("Pod", "a", "default")
        await lab.until(lambda: node_of(lab, "c"))

    cluster(scenario)


def test_ports_of_different_addresses_do_not_collide() -> None:
    def on(address: str) -> Obj:
        ports = [{"containerPort": 80, "hostPort": 80, "hostIP": address}]
        return {"spec": {"containers": [{"name": "c", "ports": ports}]}}

    ledger, node = Ledger(), {"metadata": {"name": "n"}}
    ledger.count(on("192.168.50.21"), "n", 1)
    assert not ledger.why_not(Needs.of(on("127.0.0.1")), node)
    assert ledger.why_not(Needs.of(on("0.0.0.0")), node)
    assert ledger.why_not(Needs.of(on("192.168.50.21")), node)
    ledger.count(on("192.168.50.21"), "n", -1)
    assert not ledger.why_not(Needs.of(on("0.0.0.0")), node)


def test_pods_that_want_to_be_apart(cluster: Run, pod: Make) -> None:
    apart = {"podAntiAffinity": {REQUIRED: [APP]}}

    async def scenario(lab: Any) -> None:
        assert sorted(await placed(lab, pod("a", affinity=apart), pod("b", affinity=apart))) == [
            "worker1",
            "worker2",
        ]
        assert "2 node(s) didn't match pod anti-affinity rules" in await refused(
            lab, pod("c", affinity=apart)
        )
        why = await refused(lab, pod("plain"))
        assert "2 node(s) didn't satisfy existing pods anti-affinity rules" in why
        lab.api.delete("Pod", "a", "default")
        await lab.until(lambda: node_of(lab, "c") or node_of(lab, "plain"))

    cluster(scenario)


def test_pods_that_want_to_be_together(cluster: Run, pod: Make) -> None:
    together = {"podAffinity": {REQUIRED: [APP]}}

    async def scenario(lab: Any) -> None:
        first = await placed(lab, pod("first", affinity=together))
        assert (
            await placed(lab, pod("second", affinity=together), pod("third", affinity=together)) == first * 2
        )
        cache = {**APP, "labelSelector": {"matchLabels": {"app": "cache"}}}
        lonely = pod("lonely", affinity={"podAffinity": {REQUIRED: [cache]}})
        assert "2 node(s) didn't match pod affinity rules" in await refused(lab, lonely)
        made = pod("cache", nodeName="worker2")
        made["metadata"]["labels"] = {"app": "cache"}
        lab.api.create(made)
        await lab.until(lambda: node_of(lab, "lonely") == "worker2")

    cluster(scenario)


def test_pods_are_spread_over_domains(cluster: Run, pod: Make) -> None:
    even = [{**APP, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]

    async def scenario(lab: Any) -> None:
        lab.api.create(pod("a", nodeName="worker1"))
        lab.api.create(pod("b", nodeName="worker1"))
        assert await placed(lab, pod("c", topologySpreadConstraints=even)) == ["worker2"]
        lab.api.patch("Node", "worker2", "", {"spec": {"unschedulable": True}})
        lab.api.delete("Pod", "c", "default")
        why = await refused(lab, pod("d", topologySpreadConstraints=even))
        assert "1 node(s) didn't match pod topology spread constraints" in why
        missing = [{**even[0], "topologyKey": "zone"}]
        why = await refused(lab, pod("e", topologySpreadConstraints=missing))
        assert "(missing required label)" in why

    cluster(scenario)


def test_what_is_only_preferred(cluster: Run, pod: Make) -> None:
    def prefers(value: str) -> Obj:
        term = {"matchExpressions": [{"key": "name", "operator": "In", "values": [value]}]}
        return {"nodeAffinity": {PREFERRED: [{"weight": 5, "preference": term}]}}

    async def scenario(lab: Any) -> None:
        found = await placed(lab, *(pod(f"p{n}", affinity=prefers("worker2")) for n in range(3)))
        assert found == ["worker2"] * 3
        near = {"podAffinity": {PREFERRED: [{"weight": 10, "podAffinityTerm": APP}]}}
        far = {"podAntiAffinity": {PREFERRED: [{"weight": 10, "podAffinityTerm": APP}]}}
        assert await placed(lab, pod("near", affinity=near), pod("far", affinity=far)) == [
            "worker2",
            "worker1",
        ]

    cluster(scenario)
