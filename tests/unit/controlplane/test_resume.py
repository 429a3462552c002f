"""A cluster that goes on from a snapshot: nothing of what was said about the present is believed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from controlplane.manager import ControlPlane
from controlplane.meta import condition
from controlplane.resume import renew
from controlplane.store import Snapshot, Store

Obj = dict[str, Any]
Run = Callable[..., None]


def snapshot_of(cluster: Run, scenario: Callable[[Any], Any]) -> Snapshot:
    """What a cluster holds after a scenario."""
    found: list[Snapshot] = []

    async def whole(one: Any) -> None:
        await scenario(one)
        found.append(one.api.store.snapshot())

    cluster(whole)
    return found[0]


def resumed(snapshot: Snapshot) -> ControlPlane:
    control_plane = ControlPlane(store=Store(snapshot=snapshot))
    renew(control_plane.api)
    return control_plane


def test_pods_begin_again_on_their_nodes(
    cluster: Run, deployment: Callable[..., Obj], pod: Callable[..., Obj]
) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(deployment(replicas=2), "default")
        await one.running(2)
        one.api.create(pod("once", restartPolicy="Never"), "default")
        await one.until(lambda: one.api.get("Pod", "once", "default")["status"]["phase"] == "Running")
        await one.until(
            lambda: one.api.get("Deployment", "web", "default")["status"].get("availableReplicas") == 2
        )

    before = snapshot_of(cluster, scenario)
    api = resumed(before).api
    nodes = {
        obj["metadata"]["name"]: obj["spec"]["nodeName"] for kind, obj in before.objects if kind == "Pod"
    }
    for found in api.list("Pod")[0]:
        name, status = found["metadata"]["name"], found["status"]
        assert found["spec"]["nodeName"] == nodes[name]
        if name == "once":
            assert (status["phase"], status["reason"]) == ("Failed", "LabEnded")
            assert (condition(found, "Ready") or {})["status"] == "False"
        else:
            assert status["phase"] == "Pending"
            assert not {"podIP", "podIPs", "containerStatuses", "startTime"} & set(status)
            assert [entry["type"] for entry in status["conditions"]] == ["PodScheduled"]
    assert all(condition(node, "Ready") is None for node in api.list("Node")[0])
    assert "availableReplicas" not in api.get("Deployment", "web", "default")["status"]


def test_addresses_are_not_given_twice(cluster: Run, service: Callable[..., Obj]) -> None:
    async def scenario(one: Any) -> None:
        for number in range(20):
            one.api.create(service(f"s{number}", type="NodePort"), "default")

    control_plane = resumed(snapshot_of(cluster, scenario))
    control_plane.start()
    for number in range(20, 40):
        control_plane.api.create(service(f"s{number}", type="NodePort"), "default")
    services = control_plane.api.list("Service", "default")[0]
    addresses = [entry["spec"]["clusterIP"] for entry in services]
    ports = [port["nodePort"] for entry in services for port in entry["spec"]["ports"] if "nodePort" in port]
    assert len(set(addresses)) == len(addresses) == 41
    assert len(set(ports)) == len(ports) == 40


def test_no_service_leads_to_an_address_of_before(
    cluster: Run, deployment: Callable[..., Obj], service: Callable[..., Obj]
) -> None:
    async def scenario(one: Any) -> None:
        one.api.create(deployment(replicas=2), "default")
        one.api.create(service(), "default")
        await one.running(2)
        await one.until(
            lambda: (
                sum(len(entry["endpoints"]) for entry in one.list("EndpointSlice", label_selector=OF)) == 2
            )
        )

    control_plane = resumed(snapshot_of(cluster, scenario))

    async def go_on() -> None:
        control_plane.start()
        running = asyncio.create_task(control_plane.run())
        end = asyncio.get_running_loop().time() + 10
        while any(
            entry["endpoints"] for entry in control_plane.api.list("EndpointSlice", label_selector=OF)[0]
        ):
            assert asyncio.get_running_loop().time() < end, "the old addresses stay"
            await asyncio.sleep(0.005)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(go_on())


OF = "kubernetes.io/service-name=web"
