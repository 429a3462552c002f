"""One container of a pod: name, image, ports, environment, mounts, probes."""

from __future__ import annotations

from controlplane import names
from controlplane.errors import FieldErrors
from controlplane.meta import Obj
from controlplane.validation.meta import complain, one_of

PROTOCOLS = ("SCTP", "TCP", "UDP")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def validate_container(container: Obj, place: str, volumes: set[str], errors: FieldErrors) -> None:
    """`volumes` are the names that a mount may use."""
    name = container.get("name", "")
    if not name:
        errors.required(f"{place}.name")
    else:
        complain(errors, f"{place}.name", name, names.dns_label(name))
    image = container.get("image", "")
    if not image:
        errors.required(f"{place}.image")
    elif image != image.strip():
        errors.invalid(f"{place}.image", image, "must not have leading or trailing whitespace")
    one_of(errors, f"{place}.imagePullPolicy", container.get("imagePullPolicy"), PULL_POLICIES)
    if container.get("ports"):
        _validate_ports(container["ports"], f"{place}.ports", errors)
    for index, variable in enumerate(container.get("env") or ()):
        _validate_variable(variable, f"{place}.env[{index}]", errors)
    _validate_mounts(container.get("volumeMounts") or [], f"{place}.volumeMounts", volumes, errors)
    for probe in PROBES:
        if probe in container:
            _validate_probe(container[probe], f"{place}.{probe}", probe, errors)
    for hook, handler in (container.get("lifecycle") or {}).items():
        if isinstance(handler, dict):
            _validate_handler(handler, f"{place}.lifecycle.{hook}", errors)


def _validate_ports(ports: list[Obj], field: str, errors: FieldErrors) -> None:
    """The same port twice is allowed (the second bind fails, as in life); the same name is not."""
    seen: set[str] = set()
    for index, port in enumerate(ports):
        place, name = f"{field}[{index}]", port.get("name", "")
        if name:
            complain(errors, f"{place}.name", name, names.port_name(name))
            if name in seen:
                errors.duplicate(f"{place}.name", name)
            seen.add(name)
        if "containerPort" not in port:
            errors.required(f"{place}.containerPort")
        else:
            complain(
                errors,
                f"{place}.containerPort",
                port["containerPort"],
                names.port_number(port["containerPort"]),
            )
        if port.get("hostPort"):
            complain(errors, f"{place}.hostPort", port["hostPort"], names.port_number(port["hostPort"]))
        one_of(errors, f"{place}.protocol", port.get("protocol"), PROTOCOLS)


def _validate_variable(variable: Obj, place: str, errors: FieldErrors) -> None:
    name, source = variable.get("name", ""), variable.get("valueFrom")
    if not name:
        errors.required(f"{place}.name")
    else:
        complain(errors, f"{place}.name", name, names.env_name(name))
    if source is None:
        return
    if variable.get("value"):
        errors.invalid(f"{place}.valueFrom", "", "may not be specified when `value` is not empty")
    if len(source) != 1:
        known = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        errors.invalid(f"{place}.valueFrom", "", f"must specify one of: {known}")
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind in source and not source[kind].get("key"):
            errors.required(f"{place}.valueFrom.{kind}.key")
    if "fieldRef" in source and not source["fieldRef"].get("fieldPath"):
        errors.required(f"{place}.valueFrom.fieldRef.fieldPath")


def _validate_mounts(mounts: list[Obj], field: str, volumes: set[str], errors: FieldErrors) -> None:
    paths: set[str] = set()
    for index, mount in enumerate(mounts):
        place, name, path = f"{field}[{index}]", mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            errors.required(f"{place}.name")
        elif name not in volumes:
            errors.not_found(f"{place}.name", name)
        if not path:
            errors.required(f"{place}.mountPath")
        elif path in paths:
            errors.invalid(f"{place}.mountPath", path, "must be unique")
        paths.add(path)
        if ".." in mount.get("subPath", "").split("/"):
            errors.invalid(f"{place}.subPath", mount["subPath"], "must not contain '..'")


def _validate_probe(probe: Obj, place: str, name: str, errors: FieldErrors) -> None:
    _validate_handler(probe, place, errors)
    for field in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        if probe.get(field, 0) < 0:
            errors.invalid(f"{place}.{field}", probe[field], "must be greater than or equal to 0")
    if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        errors.invalid(f"{place}.successThreshold", probe["successThreshold"], "must be 1")


def _validate_handler(handler: Obj, place: str, errors: FieldErrors) -> None:
    given = [name for name in HANDLERS if name in handler]
    if not given:
        errors.required(place, "must specify a handler type")
    for extra in given[1:]:
        errors.forbidden(f"{place}.{extra}", "may not specify more than 1 handler type")
    if "exec" in handler and not handler["exec"].get("command"):
        errors.required(f"{place}.exec.command")
    for kind in ("httpGet", "tcpSocket", "grpc"):
        if kind in handler:
            validate_port_reference(handler[kind].get("port"), f"{place}.{kind}.port", errors)


def validate_port_reference(port: int | str | None, field: str, errors: FieldErrors) -> None:
    """A number, or the name of a container's port."""
    if port is None or port == "":
        errors.required(field)
    elif isinstance(port, str):
        complain(errors, field, port, names.port_name(port))
    else:
        complain(errors, field, port, names.port_number(port))
