"""The cloud's part of a Service of type LoadBalancer: an address out of a pool, and an engine that serves it.

    Service type LoadBalancer --assign--> an address of the pool --status patch--> status.loadBalancer.ingress
                       |
    Node objects ------+--desired.frontends--> frontends --> the engine of its loadBalancerClass
                                                    (none)                 HAProxy on lb1 (agents/haproxy.py)
                                                    minipod.dev/python     agents/python_balancer.py on lb2

Each engine has an agent of its own, so that one that fails holds nobody up; they share the pool, in which only the
addresses that a failing one may still serve are kept from the other. Services with any other `loadBalancerClass` are
someone else's.

Invariants: no two Services have the same address, and one keeps its own while it lives; no two machines have it
either: one engine's is free for another's once the first has taken it off; the status names an address only once the
engine was told of it.

Sources: Kubernetes, "Service", type LoadBalancer and loadBalancerClass; KEP-1959 (loadBalancerClass); KEP-1860
(ipMode: the balancer is a proxy).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from agents import desired
from agents.agent import Agent, Obj
from agents.daemon import Spawner
from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.meta import key_of
from netfns.balancer_types import Frontend


class Engine(Protocol):
    """What serves frontends on one machine."""

    name: str
    machine: Spawner

    async def apply(self, frontends: Sequence[Frontend]) -> None:
        """Serve these and no others; returns when that is so."""

    async def stop(self) -> None:
        """Serve nothing any more."""


class Pool:
    """The addresses that the agents of all engines give out."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = tuple(addresses)
        self._given: desired.Given = {}
        self._held: dict[str, frozenset[str]] = {}  # class -> what its engine's machine has
        self._waiting: list[Callable[[], None]] = []

    def on_free(self, handler: Callable[[], None]) -> None:
        """`handler` is called whenever addresses have become free for all."""
        self._waiting.append(handler)

    def assign(self, services: Iterable[Obj]) -> desired.Given:
        """The addresses for each Service of every engine; see desired.assign. What was given is kept."""
        held = {address: name for name, addresses in self._held.items() for address in addresses}
        self._given = desired.assign(services, self._addresses, self._given, held)
        return self._given

    def is_to_come(self, load_balancer_class: str, asked: str) -> bool:
        """Whether an address, the one that is asked for or "" for any, is only waited for: no Service has it any more,
        but another class's engine does.
        """
        given = {address for addresses in self._given.values() for address in addresses}
        others = (held for name, held in self._held.items() if name != load_balancer_class)
        left = frozenset[str]().union(*others) - given
        return asked in left if asked else bool(left)

    def take(self, load_balancer_class: str, addresses: Iterable[str]) -> None:
        """A class's engine is about to serve these: from now on they are its own, with those that it has."""
        self._held[load_balancer_class] = self._held.get(load_balancer_class, frozenset()).union(addresses)

    def keep(self, load_balancer_class: str, addresses: Iterable[str]) -> None:
        """A class's engine serves these and no others: what else it had is free."""
        kept = frozenset(addresses)
        freed = self._held.get(load_balancer_class, frozenset()) - kept
        self._held[load_balancer_class] = kept
        if freed:
            for handler in self._waiting:
                handler()


class LoadBalancerAgent(Agent):
    """Keeps one engine in line with the Services of its `load_balancer_class` ("": those that name none)."""

    component = "load-balancer"

    def __init__(self, api: API, engine: Engine, pool: Pool, load_balancer_class: str = "") -> None:
        super().__init__(api, engine.machine.name, ["Service", "Node"])
        self._engine = engine
        self._pool = pool
        self._class = load_balancer_class
        self._applied: list[Frontend] | None = None
        self._said: set[tuple[str, str]] = set()
        for informer in self.informers.values():
            informer.on_change(self.changed)
        pool.on_free(self.changed)

    async def run(self) -> None:
        """Work until cancelled; the engine ends with the agent."""
        try:
            await super().run()
        finally:
            await self._engine.stop()

    def resync(self) -> None:
        """Write, load and tell everything again."""
        self._applied = None
        super().resync()

    async def reconcile(self) -> None:
        """Bring the engine in line with the Services, then their status with the engine."""
        given = self._pool.assign(obj for obj in self.objects("Service") if desired.is_balanced(obj))
        services = [obj for obj in self.objects("Service") if desired.balancer_class(obj) == self._class]
        wanted = desired.frontends(services, given, self.objects("Node"))
        if wanted != self._applied:
            self._applied = wanted
            addresses = {frontend.address for frontend in wanted}
            self._pool.take(self._class, addresses)
            try:
                await self._engine.apply(wanted)
                self._pool.keep(self._class, addresses)
            except Exception:
                self._applied = None
                raise
        self._tell(services, given)

    def _tell(self, services: Sequence[Obj], given: desired.Given) -> None:
        """Write each Service's addresses into its status, and take them out of those that ask for none any
        more.
        """
        for obj in services:
            addresses = given.get(key_of(obj))
            if addresses is None:
                asked = obj["spec"].get("loadBalancerIP") or ""
                if not self._pool.is_to_come(self._class, asked):
                    advice = "delete another Service of type LoadBalancer, or ask for another address"
                    place = f"loadBalancerIP: {asked or 'any address'}"
                    self._warn_once(obj, f"{place}: not free in the pool: {advice}")
                continue
            for port in obj["spec"].get("ports") or ():
                if port.get("protocol", "TCP") != "TCP":
                    place = f"port {port['port']}/{port['protocol']}"
                    self._warn_once(obj, f"{place}: {self._engine.name} balances TCP only: use the node port")
            self._write_status(obj, [{"ip": address, "ipMode": "Proxy"} for address in addresses])
        for obj in self.objects("Service"):
            if obj["spec"].get("type") != "LoadBalancer" and desired.ingress_addresses(obj):
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
