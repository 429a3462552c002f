"""Ingresses and their classes: hosts, paths, and the services that they lead to."""

from __future__ import annotations

import re

from controlplane import names
from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.meta import complain, unchanged

PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
BAD_SEQUENCES, BAD_ENDS = ("//", "/./", "/../", "%2f", "%2F"), ("/..", "/.")
SCOPES = ("Cluster", "Namespace")
_WILDCARD = re.compile(r"\*\.(.+)")
_WILDCARD_MESSAGE = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain"
_PREFIXED = re.compile(r"[^/]+/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")
CONTROLLER_LIMIT = 250


def ingress(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """An Ingress: at least a rule or a default backend."""
    spec = new.get("spec") or {}
    rules, backend = spec.get("rules") or [], spec.get("defaultBackend")
    if not rules and backend is None:
        errors.invalid("spec", rules, "either `defaultBackend` or `rules` must be specified")
    if backend is not None:
        _validate_backend(backend, "spec.defaultBackend", errors)
    for index, rule in enumerate(rules):
        _validate_rule(rule, f"spec.rules[{index}]", errors)
    for index, entry in enumerate(spec.get("tls") or ()):
        for position, host in enumerate(entry.get("hosts") or ()):
            _validate_host(host, f"spec.tls[{index}].hosts[{position}]", errors)
    chosen = spec.get("ingressClassName")
    if chosen is not None:
        complain(errors, "spec.ingressClassName", chosen, names.dns_subdomain(chosen))


def _validate_rule(rule: Obj, place: str, errors: FieldErrors) -> None:
    host = rule.get("host", "")
    if host and names.parse_address(host) is not None:
        errors.invalid(f"{place}.host", host, "must be a DNS name, not an IP address")
    elif host:
        _validate_host(host, f"{place}.host", errors)
    http = rule.get("http")
    if http is None:
        return
    if not http.get("paths"):
        errors.required(f"{place}.http.paths")
    for index, path in enumerate(http.get("paths") or ()):
        _validate_path(path, f"{place}.http.paths[{index}]", errors)


def _validate_host(host: str, place: str, errors: FieldErrors) -> None:
    if "*" not in host:
        complain(errors, place, host, names.dns_subdomain(host))
        return
    match = _WILDCARD.fullmatch(host)
    if match is None or names.dns_subdomain(match[1]):
        errors.invalid(place, host, f"{_WILDCARD_MESSAGE} (e.g. '*.example.com')")


def _validate_path(path: Obj, place: str, errors: FieldErrors) -> None:
    kind, text = path.get("pathType"), path.get("path", "")
    if kind is None:
        errors.required(f"{place}.pathType", "pathType must be specified")
    elif kind not in PATH_TYPES:
        errors.unsupported(f"{place}.pathType", kind, PATH_TYPES)
    elif kind != "ImplementationSpecific" or text:
        if not text.startswith("/"):
            errors.invalid(f"{place}.path", text, "must be an absolute path")
        if kind != "ImplementationSpecific":
            for bad in (entry for entry in BAD_SEQUENCES if entry in text):
                errors.invalid(f"{place}.path", text, f"must not contain '{bad}'")
            for bad in (entry for entry in BAD_ENDS if text.endswith(entry)):
                errors.invalid(f"{place}.path", text, f"cannot end with '{bad}'")
    _validate_backend(path.get("backend") or {}, f"{place}.backend", errors)


def _validate_backend(backend: Obj, place: str, errors: FieldErrors) -> None:
    service = backend.get("service")
    if service is not None and "resource" in backend:
        errors.invalid(place, "", "cannot set both resource and service backends")
    elif service is None:
        if "resource" not in backend:
            errors.invalid(place, "", "resource or service backend is required")
    else:
        name = service.get("name", "")
        if not name:
            errors.required(f"{place}.service.name")
        else:
            complain(errors, f"{place}.service.name", name, names.dns_label_1035(name))
        _validate_port(service.get("port") or {}, place, errors)


def _validate_port(port: Obj, place: str, errors: FieldErrors) -> None:
    name, number = port.get("name"), port.get("number")
    if name and number:
        errors.invalid(place, "", "cannot set both port name & port number")
    elif name:
        complain(errors, f"{place}.service.port.name", name, names.port_name(name))
    elif number:
        complain(errors, f"{place}.service.port.number", number, names.port_number(number))
    else:
        errors.required(place, "port name or number is required")


def ingress_class(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    """An IngressClass: whose Ingresses these are, for ever."""
    spec = new.get("spec") or {}
    controller = spec.get("controller", "")
    if not controller:
        errors.required("spec.controller")
    elif len(controller) > CONTROLLER_LIMIT:
        errors.too_long("spec.controller", CONTROLLER_LIMIT)
    elif not _PREFIXED.fullmatch(controller):
        text = 'must be a domain-prefixed path (such as "acme.io/foo")'
        errors.invalid("spec.controller", controller, text)
    parameters = spec.get("parameters")
    if parameters is not None:
        for field in ("kind", "name"):
            if not parameters.get(field):
                errors.required(f"spec.parameters.{field}", f"{field} is required")
        scope = parameters.get("scope", "Cluster")
        if scope not in SCOPES:
            errors.unsupported("spec.parameters.scope", scope, SCOPES)
    if old is not None:
        unchanged(errors, "spec.controller", controller, (old.get("spec") or {}).get("controller", ""))
