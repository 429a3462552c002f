"""EndpointSlices and Endpoints: addresses of the right family, ports, and addresses that no service may lead
to.
"""

from __future__ import annotations

from controlplane import names
from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.container import PROTOCOLS
from controlplane.validation.meta import complain, one_of, unchanged

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
MAX_ENDPOINTS = 1000
MAX_ADDRESSES = 100
_VERSION = {"IPv4": 4, "IPv6": 6}
_FORBIDDEN = (
    ("is_unspecified", "may not be unspecified (0.0.0.0 or ::)"),
    ("is_loopback", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
    ("is_link_local", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
    ("is_multicast", "may not be in the multicast range (224.0.0.0/4, ff00::/8)"),
)


def validate_slice(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """An EndpointSlice."""
    family = new.get("addressType", "")
    one_of(errors, "addressType", family, ADDRESS_TYPES)
    endpoints = new.get("endpoints") or []
    if len(endpoints) > MAX_ENDPOINTS:
        errors.too_many("endpoints", len(endpoints), MAX_ENDPOINTS)
    for index, endpoint in enumerate(endpoints):
        addresses = endpoint.get("addresses") or []
        if not addresses:
            errors.required(f"endpoints[{index}].addresses", "must contain at least 1 address")
        elif len(addresses) > MAX_ADDRESSES:
            errors.too_many(f"endpoints[{index}].addresses", len(addresses), MAX_ADDRESSES)
        for position, address in enumerate(addresses):
            _validate_address(address, family, f"endpoints[{index}].addresses[{position}]", errors)
        if endpoint.get("hostname"):
            complain(
                errors,
                f"endpoints[{index}].hostname",
                endpoint["hostname"],
                names.dns_label(endpoint["hostname"]),
            )
    _validate_ports(new.get("ports") or [], "ports", errors)
    if old is not None:
        unchanged(errors, "addressType", family, old.get("addressType"))


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
    for attribute, complaint in _FORBIDDEN:
        if getattr(parsed, attribute):
            errors.invalid(field, address, complaint)


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
