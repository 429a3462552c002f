"""kube-proxy: Services and their EndpointSlices become the elements of one node's service NAT.

    Service, EndpointSlice --changed--> keys of the services that are touched
                                            |  desired.service: now, and as applied before
                                            v
                            render_change(before, now) --apply--> kernel        (each change)
                            render(all)                --apply--> kernel        (at start, after a failure,
                            on resync)

Invariant: `applied` is what the kernel holds; when a text was refused nothing of it is there, and
everything is rendered again.

Source: Kubernetes documentation, "Virtual IPs and Service Proxies".
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from agents import desired
from agents.agent import Agent, Obj
from controlplane.api import API
from controlplane.meta import Key, key_of
from netfns import service
from netfns.kernel import Kernel
from netfns.service_types import Service, ServiceProxy


class KubeProxy(Agent):
    """Keeps one node's service NAT; the ranges are the cluster's, one of each family in use."""

    component = "kube-proxy"

    def __init__(
        self, api: API, node: str, machine: Kernel, pod_cidrs: Sequence[str], service_cidrs: Sequence[str]
    ) -> None:
        super().__init__(api, node, ["Service", "EndpointSlice", "Node"])
        self.applied: dict[Key, Service] = {}
        self._machine = machine
        self._frame = ServiceProxy(node, (), tuple(pod_cidrs), tuple(service_cidrs))
        self._touched: set[Key] = set()
        self._rebuild = True
        self._slices = self.informers["EndpointSlice"].index(lambda obj: [desired.service_key(obj)])
        self.informers["Service"].on_change(self._service_changed)
        self.informers["EndpointSlice"].on_change(self._slice_changed)
        self.informers["Node"].on_change(self._node_changed)

    def resync(self) -> None:
        """Render and load everything again."""
        self._rebuild = True
        super().resync()

    def desired(self) -> ServiceProxy:
        """What the kernel holds now, as the record that it was rendered from."""
        return replace(self._frame, services=tuple(self.applied[key] for key in sorted(self.applied)))

    async def reconcile(self) -> None:
        """Bring the kernel in line with the services that were touched, or with all of them."""
        rebuild, self._rebuild = self._rebuild, False
        touched, self._touched = self._touched, set()
        if rebuild:
            touched = {*self.informers["Service"].objects, *self.applied}
        now = {key: found for key in sorted(touched) if (found := self._translate(key)) is not None}
        before = [self.applied[key] for key in sorted(touched) if key in self.applied]
        wanted = replace(self._frame, services=tuple(now.values()))
        held = None if rebuild else replace(self._frame, services=tuple(before))
        try:
            await asyncio.to_thread(self._apply, held, wanted)
        except Exception:
            self._rebuild = True
            raise
        for key in touched:
            self.applied.pop(key, None)
        self.applied.update(now)

    def _apply(self, held: ServiceProxy | None, wanted: ServiceProxy) -> None:
        """Turn the kernel from `held` into `wanted`; from anything at all when that is None."""
        if held is None:
            service.prepare(self._machine)
            service.apply(self._machine, service.render(wanted))
        else:
            service.apply(self._machine, service.render_change(held, wanted))

    def _translate(self, key: Key) -> Service | None:
        obj = self.informers["Service"].objects.get(key)
        return None if obj is None else desired.service(obj, list(self._slices[key].values()))

    def _service_changed(self, old: Obj | None, new: Obj | None) -> None:
        self._touch(key_of(new or old or {}))

    def _slice_changed(self, old: Obj | None, new: Obj | None) -> None:
        for obj in (old, new):
            if obj is not None:
                self._touch(desired.service_key(obj))

    def _touch(self, key: Key) -> None:
        self._touched.add(key)
        self.changed()

    def _node_changed(self, _: Obj | None, new: Obj | None) -> None:
        if new is None or new["metadata"]["name"] != self.node:
            return
        addresses = desired.node_addresses(new)
        if addresses != self._frame.node_addresses:
            self._frame = replace(self._frame, node_addresses=addresses)
            self.resync()
