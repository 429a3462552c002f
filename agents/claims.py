"""Who answers at an address: one Service, even when the manifests of two name the same externalIP.

    cluster addresses, node ports     given by the API server, never twice
    externalIPs, balancer addresses   written by people and balancers: two Services may want the same place
                                      the older one has it; the younger one waits, with an event

Without this the kernel would refuse the whole text, for one key of a map can have one value.

Invariant: of all Services that want a place (address, protocol, port), exactly one has it; cluster
addresses and node ports come before anything else, then the older Service.

Source: Kubernetes, "Service": External IPs ("not managed by Kubernetes").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from controlplane.meta import Key
from netfns.service_types import Service

Place = tuple[str, str, int]  # address, protocol, port


@dataclass
class Claims:
    """One node's book; `node_addresses` are where its node ports answer."""

    node_addresses: tuple[str, ...] = ()
    _services: dict[Key, tuple[str, Service]] = field(default_factory=dict)  # that claim outer addresses
    _cluster_ips: dict[str, Key] = field(default_factory=dict)
    _node_ports: dict[tuple[str, int], Key] = field(default_factory=dict)
    _own: dict[Key, Service] = field(default_factory=dict)

    def settle(
        self, changed: Mapping[Key, tuple[str, Service | None]]
    ) -> tuple[dict[Key, Service], list[tuple[Key, str]]]:
        """Book changed Services (with the time of their creation; None: gone).

        Returns those whose record may be another now, without the addresses that are somebody else's, and who
        must do without what, in words.
        """
        for key, (created, service) in changed.items():
            self._book(key, created, service)
        found = {key: service for key, (_, service) in changed.items() if service is not None}
        refused = list[tuple[Key, str]]()
        taken: dict[Place, Key] = {}
        for key, (_, service) in sorted(self._services.items(), key=lambda item: (item[1][0], item[0])):
            losses = dict[str, str]()
            for address in _outer(service):
                if loss := self._loss(key, service, address, taken):
                    losses[address] = loss
            for place in _places(service):
                if place[0] not in losses:
                    taken[place] = key
            found[key] = replace(
                service,
                external_ips=tuple(a for a in service.external_ips if a not in losses),
                load_balancer_ips=tuple(a for a in service.load_balancer_ips if a not in losses),
            )
            refused += [(key, loss) for loss in losses.values()]
        return found, refused

    def _book(self, key: Key, created: str, service: Service | None) -> None:
        had = self._own.pop(key, None)
        if had is not None:
            for address in had.cluster_ips:
                if self._cluster_ips.get(address) == key:  # it may have been given to another since
                    del self._cluster_ips[address]
            for port in had.ports:
                if self._node_ports.get((port.protocol, port.node_port)) == key:
                    del self._node_ports[port.protocol, port.node_port]
        self._services.pop(key, None)
        if service is None:
            return
        self._own[key] = service
        self._cluster_ips |= dict.fromkeys(service.cluster_ips, key)
        self._node_ports |= {(port.protocol, port.node_port): key for port in service.ports if port.node_port}
        if service.external_ips or service.load_balancer_ips:
            self._services[key] = created, service

    def _loss(self, key: Key, service: Service, address: str, taken: Mapping[Place, Key]) -> str:
        """Why a Service cannot have an address; "" when it can."""
        holder = self._cluster_ips.get(address, key)
        for port in service.ports:
            if address in self.node_addresses and holder == key:
                holder = self._node_ports.get((port.protocol, port.port), key)
            if holder == key:
                holder = taken.get((address, port.protocol, port.port), key)
            if holder != key:
                return (
                    f"{address}: port {port.port}/{port.protocol} is {'/'.join(holder)}'s: "
                    "give one of them another address or port"
                )
        return ""


def _outer(service: Service) -> Iterator[str]:
    yield from dict.fromkeys((*service.external_ips, *service.load_balancer_ips))


def _places(service: Service) -> Iterator[Place]:
    for address in _outer(service):
        for port in service.ports:
            yield address, port.protocol, port.port
