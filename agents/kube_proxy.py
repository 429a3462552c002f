"""kube-proxy: Services and their EndpointSlices become the elements of one node's service NAT.

    Service, EndpointSlice --changed--> keys of the services that are touched
                                            |  desired.service: now, and as applied before
                                            v
                            render_change(before, now) --apply--> kernel        (each change)
                            render(all)                --apply--> kernel        (at start, after a failure,
                            on resync)

How a text comes about and what takes it is the proxy mode's affair (netfns/proxy_mode.py).

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
from netfns.kernel import Kernel
from netfns.proxy_mode import ProxyMode
from netfns.service_types import Service, ServiceProxy


class KubeProxy(Agent):
    """Keeps one node's Services by one proxy mode; the ranges are the cluster's, one of each family in use."""

    component = "kube-proxy"

    def __init__(
        self,
        api: API,
        node: str,
        machine: Kernel,
        pod_cidrs: Sequence[str],
        service_cidrs: Sequence[str],
        mode: ProxyMode,
    ) -> None:
        super().__init__(api, node, ["Service", "EndpointSlice", "Node"])
        self.mode = mode
        self.applied: dict[Key, Service] = {}
        self._machine = machine
        self._frame = ServiceProxy(node, (), tuple(pod_cidrs), tuple(service_cidrs))
        self._here = desired.Place(node)
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
        rebuild = rebuild or self.mode.render_change is None
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
        if held is None or self.mode.render_change is None:
            self.mode.prepare(self._machine)
            self.mode.apply(self._machine, self.mode.render(wanted))
        else:
            self.mode.apply(self._machine, self.mode.render_change(held, wanted))

    def _translate(self, key: Key) -> Service | None:
        obj = self.informers["Service"].objects.get(key)
        return None if obj is None else desired.service(obj, list(self._slices[key].values()), self._here)

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
        addresses, here = desired.node_addresses(new), desired.place(new, self.node)
        if (addresses, here) != (self._frame.node_addresses, self._here):
            self._frame, self._here = replace(self._frame, node_addresses=addresses), here
            self.resync()
