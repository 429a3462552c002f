"""Services: ports, type, addresses, and what may not change. Whether an address is free is for
service_allocation.py to say.
"""

from __future__ import annotations

from controlplane import names
from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.container import PROTOCOLS, validate_port_reference
from controlplane.validation.meta import complain, one_of, validate_labels
from controlplane.validation.service_families import BAD_ADDRESS
from controlplane.validation.service_families import validate_change as validate_families_change

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
AFFINITIES = ("ClientIP", "None")
POLICIES = ("Cluster", "Local")
DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
MAX_AFFINITY_SECONDS = 86400
BAD_RANGE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def validate(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A Service, defaulted and with its addresses."""
    spec = new["spec"]
    kind = spec["type"]
    if kind not in TYPES:
        errors.unsupported("spec.type", kind, TYPES)
        return
    headless = spec.get("clusterIP") == "None"
    if not spec.get("ports") and kind != "ExternalName" and not headless:
        errors.required("spec.ports")
    _validate_type(spec, kind, headless, errors)
    _validate_ports(spec.get("ports") or [], spec, errors)
    validate_labels(spec.get("selector") or {}, "spec.selector", errors)
    _validate_affinity(spec, errors)
    _validate_policies(spec, kind, errors)
    _validate_addresses(spec, errors)
    if old is not None:
        _validate_change(spec, old["spec"], errors)


def _validate_type(spec: Obj, kind: str, headless: bool, errors: FieldErrors) -> None:
    if kind == "ExternalName":
        target = spec.get("externalName", "")
        for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(name):
                errors.forbidden(f"spec.{name}", "may not be set for ExternalName services")
        if not target:
            errors.required("spec.externalName")
        else:
            complain(errors, "spec.externalName", target, names.dns_subdomain(target.removesuffix(".")))
    elif headless and kind != "ClusterIP":
        errors.invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    if kind != "LoadBalancer":
        if spec.get("loadBalancerClass"):
            errors.forbidden("spec.loadBalancerClass", "may only be used when `type` is 'LoadBalancer'")
        if spec.get("allocateLoadBalancerNodePorts") is not None:
            errors.forbidden(
                "spec.allocateLoadBalancerNodePorts", "may only be used when `type` is 'LoadBalancer'"
            )


def _validate_ports(ports: list[Obj], spec: Obj, errors: FieldErrors) -> None:
    seen_names: set[str] = set()
    seen_ports: set[tuple[str, int]] = set()
    seen_node_ports: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        place = f"spec.ports[{index}]"
        _validate_port(port, place, spec, len(ports) > 1, errors)
        name, protocol, number = port.get("name", ""), port.get("protocol", ""), port.get("port", 0)
        if name and name in seen_names:
            errors.duplicate(f"{place}.name", name)
        seen_names.add(name)
        if (protocol, number) in seen_ports:
            errors.duplicate(place, _written_by_go(protocol, number))
        seen_ports.add((protocol, number))
        node_port = port.get("nodePort", 0)
        if node_port and (protocol, node_port) in seen_node_ports:
            errors.duplicate(f"{place}.nodePort", node_port)
        seen_node_ports.add((protocol, node_port))


def _written_by_go(protocol: str, number: int) -> Obj:
    """A port as the real API server shows it in this message: with all fields of its own type."""
    nothing: Obj = {"TargetPort": 0, "NodePort": 0}
    return {"Name": "", "Protocol": protocol, "AppProtocol": None, "Port": number, **nothing}


def _validate_port(port: Obj, place: str, spec: Obj, named: bool, errors: FieldErrors) -> None:
    name = port.get("name", "")
    if name:
        complain(errors, f"{place}.name", name, names.dns_label(name))
    elif named:
        errors.required(f"{place}.name")
    complain(errors, f"{place}.port", port.get("port", 0), names.port_number(port.get("port", 0)))
    one_of(errors, f"{place}.protocol", port.get("protocol"), PROTOCOLS)
    if spec["type"] != "ExternalName" and "targetPort" in port:
        validate_port_reference(port["targetPort"], f"{place}.targetPort", errors)
    if port.get("nodePort"):
        if spec["type"] in ("ClusterIP", "ExternalName"):
            errors.forbidden(f"{place}.nodePort", f"may not be used when `type` is '{spec['type']}'")
        else:
            complain(errors, f"{place}.nodePort", port["nodePort"], names.port_number(port["nodePort"]))


def _validate_affinity(spec: Obj, errors: FieldErrors) -> None:
    one_of(errors, "spec.sessionAffinity", spec["sessionAffinity"], AFFINITIES)
    if spec["sessionAffinity"] == "ClientIP":
        field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        timeout = (spec["sessionAffinityConfig"].get("clientIP") or {}).get("timeoutSeconds")
        if timeout is None:
            errors.required(field)
        elif not 0 < timeout <= MAX_AFFINITY_SECONDS:
            errors.invalid(field, timeout, f"must be greater than 0 and less than {MAX_AFFINITY_SECONDS}")


def _validate_policies(spec: Obj, kind: str, errors: FieldErrors) -> None:
    if "internalTrafficPolicy" in spec:
        one_of(errors, "spec.internalTrafficPolicy", spec["internalTrafficPolicy"], POLICIES)
    if "trafficDistribution" in spec:
        one_of(errors, "spec.trafficDistribution", spec["trafficDistribution"], DISTRIBUTIONS)
    policy = spec.get("externalTrafficPolicy")
    if policy and not externally_accessible(spec):
        text = "may only be set for externally-accessible services"
        errors.invalid("spec.externalTrafficPolicy", policy, text)
    elif policy:
        one_of(errors, "spec.externalTrafficPolicy", policy, POLICIES)
    if spec.get("healthCheckNodePort") and not (kind == "LoadBalancer" and policy == "Local"):
        text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        errors.invalid("spec.healthCheckNodePort", spec["healthCheckNodePort"], text)


def externally_accessible(spec: Obj) -> bool:
    """Whether a Service has a way in from outside the cluster."""
    kind = spec["type"]
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def _validate_addresses(spec: Obj, errors: FieldErrors) -> None:
    for index, address in enumerate(spec.get("externalIPs") or ()):
        parsed = names.parse_address(address)
        if parsed is None:
            errors.invalid(f"spec.externalIPs[{index}]", address, BAD_ADDRESS)
        else:
            complain(errors, f"spec.externalIPs[{index}]", address, names.special_address(parsed))
    _validate_source_ranges(spec, errors)
    wanted = spec.get("loadBalancerIP")
    if wanted and names.parse_address(wanted) is None:
        errors.invalid("spec.loadBalancerIP", wanted, BAD_ADDRESS)


def _validate_source_ranges(spec: Obj, errors: FieldErrors) -> None:
    place = "spec.LoadBalancerSourceRanges"  # so spelt by the real API server
    ranges = spec.get("loadBalancerSourceRanges") or ()
    if ranges and spec["type"] != "LoadBalancer":
        errors.forbidden(place, "may only be used when `type` is 'LoadBalancer'")
    for index, text in enumerate(ranges):
        if names.parse_range(text.strip()) is None:
            errors.invalid(f"{place}[{index}]", text.strip(), BAD_RANGE)


def _validate_change(new: Obj, old: Obj, errors: FieldErrors) -> None:
    """Of addresses and families see service_families.py; the class of a load balancer stays."""
    validate_families_change(new, old, errors)
    if new["type"] != "LoadBalancer" or old["type"] != "LoadBalancer":
        return
    if new.get("loadBalancerClass") != old.get("loadBalancerClass"):
        errors.invalid("spec.loadBalancerClass", new.get("loadBalancerClass"), "may not change once set")
    ports = [spec.get("healthCheckNodePort") for spec in (old, new)]
    if all(ports) and ports[0] != ports[1]:
        text = "cannot change healthCheckNodePort on loadBalancer service with externalTraffic=Local during update"
        errors.invalid("spec.healthCheckNodePort", ports[1], text)
