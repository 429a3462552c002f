"""The cloud's part of a Service of type LoadBalancer: an address out of a pool, and HAProxy that serves it.

    Service type LoadBalancer --assign--> an address of the pool --status patch--> status.loadBalancer.ingress
                       |
    Node objects ------+--desired.frontends--> Balancer --render--> haproxy.cfg --reload--> HAProxy on lb1

Services with a `loadBalancerClass` are someone else's. The API's own address is one more frontend, always
there.

Invariants: no two Services have the same address, and one keeps its own while it lives; the status names
an address only once HAProxy was told of it.

Sources: Kubernetes, "Service", type LoadBalancer and loadBalancerClass; KEP-1860 (ipMode: the balancer is
a proxy).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

from agents import desired
from agents.agent import Agent, Obj
from agents.daemon import Daemon, Spawner
from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.meta import Key, key_of
from netfns import balancer
from netfns.balancer import Balancer, Frontend

START_WAIT = 10.0  # seconds for HAProxy to answer after its start


class LoadBalancerAgent(Agent):
    """Keeps HAProxy on one machine. `pool` are the addresses to give out, `folder` a place for its files.

    `fixed` are frontends that are no Service's, such as the API's own address.
    """

    component = "load-balancer"

    def __init__(
        self,
        api: API,
        node: str,
        machine: Spawner,
        pool: Sequence[str],
        folder: Path,
        fixed: Sequence[Frontend] = (),
    ) -> None:
        super().__init__(api, node, ["Service", "Node"])
        self._machine = machine
        self._pool = tuple(pool)
        self._fixed = tuple(fixed)
        self._configuration = folder / "haproxy.cfg"
        self._socket = folder / "haproxy.sock"
        self._applied: Balancer | None = None
        argv = ["haproxy", "-W", "-db", "-f", str(self._configuration)]
        self._haproxy = Daemon(machine, argv, folder / "haproxy.log", self._haproxy_ended)
        self._running: asyncio.Task[None] | None = None
        self._said: set[tuple[str, str]] = set()
        for informer in self.informers.values():
            informer.on_change(self.changed)

    async def run(self) -> None:
        """Work until cancelled; HAProxy ends with the agent."""
        try:
            await super().run()
        finally:
            if self._running is not None:
                self._running.cancel()
                await asyncio.gather(self._running, return_exceptions=True)

    def resync(self) -> None:
        """Write, load and tell everything again."""
        self._applied = None
        super().resync()

    async def reconcile(self) -> None:
        """Bring HAProxy in line with the Services, then their status with HAProxy."""
        services = [obj for obj in self.objects("Service") if desired.is_balanced(obj)]
        given = desired.assign(services, self._pool)
        frontends = desired.frontends(services, given, self.objects("Node"))
        wanted = Balancer(str(self._socket), (*self._fixed, *frontends))
        if wanted != self._applied:
            self._applied = wanted
            try:
                await self._apply(wanted)
            except Exception:
                self._applied = None
                raise
        self._tell(services, given)

    async def _apply(self, wanted: Balancer) -> None:
        text = balancer.render(wanted)
        await asyncio.to_thread(balancer.check, self._machine, text)
        await asyncio.to_thread(balancer.add_addresses, self._machine, wanted)
        self._configuration.write_text(text)
        if self._running is None:
            self._running = asyncio.create_task(self._haproxy.run())
        else:
            await self._answering()  # a master that still starts would die of the signal
            self._haproxy.signal(signal.SIGUSR2)
        await self._answering()
        await asyncio.to_thread(balancer.remove_addresses, self._machine, wanted)

    async def _answering(self) -> None:
        """Wait until HAProxy's runtime socket takes a connection. Raises TimeoutError."""
        async with asyncio.timeout(START_WAIT):
            while True:
                try:
                    _, writer = await asyncio.open_unix_connection(self._socket)
                except (FileNotFoundError, ConnectionRefusedError):
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                return

    def _tell(self, services: Sequence[Obj], given: dict[Key, str]) -> None:
        """Write each Service's address into its status, and take it out of those that ask for none any
        more.
        """
        for obj in services:
            address = given.get(key_of(obj))
            if address is None:
                asked = obj["spec"].get("loadBalancerIP") or "any address"
                advice = "delete another Service of type LoadBalancer, or ask for another address"
                self._warn_once(obj, f"loadBalancerIP: {asked}: not free in the pool: {advice}")
                continue
            for port in obj["spec"].get("ports") or ():
                if port.get("protocol", "TCP") != "TCP":
                    name = f"port {port['port']}/{port['protocol']}"
                    self._warn_once(obj, f"{name}: HAProxy balances TCP only: use the node port")
            self._write_status(obj, [{"ip": address, "ipMode": "Proxy"}])
        for obj in self.objects("Service"):
            if obj["spec"].get("type") != "LoadBalancer" and desired.ingress_address(obj):
                self._write_status(obj, None)

    def _write_status(self, obj: Obj, ingress: list[Obj] | None) -> None:
        metadata, status = obj["metadata"], {"loadBalancer": {"ingress": ingress}}
        try:
            self.api.update_status("Service", metadata["name"], metadata["namespace"], status)
        except StatusError as error:
            if error.code != 404:  # deleted meanwhile: its watch event is on its way
                raise

    def _warn_once(self, obj: Obj, message: str) -> None:
        """Record an event, but not again at every step for the same object."""
        said = (obj["metadata"]["uid"], message)
        if said not in self._said:
            self._said.add(said)
            self.warn(obj, message)

    def _haproxy_ended(self, status: int) -> None:
        self.warn(self.involved(), f"{self.node}: haproxy ended with status {status}: it is started again")
