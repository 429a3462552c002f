"""Connections that must not go on: what connection tracking is to forget when a Service changes.

    before, now --stale--> flows --forget--> conntrack -D     the next packet is new, and is chosen for anew

The choice of an endpoint is made once for a connection and remembered. TCP notices that its endpoint is gone
(reset, or no answer). A UDP client does not, and as long as it sends, its entry lives: it would talk to
nobody for ever. So when an endpoint of a UDP or SCTP frontend is gone, its flows are forgotten; when a
frontend begins to have endpoints, those that began before, untranslated; and when a frontend goes, all of
its flows.

An endpoint that ends but still serves keeps the flows that it has.

Invariant: flows of other frontends, and those to endpoints that still serve, are left alone.

Sources: kube-proxy, pkg/proxy/conntrack; conntrack(8).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netfns.kernel import CommandError, Kernel
from netfns.service_types import Endpoint, Frontend, ServiceProxy, family_of, frontends

PROTOCOLS = ("UDP", "SCTP")  # those that do not notice themselves
Place = tuple[str, str, int]  # address, protocol, port


@dataclass(frozen=True, order=True)
class Flows:
    """All flows to one frontend; with an `endpoint`, those that were translated to it ("" and 0: all)."""

    address: str
    protocol: str
    port: int
    endpoint: str = ""
    endpoint_port: int = 0

    @property
    def argv(self) -> list[str]:
        """The command that forgets them."""
        words = ["conntrack", "-D", "-f", "ipv6" if family_of(self.address) == "ip6" else "ipv4"]
        words += ["-p", self.protocol.lower(), "--orig-dst", self.address, "--orig-port-dst", str(self.port)]
        if self.endpoint:
            words += ["--reply-src", self.endpoint, "--reply-port-src", str(self.endpoint_port)]
        return words


def stale(before: ServiceProxy, now: ServiceProxy) -> list[Flows]:
    """The flows that a change has made wrong. Both may hold just the services that changed."""
    old, new = _places(before), _places(now)
    found = set[Flows]()
    for place, targets in old.items():
        if place not in new:
            found.add(Flows(*place))
            continue
        found |= {Flows(*place, gone.address, gone.port) for gone in targets - new[place]}
    found |= {Flows(*place) for place, targets in new.items() if targets and not old.get(place)}
    return sorted(found)


def _places(desired: ServiceProxy) -> dict[Place, frozenset[Endpoint]]:
    """Every UDP and SCTP frontend with the endpoints whose flows are right."""
    return {
        (frontend.address, frontend.protocol, frontend.port): _right(frontend)
        for service in desired.services
        if any(port.protocol in PROTOCOLS for port in service.ports)
        for frontend in frontends(desired, service)
        if frontend.protocol in PROTOCOLS
    }


def _right(frontend: Frontend) -> frozenset[Endpoint]:
    return frozenset((*frontend.endpoints, *frontend.short_cut, *frontend.ending_endpoints))


def forget(kernel: Kernel, flows: Iterable[Flows]) -> None:
    """Make connection tracking forget flows. Raises CommandError when it cannot; none there is fine."""
    for one in flows:
        try:
            _forget(kernel, one)
        except CommandError:  # a flow that ended by itself meanwhile is an error to conntrack, too
            _forget(kernel, one)


def _forget(kernel: Kernel, flows: Flows) -> None:
    try:
        kernel.run(flows.argv)
    except CommandError as error:
        if "0 flow entries" not in error.stderr:
            raise
