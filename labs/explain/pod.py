"""A Pod: its place on the node's bridge, its addresses, the Services that it answers for, its names."""

from __future__ import annotations

import re

from agents import desired
from labs.errors import LabError
from labs.explain import names
from labs.explain.connections import connections
from labs.explain.scene import Obj, Scene, manifest
from labs.explain.story import Step, Story, compared
from netfns import bridge
from netfns.bridge import Attachment, Bridge
from netfns.dns import pod_records


def explain(scene: Scene, namespace: str, name: str) -> Story:
    """The story of a Pod, at its own node. Raises LabError."""
    pod = scene.get("Pod", name, namespace)
    machine = pod["spec"].get("nodeName") or ""
    if not machine:
        text = "no node has been chosen yet: see its events, `minipod kubectl describe pod`"
        step = Step("record", "the desired record", (text,), None)
        return Story("Pod", namespace, name, "none", (manifest(pod, "Pod"), step))
    if scene.node not in ("", machine):
        raise LabError(f"--node {scene.node}: pod {namespace}/{name} is on {machine}: leave --node out")
    steps = [manifest(pod, "Pod"), *_attachment(scene, pod, scene.get("Node", machine))]
    steps.append(_services(scene, pod))
    targets = [(row["ip"], 0) for row in (pod.get("status") or {}).get("podIPs") or ()]
    title = f"packets: the connections to its addresses that {machine} remembers"
    steps.append(connections(scene.kernel(machine), targets, title))
    named = desired.named_pod(pod)
    wanted = () if named is None else pod_records(names.frame(scene), named)
    steps.append(names.records(scene, wanted, f"pod {namespace}/{name}"))
    return Story("Pod", namespace, name, machine, tuple(steps))


def _attachment(scene: Scene, pod: Obj, node: Obj) -> list[Step]:
    """The steps "record", "text" and "kernel": the veth pair and what is at its two ends."""
    metadata, machine = pod["metadata"], node["metadata"]["name"]
    place = f"{metadata['namespace']}/{metadata['name']}"
    addresses = tuple(row["ip"] for row in (pod.get("status") or {}).get("podIPs") or ())
    if pod["spec"].get("hostNetwork") or not addresses:
        why = "it has its node's network" if addresses else "it has no address yet"
        return [Step("record", "the desired record", (f"{why}: nothing is plugged in",), None)]
    plan = Bridge(tuple(node["spec"].get("podCIDRs") or ()), any(":" in a for a in addresses))
    attachment = Attachment(place, metadata["uid"], 0, addresses)
    wiring = bridge.render(plan, attachment)
    data = {
        "pod": place,
        "port": attachment.port,
        "addresses": list(addresses),
        "gateways": list(plan.gateways),
    }
    text = [
        f"on {machine}:",
        *_indented(wiring.node),
        "in the pod:",
        *_indented(wiring.pod),
        f"on {machine} again:",
        *_indented(wiring.port),
    ]
    held = bridge.observe(scene.kernel(machine))
    ours = [
        f"{machine}: port {port} of {bridge.DEVICE}: {alias}"
        for port, alias in held.items()
        if alias == place
    ]
    inside = _inside(scene, f"pod/{metadata['name']}.{metadata['namespace']}")
    wanted = [f"{machine}: port {attachment.port} of {bridge.DEVICE}: {place}"]
    wanted += [f"pod: address {address} on {bridge.POD_DEVICE}" for address in addresses]
    return [
        Step("record", "the desired record", tuple(f"{key}: {value}" for key, value in data.items()), data),
        Step("text", "the text that plugs it in (netns: a process of the pod)", tuple(text), text),
        compared("kernel", "wanted, and held by the kernel", wanted, [*ours, *inside], "nothing"),
    ]


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


def _inside(scene: Scene, place: str) -> list[str]:
    """The addresses that the pod's own device has. Busybox's `ip` knows no JSON."""
    done = scene.lab.exec(place, ["ip", "address", "show", "dev", bridge.POD_DEVICE])
    if done.status:
        return [f"pod: cannot be looked into: {done.stderr.strip().splitlines()[:1]}"]
    found = re.findall(r"inet6? (\S+)/\d+.* scope global", done.stdout)
    return [f"pod: address {address} on {bridge.POD_DEVICE}" for address in found]


def _services(scene: Scene, pod: Obj) -> Step:
    """The step "services": the Services that send to the pod."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    lines, data = [], []
    for one in scene.list("EndpointSlice", namespace):
        for endpoint in one.get("endpoints") or ():
            if (endpoint.get("targetRef") or {}).get("name") != name:
                continue
            ready = "ready" if desired.is_ready(endpoint) else "not ready"
            service = desired.service_key(one)[1]
            lines.append(f"{namespace}/{service}: {', '.join(endpoint['addresses'])} {ready}")
            data.append({"service": service, "addresses": endpoint["addresses"], "ready": ready == "ready"})
    return Step("services", "the Services that it answers for", tuple(lines) or ("none",), data)
