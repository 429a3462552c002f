"""Defaults of pods, as objects of their own and as templates, and the status that a pod is born with."""

from __future__ import annotations

from typing import Any

from controlplane.meta import Obj

POD_SPEC: Obj = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "enableServiceLinks": True,
    "preemptionPolicy": "PreemptLowerPriority",
    "priority": 0,
}
TEMPLATE_SPEC = {
    name: POD_SPEC[name]
    for name in POD_SPEC
    if name not in ("enableServiceLinks", "preemptionPolicy", "priority")
}
CONTAINER: Obj = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "resources": {},
}
PROBE: Obj = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
FILE_MODE = 0o644
# Every pod tolerates a node that is away for a while (admission plug-in DefaultTolerationSeconds).
TOLERATION_SECONDS = 300
LOST_NODE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def pod(obj: Obj) -> Obj:
    """A pod of its own: besides the template's defaults, a service account and the tolerations of a lost
    node.
    """
    spec = _spec(obj.get("spec") or {}, POD_SPEC)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    if spec.get("hostNetwork"):
        spec["containers"] = [_with_host_ports(container) for container in spec.get("containers") or ()]
    tolerations = spec.get("tolerations") or []
    missing = [
        _tolerate(key)
        for key in LOST_NODE
        if not any(entry.get("key") in (key, None) for entry in tolerations)
    ]
    if missing:
        spec["tolerations"] = [*tolerations, *missing]
    return {**obj, "spec": spec}


def template(spec: Obj) -> Obj:
    """The `spec` of a pod template."""
    return _spec(spec, TEMPLATE_SPEC)


def initial_status(obj: Obj) -> Obj:
    """A pod begins as Pending."""
    return {"phase": "Pending", "qosClass": _qos_class(obj.get("spec") or {})}


def _tolerate(key: str) -> Obj:
    return {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS}


def _spec(spec: Obj, defaults: Obj) -> Obj:
    result = {**defaults, **spec}
    for name in ("containers", "initContainers", "ephemeralContainers"):
        if result.get(name):
            result[name] = [_container(container) for container in result[name]]
    if result.get("volumes"):
        result["volumes"] = [_volume(volume) for volume in result["volumes"]]
    return result


def _container(container: Obj) -> Obj:
    result = {**CONTAINER, **container}
    if "imagePullPolicy" not in result:
        result["imagePullPolicy"] = _pull_policy(container.get("image", ""))
    if "ports" in result:
        result["ports"] = [
            port if "protocol" in port else {**port, "protocol": "TCP"} for port in result["ports"]
        ]
    for name in PROBES:
        if name in result:
            result[name] = _probe(result[name])
    if "lifecycle" in result:
        result["lifecycle"] = {hook: _handler(handler) for hook, handler in result["lifecycle"].items()}
    for entry in result.get("env") or ():
        if "fieldRef" in (entry.get("valueFrom") or {}):
            result["env"] = [_env(variable) for variable in result["env"]]
            break
    return result


def _pull_policy(image: str) -> str:
    name = image.rpartition("/")[2]
    tag = name.partition(":")[2] if "@" not in name else name
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _probe(probe: Obj) -> Obj:
    result = _handler({**PROBE, **probe})
    if "grpc" in result:
        result["grpc"] = {"service": "", **result["grpc"]}
    return result


def _handler(handler: Obj) -> Obj:
    if "httpGet" not in handler:
        return handler
    return {**handler, "httpGet": {"path": "/", "scheme": "HTTP", **handler["httpGet"]}}


def _env(variable: Obj) -> Obj:
    source = variable.get("valueFrom") or {}
    if "fieldRef" not in source:
        return variable
    return {**variable, "valueFrom": {**source, "fieldRef": {"apiVersion": "v1", **source["fieldRef"]}}}


def _volume(volume: Obj) -> Obj:
    result = dict(volume)
    for name in ("configMap", "secret", "downwardAPI", "projected"):
        if name in result:
            result[name] = {"defaultMode": FILE_MODE, **result[name]}
    if "hostPath" in result:
        result["hostPath"] = {"type": "", **result["hostPath"]}
    if not set(result) - {"name"}:
        result["emptyDir"] = {}
    return result


def _with_host_ports(container: Obj) -> Obj:
    """On the host's network a port of the container is a port of the host."""
    if "ports" not in container:
        return container
    return {
        **container,
        "ports": [{**port, "hostPort": port.get("containerPort")} for port in container["ports"]],
    }


def _qos_class(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort, by the containers' resources."""
    resources = [container.get("resources") or {} for container in spec.get("containers") or ()]
    if not any(entry.get("requests") or entry.get("limits") for entry in resources):
        return "BestEffort"
    return "Guaranteed" if all(_is_guaranteed(entry) for entry in resources) else "Burstable"


def _is_guaranteed(resources: dict[str, Any]) -> bool:
    limits = resources.get("limits") or {}
    requests = {**limits, **(resources.get("requests") or {})}
    return {"cpu", "memory"} <= set(limits) and all(
        requests[name] == limits[name] for name in ("cpu", "memory")
    )
