"""A Node: its tunnels to the others, its way out of the cluster, its bridge and the pods on it."""

from __future__ import annotations

from dataclasses import asdict

from agents import desired
from labs.explain.ruleset import items
from labs.explain.scene import Scene, manifest
from labs.explain.story import Step, Story, compared
from netfns import bridge, masquerade, overlay


def explain(scene: Scene, namespace: str, name: str) -> Story:
    """The story of a Node. Nodes are in no namespace. Raises LabError."""
    node, nodes = scene.get("Node", name), scene.list("Node")
    kernel, steps = scene.kernel(name), [manifest(node, "Node")]
    ends = desired.overlay(name, nodes)
    if ends is None:
        steps.append(Step("record", "the desired record", ("it has no address or no pod range yet",), None))
        return Story("Node", "", name, name, tuple(steps))
    wanted, held = overlay.render(ends), overlay.observe(kernel)
    told = tuple(map(str, (ends.local, *ends.peers)))
    steps.append(
        Step(
            "record",
            "the tunnels' ends, as the node is told",
            told,
            asdict(ends),
        )
    )
    steps.append(
        compared(
            "overlay", "tunnels: wanted, and held by the kernel",
            _lines(wanted.ip + wanted.bridge), _lines(held.ip + held.bridge), "nothing",
        )
    )  # fmt: skip
    way_out = masquerade.render(desired.masquerade(scene.pod_cidrs, nodes))
    wanted_nat, held_nat = (map(str, items(text)) for text in (way_out, masquerade.observe(kernel)))
    title = "the way out of the cluster: wanted, and held by the kernel"
    steps.append(compared("masquerade", title, wanted_nat, held_nat, "nothing"))
    pods = [
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for pod in scene.list("Pod")
        if pod["spec"].get("nodeName") == name
        and not pod["spec"].get("hostNetwork")
        and (pod.get("status") or {}).get("podIP")
        and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    ]
    plugged = bridge.observe(kernel)
    title = f"pods on {bridge.DEVICE}: with an address, and plugged in"
    steps.append(compared("pods", title, sorted(pods), sorted(plugged.values()), "none"))
    return Story("Node", "", name, name, tuple(steps))


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]
