"""A container's environment: what the image sets, the pod's own facts, ConfigMaps and Secrets, `$(NAME)` put in.

    image < enableServiceLinks < envFrom < env        (the later wins)

Sources: Kubernetes API reference, EnvVar, EnvVarSource, EnvFromSource; "Dependent environment variables".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from agents.resource_fields import resource_field

Obj = dict[str, Any]
Lookup = Callable[[str, str], Obj | None]
_REFERENCE = re.compile(r"\$(\$|\(([-._a-zA-Z0-9]+)\))")


class ConfigError(Exception):
    """What an environment or a volume refers to is not there; the pod's event says so and it is tried again."""


def environment(
    pod: Obj, container: Obj, image: Mapping[str, str], services: Iterable[Obj], lookup: Lookup
) -> dict[str, str]:
    """The environment. `services`: those of the pod's namespace, and default/kubernetes. `lookup(kind, name)` finds a
    ConfigMap or Secret of the pod's namespace. Raises ConfigError.
    """
    env = {**image, "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"]}
    links = pod["spec"].get("enableServiceLinks", True)
    for service in services:
        if links or service["metadata"]["name"] == "kubernetes":
            env |= service_links(service)
    for source in container.get("envFrom") or ():
        env |= _from_source(source, lookup)
    for variable in container.get("env") or ():
        if "valueFrom" in variable:
            value = _from_reference(pod, container, variable["valueFrom"], lookup)
            if value is not None:
                env[variable["name"]] = value
        else:
            env[variable["name"]] = expand(variable.get("value") or "", env)
    return env


def expand(text: str, env: Mapping[str, str]) -> str:
    """Put variables in for `$(NAME)`; an unknown one stays as it is, `$$` is a dollar sign."""
    return _REFERENCE.sub(
        lambda match: "$" if match[1] == "$" else env.get(match[2], match[0]),
        text,
    )


def service_links(service: Obj) -> dict[str, str]:
    """The variables that a Service gives to pods that start after it, such as WEB_SERVICE_HOST and WEB_PORT."""
    address = service["spec"].get("clusterIP")
    ports = service["spec"].get("ports") or ()
    if not address or address == "None" or not ports:
        return {}
    host = f"[{address}]" if ":" in address else address
    name = service["metadata"]["name"].upper().replace("-", "_")
    first = ports[0]
    env = {
        f"{name}_SERVICE_HOST": address,
        f"{name}_SERVICE_PORT": str(first["port"]),
        f"{name}_PORT": f"{first.get('protocol', 'TCP').lower()}://{host}:{first['port']}",
    }
    for port in ports:
        protocol, number = port.get("protocol", "TCP"), port["port"]
        if port.get("name"):
            env[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(number)
        prefix = f"{name}_PORT_{number}_{protocol}"
        env[prefix] = f"{protocol.lower()}://{host}:{number}"
        env |= {f"{prefix}_PROTO": protocol.lower(), f"{prefix}_PORT": str(number), f"{prefix}_ADDR": address}
    return env


def data_of(obj: Obj) -> dict[str, bytes]:
    """The keys and contents of a ConfigMap or Secret."""
    if obj["kind"] == "Secret":
        return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    plain = {key: str(value).encode() for key, value in (obj.get("data") or {}).items()}
    return plain | {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}


def _from_source(source: Obj, lookup: Lookup) -> dict[str, str]:
    kind, reference = _referred(source, {"configMapRef": "ConfigMap", "secretRef": "Secret"})
    obj = lookup(kind, reference["name"])
    if obj is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
    prefix = source.get("prefix") or ""
    return {prefix + key: value.decode(errors="replace") for key, value in data_of(obj).items()}


def _from_reference(pod: Obj, container: Obj, source: Obj, lookup: Lookup) -> str | None:
    if "fieldRef" in source:
        return pod_field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource_field(container, source["resourceFieldRef"])
    kind, reference = _referred(source, {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"})
    obj = lookup(kind, reference["name"])
    data = data_of(obj) if obj is not None else {}
    if reference["key"] in data:
        return data[reference["key"]].decode(errors="replace")
    if reference.get("optional"):
        return None
    if obj is None:
        raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
    raise ConfigError(
        f"couldn't find key {reference['key']} in {kind} {pod['metadata']['namespace']}/{reference['name']}"
    )


def _referred(source: Obj, kinds: Mapping[str, str]) -> tuple[str, Obj]:
    for field, kind in kinds.items():
        if field in source:
            return kind, source[field]
    raise ConfigError(f"env: none of {', '.join(kinds)} is set")


def pod_field(pod: Obj, path: str) -> str:
    """The downward API: a field of the pod, such as metadata.labels['app'] or status.podIP."""
    keyed = re.fullmatch(r"metadata\.(labels|annotations)\['(.*)'\]", path)
    if keyed:
        return str((pod["metadata"].get(keyed[1]) or {}).get(keyed[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        items = pod["metadata"].get(path.rpartition(".")[2]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(items.items()))
    if path in ("status.podIPs", "status.hostIPs"):
        return ",".join(entry["ip"] for entry in (pod.get("status") or {}).get(path.rpartition(".")[2]) or ())
    value: Any = pod
    for part in path.split("."):
        value = (value or {}).get(part)
    return "" if value is None else str(value)
