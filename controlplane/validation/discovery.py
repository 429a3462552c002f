"""EndpointSlices and Endpoints: addresses of the right family, ports, and addresses that no service may lead
to.
"""

from __future__ import annotations

from collections.abc import Callable

from controlplane import names
from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.container import PROTOCOLS
from controlplane.validation.meta import complain, one_of, unchanged

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
MAX_ENDPOINTS = 1000
MAX_ADDRESSES = 100
MAX_HINTS = 8
_VERSION = {"IPv4": 4, "IPv6": 6}


def validate_slice(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """An EndpointSlice."""
    family = new.get("addressType", "")
    one_of(errors, "addressType", family, ADDRESS_TYPES)
    endpoints = new.get("endpoints") or []
    if len(endpoints) > MAX_ENDPOINTS:
        errors.too_many("endpoints", len(endpoints), MAX_ENDPOINTS)
    for index, endpoint in enumerate(endpoints):
        _validate_endpoint(endpoint, family, f"endpoints[{index}]", errors)
    _validate_ports(new.get("ports") or [], "ports", errors)
    if old is not None:
        unchanged(errors, "addressType", family, old.get("addressType"))


def _validate_endpoint(endpoint: Obj, family: str, place: str, errors: FieldErrors) -> None:
    addresses = endpoint.get("addresses") or []
    if not addresses:
        errors.required(f"{place}.addresses", "must contain at least 1 address")
    elif len(addresses) > MAX_ADDRESSES:
        errors.too_many(f"{place}.addresses", len(addresses), MAX_ADDRESSES)
    for position, address in enumerate(addresses):
        _validate_address(address, family, f"{place}.addresses[{position}]", errors)
    checks: tuple[tuple[str, Callable[[str], tuple[str, ...]]], ...] = (
        ("hostname", names.dns_label),
        ("nodeName", names.dns_subdomain),
    )
    for field, check in checks:
        if endpoint.get(field):
            complain(errors, f"{place}.{field}", endpoint[field], check(endpoint[field]))
    hints = endpoint.get("hints") or {}
    _validate_hints(hints.get("forZones") or [], f"{place}.hints.forZones", names.label_value, errors)
    _validate_hints(hints.get("forNodes") or [], f"{place}.hints.forNodes", names.dns_subdomain, errors)


def _validate_hints(
    hints: list[Obj], place: str, check: Callable[[str], tuple[str, ...]], errors: FieldErrors
) -> None:
    if len(hints) > MAX_HINTS:
        errors.too_many(place, len(hints), MAX_HINTS)
        return
    seen: set[str] = set()
    for index, hint in enumerate(hints):
        name = hint.get("name", "")
        if name in seen:
            errors.duplicate(f"{place}[{index}].name", name)
        seen.add(name)
        complain(errors, f"{place}[{index}].name", name, check(name))


def validate_endpoints(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A legacy Endpoints object."""
    for index, subset in enumerate(new.get("subsets") or ()):
        place = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            errors.required(place, "must specify `addresses` or `notReadyAddresses`")
        for group in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(group) or ()):
                _validate_address(address.get("ip", ""), "", f"{place}.{group}[{position}].ip", errors)
        ports = [{"port": 0, **port} for port in subset.get("ports") or ()]  # a slice's port may be left out
        _validate_ports(ports, f"{place}.ports", errors)


def _validate_address(address: str, family: str, field: str, errors: FieldErrors) -> None:
    if family == "FQDN":
        complain(errors, field, address, names.dns_subdomain(address))
        return
    parsed = names.parse_address(address)
    if parsed is None or parsed.version != _VERSION.get(family, parsed.version):
        kind = family or "IP"
        errors.invalid(field, address, f"must be a valid {kind} address")
        return
    complain(errors, field, address, names.special_address(parsed))


def _validate_ports(ports: list[Obj], field: str, errors: FieldErrors) -> None:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        place, name = f"{field}[{index}]", port.get("name", "")
        if name:
            complain(errors, f"{place}.name", name, names.dns_label(name))
        if name in seen:
            errors.duplicate(f"{place}.name", name)
        seen.add(name)
        if "port" in port:
            complain(errors, f"{place}.port", port["port"], names.port_number(port["port"]))
        one_of(errors, f"{place}.protocol", port.get("protocol"), PROTOCOLS)
