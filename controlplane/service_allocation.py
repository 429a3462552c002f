"""What a Service gets from the cluster when it is written: cluster addresses and node ports.

    Service --admit-->  clusterIP, clusterIPs, ipFamilies, ipFamilyPolicy, nodePort, healthCheckNodePort
            --stored--> observe: the books follow what was stored; what a deleted or changed Service held is
                        free again

Which families it has addresses of is settled first: service_families.py.

Invariants: no two Services hold the same address, or the same node port (but for the two protocols of one
Service); the first address stays with its Service for life, unless that becomes an ExternalName.

Sources: Kubernetes documentation "Service", "Service ClusterIP allocation";
k8s.io/kubernetes pkg/registry/core/service/storage/alloc.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from controlplane import errors, service_families
from controlplane.allocators import AddressPool, Pool
from controlplane.errors import FieldErrors, StatusError
from controlplane.meta import Key, Obj, key_of
from controlplane.service_families import HEADLESS

SERVICE_RANGE = "10.96.0.0/16"
NODE_PORTS = (30000, 32767)
WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
OF_LOAD_BALANCERS = ("allocateLoadBalancerNodePorts", "loadBalancerClass")


class ServiceAllocation:
    """The admitter of the kind Service. The first range is the cluster's own family; a second one makes it
    dual stack.
    """

    def __init__(
        self, ranges: Sequence[str] = (SERVICE_RANGE,), node_ports: tuple[int, int] = NODE_PORTS
    ) -> None:
        self._pools = {pool.family: pool for pool in map(AddressPool, ranges)}
        self._node_ports = Pool(*node_ports, reserved=86)

    def admit(self, new: Obj, old: Obj | None) -> Obj:
        """The Service with all that is given by the cluster. Raises StatusError 422, and 500 when a range is
        used up.
        """
        found = FieldErrors()
        before = (old or {}).get("spec") or {}
        spec = dict(new["spec"])
        if spec["type"] != "LoadBalancer":
            for name in OF_LOAD_BALANCERS:
                if name in spec and spec[name] == before.get(name):
                    del spec[name]
        _drop_policy(spec, before)
        if spec["type"] == "ExternalName":
            _strip(spec, before)
        else:
            self._give_addresses(
                spec, {} if before.get("type") == "ExternalName" else before, key_of(new), found
            )
            self._give_node_ports(spec, before, key_of(new), found)
        if found:
            raise errors.invalid("Service", "", new["metadata"]["name"], found.items)
        return {**new, "spec": spec}

    def observe(self, old: Obj | None, new: Obj | None) -> None:
        """Keeps the books in line with what is stored."""
        for service, book in ((old, False), (new, True)):
            if service is None:
                continue
            who = key_of(service)
            for address in service["spec"].get("clusterIPs") or ():
                for pool in self._pools.values():
                    (pool.hold if book else pool.release)(address, who)
            for port in _node_ports(service["spec"]):
                (self._node_ports.hold if book else self._node_ports.release)(port, who)

    # addresses

    def _give_addresses(self, spec: Obj, before: Obj, who: Key, found: FieldErrors) -> None:
        service_families.link(spec, before)
        service_families.settle(spec, before, list(self._pools), found)
        if found:
            return
        wanted = spec["clusterIPs"]
        if wanted == [HEADLESS]:
            return
        addresses = []
        for index, family in enumerate(spec["ipFamilies"]):
            given = wanted[index] if index < len(wanted) else ""
            addresses.append(self._address(family, given, wanted, who, found))
        spec["clusterIP"], spec["clusterIPs"] = addresses[0], addresses

    def _address(self, family: str, given: str, wanted: list[str], who: Key, found: FieldErrors) -> str:
        pool = self._pools.get(family)
        if pool is None:
            return given  # the cluster had this family once, and the Service keeps what it has
        if not given:
            free = pool.next_free()
            if free is None:
                raise StatusError(
                    500, "InternalError", f"failed to allocate a serviceIP: range {pool.network} is full"
                )
            return free
        number = pool.number(given)
        problem = ""
        if number is None:
            problem = f"must be an {family} address"
        elif number not in pool.numbers:
            problem = f"the provided IP ({given}) is not in the valid range. The range of valid IPs is {pool.network}"
        elif not pool.numbers.is_free_for(number, who):
            problem = "provided IP is already allocated"
        if problem:
            found.invalid("spec.clusterIPs", wanted, f"failed to allocate IP {given}: {problem}")
        return given

    # node ports

    def _give_node_ports(self, spec: Obj, before: Obj, who: Key, found: FieldErrors) -> None:
        kept = {
            (port.get("protocol"), port.get("port")): port.get("nodePort")
            for port in before.get("ports") or ()
        }
        if spec["type"] not in WITH_NODE_PORTS:
            _drop_inherited(spec, before)
            return
        automatic = spec["type"] == "NodePort" or spec.get("allocateLoadBalancerNodePorts", True)
        taken: dict[int, set[str]] = {}
        ports = []
        for index, port in enumerate(spec.get("ports") or ()):
            wanted = port.get("nodePort") or kept.get((port.get("protocol"), port.get("port")))
            if wanted:
                self._check_node_port(wanted, who, f"spec.ports[{index}].nodePort", found)
            taken.setdefault(wanted or 0, set()).add(port.get("protocol", ""))
            ports.append({**port, "nodePort": wanted} if wanted else port)
        for index, port in enumerate(ports):
            if automatic and not port.get("nodePort"):
                ports[index] = {**port, "nodePort": self._next_node_port(port, ports, taken)}
        spec["ports"] = ports
        self._give_health_port(spec, before, who, taken, found)

    def _check_node_port(self, number: int, who: Key, field: str, found: FieldErrors) -> None:
        if number not in self._node_ports:
            valid = f"{self._node_ports.first}-{self._node_ports.last}"
            found.invalid(
                field, number, f"provided port is not in the valid range. The range of valid ports is {valid}"
            )
        elif not self._node_ports.is_free_for(number, who):
            found.invalid(field, number, "provided port is already allocated")

    def _next_node_port(self, port: Obj, ports: list[Obj], taken: dict[int, set[str]]) -> int:
        """The same port number on another protocol shares its node port; else a free one."""
        protocol = port.get("protocol", "")
        for other in ports:
            number = other.get("nodePort")
            if number and other.get("port") == port.get("port") and protocol not in taken[number]:
                taken[number].add(protocol)
                return int(number)
        return self._free_port(taken, protocol)

    def _free_port(self, taken: dict[int, set[str]], protocol: str) -> int:
        free = self._node_ports.next_free(frozenset(taken))
        if free is None:
            raise StatusError(500, "InternalError", "failed to allocate a nodePort: range is full")
        taken[free] = {protocol}
        return free

    def _give_health_port(
        self, spec: Obj, before: Obj, who: Key, taken: dict[int, set[str]], found: FieldErrors
    ) -> None:
        """On this port a LoadBalancer with policy Local tells whether the node has endpoints."""
        if spec["type"] != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local":
            if spec.get("healthCheckNodePort") == before.get("healthCheckNodePort"):
                spec.pop("healthCheckNodePort", None)
            return
        wanted = spec.get("healthCheckNodePort") or before.get("healthCheckNodePort")
        if wanted:
            self._check_node_port(wanted, who, "spec.healthCheckNodePort", found)
        spec["healthCheckNodePort"] = wanted or self._free_port(taken, "")


def _drop_policy(spec: Obj, before: Obj) -> None:
    """The external policy goes with the last way in from outside; one that is newly asked for is validation's."""
    inherited = before and spec.get("externalTrafficPolicy") == before.get("externalTrafficPolicy")
    outside = spec["type"] in WITH_NODE_PORTS or (spec["type"] == "ClusterIP" and spec.get("externalIPs"))
    if inherited and not outside:
        spec.pop("externalTrafficPolicy", None)


def _strip(spec: Obj, before: Obj) -> None:
    """A Service that becomes an ExternalName gives back what it had; what its author asks for is left to
    validation.
    """
    service_families.drop(spec, before)
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    for name in ("healthCheckNodePort", "internalTrafficPolicy"):
        spec.pop(name, None)
    _drop_inherited(spec, before)


def _drop_inherited(spec: Obj, before: Obj) -> None:
    """Node ports that only stem from the Service's earlier type go with it."""
    had = set(_node_ports(before))
    if spec.get("healthCheckNodePort") in had:
        del spec["healthCheckNodePort"]
    if "ports" in spec:
        spec["ports"] = [
            {name: value for name, value in port.items() if name != "nodePort" or value not in had}
            for port in spec["ports"]
        ]


def _node_ports(spec: Obj) -> list[int]:
    numbers = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    health = spec.get("healthCheckNodePort")
    return [*numbers, health] if health else numbers
