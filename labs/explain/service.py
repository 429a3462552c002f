"""A Service: who answers for it, what a node is told, what the node holds, who was connected to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from agents import desired
from controlplane.yaml_text import dump
from labs.explain import names
from labs.explain.connections import connections
from labs.explain.ruleset import items, of_owner
from labs.explain.scene import Obj, Scene, manifest
from labs.explain.story import Step, Story, compared
from netfns.dns import service_records
from netfns.service_types import ServiceProxy, frontends


def explain(scene: Scene, namespace: str, name: str) -> Story:
    """The story of a Service. Raises LabError."""
    service = scene.get("Service", name, namespace)
    slices = [
        s for s in scene.list("EndpointSlice", namespace) if desired.service_key(s) == (namespace, name)
    ]
    node = scene.a_node()
    machine = node["metadata"]["name"]
    steps = [manifest(service, "Service"), _slices(slices)]
    record = desired.service(service, slices, desired.place(node, machine))
    if record is None:
        text = "it has no address of its own: nothing is told to the nodes, names are all that there is"
        steps.append(Step("record", "the desired record", (text,), None))
    else:
        proxy = ServiceProxy(machine, desired.node_addresses(node), scene.pod_cidrs, scene.service_cidrs)
        proxy = replace(proxy, services=(record,))
        steps += _carried_out(scene, proxy, f"{namespace}/{name}")
        targets = {(frontend.address, frontend.port) for frontend in frontends(proxy, record)}
        title = f"packets: the connections to it that {machine} remembers"
        steps.append(connections(scene.kernel(machine), sorted(targets), title))
    wanted = service_records(names.frame(scene), desired.named_service(service, slices))
    steps.append(names.records(scene, wanted, f"service {namespace}/{name}"))
    steps.append(names.answers(scene, f"{name}.{namespace}.svc.{names.DOMAIN}.", machine))
    return Story("Service", namespace, name, machine, tuple(steps))


def _slices(slices: Sequence[Obj]) -> Step:
    """The step "slices": every endpoint with its conditions."""
    lines, data = [], []
    for one in slices:
        ports = [
            f"{p.get('name') or '-'} {p.get('port')}/{p.get('protocol', 'TCP')}"
            for p in one.get("ports") or ()
        ]
        lines.append(
            f"{one['metadata']['name']} ({one.get('addressType')}): {', '.join(ports) or 'no ports'}"
        )
        for endpoint in one.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            states = [word for word in ("ready", "serving", "terminating") if conditions.get(word)]
            target = (endpoint.get("targetRef") or {}).get("name", "")
            place = " ".join(
                filter(None, [", ".join(endpoint["addresses"]), endpoint.get("hostname"), target])
            )
            lines.append(
                f"  {place} on {endpoint.get('nodeName', 'no node')}: {', '.join(states) or 'not ready'}"
            )
        told = {key: one.get(key) for key in ("addressType", "ports", "endpoints")}
        data.append({"name": one["metadata"]["name"], **told})
    return Step("slices", "EndpointSlices: who may answer", tuple(lines) or ("there are none",), data)


def _carried_out(scene: Scene, proxy: ServiceProxy, owner: str) -> list[Step]:
    """The steps "record", "text" and "kernel"."""
    mode, (record,) = scene.mode, proxy.services
    data: dict[str, Any] = {key: value for key, value in asdict(record).items() if value not in ((), 0, "")}
    told = tuple(dump(_plain(data)).splitlines())
    whole = mode.render(proxy)
    belongs = of_owner(owner)
    wanted = [item for item in items(whole) if belongs(item)]
    held = [item for item in items(mode.observe(scene.kernel(proxy.node))) if belongs(item)]
    if scene.full or mode.render_change is None:
        text = whole if scene.full else "\n".join(map(str, wanted))
    else:
        text = mode.render_change(replace(proxy, services=()), proxy)
    name = scene.config.proxy_mode
    return [
        Step("record", f"the desired record, as {proxy.node} is told", told, _plain(data)),
        Step("text", f"the text that {name} mode renders of it", tuple(text.splitlines()), text),
        compared(
            "kernel",
            f"wanted, and held by the kernel of {proxy.node}",
            map(str, wanted), map(str, held),
            "nothing",
        ),
    ]  # fmt: skip


def _plain(value: Any) -> Any:
    """Tuples as lists, for YAML and JSON."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (tuple, list)) else value
