"""What the control plane's tests share: an API with a namespace, and a whole cluster with kubelets that only
pretend.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.informer import Informer
from controlplane.manager import ControlPlane
from controlplane.meta import now, with_condition

Obj = dict[str, Any]
Objects = list[Obj]  # inside Cluster, `list` is the verb
Scenario = Callable[["Cluster"], Awaitable[None]]
DEADLINE = 20.0  # seconds


def make_pod(name: str = "web", **spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "nginx:1.27"}], **spec},
    }


def make_deployment(name: str = "web", replicas: int = 3, image: str = "nginx:1", **spec: Any) -> Obj:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
            **spec,
        },
    }


def make_service(name: str = "web", **spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}], **spec},
    }


class Cluster:
    """A running control plane. Pods become Running and Ready at once, on nodes in `nodes`, unless `ready` is
    False.
    """

    def __init__(self, control_plane: ControlPlane) -> None:
        self.control_plane = control_plane
        self.api = control_plane.api
        self.ready = True
        self.silent: set[str] = set()  # nodes whose kubelet does nothing
        self._addresses = 0
        self.pods = Informer(self.api, "Pod")
        self.pods.on_change(self._kubelet)

    def _kubelet(self, old: Obj | None, new: Obj | None) -> None:
        if new is not None and new["spec"].get("nodeName", "") not in ("", *self.silent):
            asyncio.get_running_loop().call_soon(
                self._act, new["metadata"]["namespace"], new["metadata"]["name"]
            )

    def _act(self, namespace: str, name: str) -> None:
        pod = self.api.find("Pod", name, namespace)
        if pod is None:
            return
        if "deletionTimestamp" in pod["metadata"]:
            self.api.delete("Pod", name, namespace, grace_period=0)
        elif self.ready and pod["status"]["phase"] == "Pending":
            self._addresses += 1
            address = f"10.244.{self._addresses // 250}.{self._addresses % 250 + 2}"
            conditions = with_condition(pod["status"].get("conditions"), "Ready", "True")
            status = {
                "phase": "Running",
                "podIP": address,
                "podIPs": [{"ip": address}],
                "conditions": conditions,
            }
            self.api.update_status("Pod", name, namespace, {**status, "startTime": now()})

    def add_node(self, name: str, **spec: Any) -> None:
        self.api.create(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": {"name": name}},
                "spec": spec,
            }
        )
        self.api.update_status("Node", name, "", {"conditions": with_condition(None, "Ready", "True")})

    def list(self, kind: str, namespace: str = "default", **selectors: str) -> Objects:
        return self.api.list(kind, namespace, **selectors)[0]

    async def until(self, what: Callable[[], Any]) -> Any:
        """The first true value of `what`, within the deadline; a 404 is not yet true."""
        end = asyncio.get_running_loop().time() + DEADLINE
        while True:
            try:
                value = what()
            except StatusError as error:
                if error.code != 404:
                    raise
                value = None
            if value:
                return value
            assert asyncio.get_running_loop().time() < end, "the condition was not met in time"
            await asyncio.sleep(0.002)

    async def running(self, count: int, label: str = "app=web") -> Objects:
        """The pods with the label, once exactly `count` are ready and none is going away."""

        def look() -> Objects | None:
            pods = self.list("Pod", label_selector=label)
            ready = [
                pod
                for pod in pods
                if pod["status"].get("podIP") and "deletionTimestamp" not in pod["metadata"]
            ]
            return pods if len(ready) == len(pods) == count else None

        return await self.until(look)  # type: ignore[no-any-return]


@pytest.fixture
def pod() -> Callable[..., Obj]:
    return make_pod


@pytest.fixture
def deployment() -> Callable[..., Obj]:
    return make_deployment


@pytest.fixture
def service() -> Callable[..., Obj]:
    return make_service


@pytest.fixture
def api() -> API:
    """An API with the namespace `default` and nothing that reacts."""
    api = API()
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    return api


@pytest.fixture
def cluster() -> Callable[..., None]:
    """Runs a scenario against a cluster with two workers (or `nodes`)."""

    def run(scenario: Scenario, *, nodes: tuple[str, ...] = ("worker1", "worker2"), **options: Any) -> None:
        async def main() -> None:
            control_plane = ControlPlane(**options)
            control_plane.start()
            one = Cluster(control_plane)
            for name in nodes:
                one.add_node(name)
            tasks = [asyncio.create_task(control_plane.run()), asyncio.create_task(one.pods.run())]
            try:
                await scenario(one)
                assert not any(task.done() for task in tasks), "a part of the control plane has ended"
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(main())

    return run
