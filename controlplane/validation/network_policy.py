"""NetworkPolicies: selectors, peers, ports. Only what is written is checked here; the dataplane carries it out."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

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
    validate_selector(spec.get("podSelector") or {}, "spec.podSelector", errors)
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            place = f"spec.{direction}[{index}]"
            for position, port in enumerate(rule.get("ports") or ()):
                _validate_port(port, f"{place}.ports[{position}]", errors)
            for position, peer in enumerate(rule.get(side) or ()):
                _validate_peer(peer, f"{place}.{side}[{position}]", errors)
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


def _validate_peer(peer: Obj, place: str, errors: FieldErrors) -> None:
    """Pods, by selectors, or a block of addresses."""
    selectors = [name for name in ("podSelector", "namespaceSelector") if name in peer]
    for name in selectors:
        validate_selector(peer[name], f"{place}.{name}", errors)
    if "ipBlock" in peer:
        if selectors:
            errors.forbidden(place, "may not specify both ipBlock and another peer")
        _validate_block(peer["ipBlock"], f"{place}.ipBlock", errors)
    elif not selectors:
        errors.required(place, "must specify a peer")


def _validate_block(block: Obj, place: str, errors: FieldErrors) -> None:
    text = block.get("cidr", "")
    if not text:
        errors.required(f"{place}.cidr")
        return
    outer = _network(text)
    if outer is None:
        errors.invalid(f"{place}.cidr", text, BAD_CIDR)
        return
    for index, entry in enumerate(block.get("except") or ()):
        inner = _network(entry)
        if inner is None:
            errors.invalid(f"{place}.except[{index}]", entry, BAD_CIDR)
        elif inner.version != outer.version or not _within(inner, outer):
            errors.invalid(f"{place}.except[{index}]", entry, "must be a strict subset of `cidr`")


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    shift = outer.max_prefixlen - outer.prefixlen
    same = int(inner.network_address) >> shift == int(outer.network_address) >> shift
    return inner.prefixlen > outer.prefixlen and same
