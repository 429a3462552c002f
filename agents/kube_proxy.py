"""kube-proxy: Services and their EndpointSlices become what one node does with packets.

    Service, EndpointSlice --changed--> keys of the services that are touched
                                            |  desired.service: now, and as applied before
                                            |  claims: an address that two Services want is one's alone
                                            v
                            render_change(before, now) --apply--> kernel        (each change)
                            render(all)                --apply--> kernel        (at start, after a failure,
                                            |                                    on resync)
                                            |--stale(before, now)--> connection tracking forgets
                                            `--> the health-check node ports tell the new numbers

How a text comes about and what takes it is the proxy mode's affair (netfns/proxy_mode.py).

Invariant: `applied` is what the kernel holds; when a text was refused nothing of it is there, and
everything is rendered again.

Source: Kubernetes documentation, "Virtual IPs and Service Proxies".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agents import desired
from agents.agent import Agent, Obj
from agents.claims import Claims
from agents.health_check import HealthChecks
from controlplane.api import API
from controlplane.meta import Key, key_of
from netfns import service_flows
from netfns.kernel import Kernel
from netfns.proxy_mode import ProxyMode
from netfns.service_types import Service, ServiceProxy


class KubeProxy(Agent):
    """Keeps one node's Services by one proxy mode; the ranges are the cluster's, one of each family in use.

    `health` serves the node's health-check node ports; without it there are none.
    """

    component = "kube-proxy"

    def __init__(
        self,
        api: API,
        node: str,
        machine: Kernel,
        pod_cidrs: Sequence[str],
        service_cidrs: Sequence[str],
        mode: ProxyMode,
        health: HealthChecks | None = None,
    ) -> None:
        super().__init__(api, node, ["Service", "EndpointSlice", "Node"])
        self.mode = mode  # another one may take its place; it begins with `resync`
        self._carrying: ProxyMode | None = None  # whose rules are in the kernel
        self.applied: dict[Key, Service] = {}
        self._machine = machine
        self._health = health
        self._frame = ServiceProxy(node, (), tuple(pod_cidrs), tuple(service_cidrs))
        self._here = desired.Place(node)
        self._claims = Claims()
        self._said: set[tuple[Key, str]] = set()
        self._touched: set[Key] = set()
        self._rebuild = True
        self._slices = self.informers["EndpointSlice"].index(lambda obj: [desired.service_key(obj)])
        self.informers["Service"].on_change(self._service_changed)
        self.informers["EndpointSlice"].on_change(self._slice_changed)
        self.informers["Node"].on_change(self._node_changed)

    async def run(self) -> None:
        """Work until cancelled; the health-check ports close with the agent."""
        try:
            await super().run()
        finally:
            if self._health is not None:
                self._health.close()

    def resync(self) -> None:
        """Render and load everything again."""
        self._rebuild = True
        super().resync()

    async def rules_changed(self) -> None:
        """Somebody else has changed the node's rules: do everything again if ours are not there any more."""
        families = self._frame.families
        if self.applied and not await asyncio.to_thread(self.mode.intact, self._machine, families):
            self.resync()

    def desired(self) -> ServiceProxy:
        """What the kernel holds now, as the record that it was rendered from."""
        return self._record(self.applied[key] for key in sorted(self.applied))

    async def reconcile(self) -> None:
        """Bring the kernel in line with the services that were touched, or with all of them."""
        rebuild, self._rebuild = self._rebuild, False
        touched, self._touched = self._touched, set()
        rebuild = rebuild or self.mode.render_change is None
        if rebuild:
            touched = {*self.informers["Service"].objects, *self.applied}
        now = self._wanted(touched)
        touched |= set(now)
        before = self._record(self.applied[key] for key in sorted(touched) if key in self.applied)
        wanted = self._record(now[key] for key in sorted(now))
        try:
            await asyncio.to_thread(self._apply, before, wanted, rebuild=rebuild)
        except Exception:
            self._rebuild = True
            raise
        for key in touched:
            self.applied.pop(key, None)
        self.applied.update(now)
        await self._tell_health(touched)

    def _wanted(self, touched: Iterable[Key]) -> dict[Key, Service]:
        """The records of the touched Services as they should be, and of others that win or lose an address."""
        changed = {}
        for key in touched:
            obj = self.informers["Service"].objects.get(key)
            slices = list(self._slices[key].values())
            found = None if obj is None else desired.service(obj, slices, self._here)
            changed[key] = ((obj or {}).get("metadata", {}).get("creationTimestamp", ""), found)
        settled, refused = self._claims.settle(changed)
        for key, loss in refused:
            if (key, loss) not in self._said:
                self._said.add((key, loss))
                self.warn(self.informers["Service"].objects.get(key, self.involved()), loss)
        return {
            key: found for key, found in settled.items() if key in changed or found != self.applied.get(key)
        }

    def _apply(self, before: ServiceProxy, wanted: ServiceProxy, *, rebuild: bool) -> None:
        """Turn the kernel from `before` into `wanted`; on a rebuild, from anything at all."""
        mode = self.mode  # one for all of the step: it may be swapped meanwhile
        if rebuild or mode.render_change is None:
            mode.prepare(self._machine)
            text = mode.render(wanted)
            if mode.render_change is not None and self._carrying not in (None, mode):
                # What another mode has built, this one may not know. A student's text may be refused, and then
                # the kernel stays as it was; so theirs has to replace what is there by itself.
                self._carrying.remove(self._machine)
            mode.apply(self._machine, text)
            self._carrying = mode
        elif text := mode.render_change(before, wanted):
            mode.apply(self._machine, text)
        service_flows.forget(self._machine, service_flows.stale(before, wanted))

    async def _tell_health(self, touched: Iterable[Key]) -> None:
        if self._health is None:
            return
        for key in touched:
            port = self.applied[key].health_check_node_port if key in self.applied else 0
            count = desired.local_ready(self._slices[key].values(), self._here) if port else 0
            try:
                await self._health.update(key, port, count)
            except OSError as error:
                self.warn(self.involved(), f"{'/'.join(key)}: healthCheckNodePort {port}: {error.strerror}")

    def _record(self, services: Iterable[Service]) -> ServiceProxy:
        return replace(self._frame, services=tuple(services))

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
        if here != self._here:  # its zone decides about endpoints, and about nothing else
            self._here = here
            self._touched |= set(self.informers["Service"].objects)
            self.changed()
        if addresses != self._frame.node_addresses:
            self._frame = replace(self._frame, node_addresses=addresses)
            self._claims.node_addresses = addresses
            self.resync()
