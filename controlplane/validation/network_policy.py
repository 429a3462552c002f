"""NetworkPolicies: selectors, peers, ports. Only what is written is checked here; the dataplane carries it out.

A CIDR is read strictly (no bits beyond its prefix, no leading zeros), unless it is there from before.

Source: Kubernetes API reference, NetworkPolicy v1; KEP-4858, IP and CIDR validation.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from controlplane import names
from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.container import PROTOCOLS
from controlplane.validation.meta import complain, one_of, validate_selector

TYPES = ("Egress", "Ingress")
BAD_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def validate(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """A NetworkPolicy."""
    spec = new["spec"]
    known = set(_cidrs((old or {}).get("spec") or {}))
    validate_selector(spec.get("podSelector") or {}, "spec.podSelector", errors)
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            place = f"spec.{direction}[{index}]"
            for position, port in enumerate(rule.get("ports") or ()):
                _validate_port(port, f"{place}.ports[{position}]", errors)
            for position, peer in enumerate(rule.get(side) or ()):
                _validate_peer(peer, f"{place}.{side}[{position}]", errors, known)
    types = spec.get("policyTypes") or []
    if len(types) > len(TYPES):
        errors.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
        return
    for index, kind in enumerate(types):
        if kind not in TYPES:
            errors.unsupported(f"spec.policyTypes[{index}]", kind, TYPES)


def _validate_port(port: Obj, place: str, errors: FieldErrors) -> None:
    one_of(errors, f"{place}.protocol", port.get("protocol"), PROTOCOLS)
    number, end = port.get("port"), port.get("endPort")
    if isinstance(number, int):
        complain(errors, f"{place}.port", number, names.port_number(number))
        if end is not None:
            if end < number:
                errors.invalid(f"{place}.endPort", end, "must be greater than or equal to `port`")
            complain(errors, f"{place}.endPort", end, names.port_number(end))
        return
    if end is not None:
        what = "non-numeric" if number is not None else "not specified"
        errors.invalid(f"{place}.endPort", end, f"may not be specified when `port` is {what}")
    if number is not None:
        complain(errors, f"{place}.port", number, names.port_name(number))


def _cidrs(spec: Obj) -> Iterator[str]:
    """Every CIDR that a spec names."""
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for rule in spec.get(direction) or ():
            for peer in rule.get(side) or ():
                block = peer.get("ipBlock") or {}
                yield from (block.get("cidr", ""), *(block.get("except") or ()))


def _validate_peer(peer: Obj, place: str, errors: FieldErrors, known: Container[str]) -> None:
    """Pods, by selectors, or a block of addresses."""
    selectors = [name for name in ("podSelector", "namespaceSelector") if name in peer]
    for name in selectors:
        validate_selector(peer[name], f"{place}.{name}", errors)
    if "ipBlock" in peer:
        if selectors:
            errors.forbidden(place, "may not specify both ipBlock and another peer")
        _validate_block(peer["ipBlock"], f"{place}.ipBlock", errors, known)
    elif not selectors:
        errors.required(place, "must specify a peer")


def _validate_block(block: Obj, place: str, errors: FieldErrors, known: Container[str]) -> None:
    text = block.get("cidr", "")
    if not text:
        errors.required(f"{place}.cidr")
        return
    outer = _network(f"{place}.cidr", text, errors, known)
    for index, entry in enumerate(block.get("except") or ()):
        inner = _network(f"{place}.except[{index}]", entry, errors, known)
        if outer and inner and (inner.version != outer.version or not _within(inner, outer)):
            errors.invalid(f"{place}.except[{index}]", entry, "must be a strict subset of `cidr`")


def _network(
    place: str, text: str, errors: FieldErrors, known: Container[str]
) -> IPv4Network | IPv6Network | None:
    """The network that a text says; what is wrong with the text is noted. None when there is no network in it."""
    address, _, length = text.partition("/")
    plain = ".".join(part.lstrip("0") or "0" for part in address.split(".")) if "." in address else address
    try:
        network = ip_network(f"{plain}/{int(length)}", strict=False) if length.isdecimal() else None
    except ValueError:
        network = None
    if network is None:
        errors.invalid(place, text, BAD_CIDR)
    elif text not in known:
        for complaint in _strictly(address, length, network):
            errors.invalid(place, text, complaint)
    return network


def _strictly(address: str, length: str, network: IPv4Network | IPv6Network) -> Iterator[str]:
    if (length != "0" and length.startswith("0")) or _has_leading_zero(address):
        yield "must not have leading 0s in IP or prefix length"
    elif isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        yield "must not have an IPv4-mapped IPv6 address"
    elif ip_address(address) != network.network_address:
        yield "must not have bits set beyond the prefix length"


def _has_leading_zero(address: str) -> bool:
    parts = address.rpartition(":")[2].split(".")
    return len(parts) == 4 and any(len(part) > 1 and part.startswith("0") for part in parts)


def _within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    shift = outer.max_prefixlen - outer.prefixlen
    same = int(inner.network_address) >> shift == int(outer.network_address) >> shift
    return inner.prefixlen > outer.prefixlen and same
