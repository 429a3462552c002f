"""A NetworkPolicy: the pods that it isolates, the rules that a node holds for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from agents import desired
from agents.node_rules import NodeRules
from agents.policy_index import ClusterIndex
from labs.explain.ruleset import Item, items
from labs.explain.scene import Scene, manifest
from labs.explain.story import Step, Story, compared
from netfns import policy
from netfns.policy_types import DIRECTIONS


def explain(scene: Scene, namespace: str, name: str) -> Story:
    """The story of a NetworkPolicy, at the node of the first pod that it selects. Raises LabError."""
    obj = scene.get("NetworkPolicy", name, namespace)
    index, places = _index(scene)
    record = desired.network_policy(obj)
    selected = sorted(
        (pod.name, places[uid])
        for uid, pod in index.pods.items()
        if pod.namespace == namespace and any(record in index.isolating(pod, way) for way in DIRECTIONS)
    )
    machine = scene.a_node(selected[0][1] if selected else "")["metadata"]["name"]
    rules = NodeRules(machine, index).everything()
    text = policy.render(rules)
    belongs = _of_policy(namespace, name)
    wanted = [item for item in items(text) if belongs(item)]
    held = [item for item in items(policy.observe(scene.kernel(machine))) if belongs(item)]
    shown = text.splitlines() if scene.full else [str(item) for item in wanted]
    steps = (
        manifest(obj, "NetworkPolicy"),
        Step("record", "the desired record", tuple(_told(record)), _told(record)),
        Step(
            "pods", "the pods that it isolates",
            tuple(f"{namespace}/{pod} on {node}" for pod, node in selected) or ("none",),
            [{"pod": pod, "node": node} for pod, node in selected],
        ),
        Step("text", f"the rules that {machine} is told of it", tuple(shown) or ("none: no such pod is here",), shown),
        compared("kernel", f"wanted, and held by the kernel of {machine}", map(str, wanted), map(str, held), "nothing"),
        _packets(held, machine),
    )  # fmt: skip
    return Story("NetworkPolicy", namespace, name, machine, steps)


def _packets(held: Sequence[Item], machine: str) -> Step:
    """The step "packets": what the rules' counters have seen."""
    counted = [item for item in held if item.packets is not None]
    lines = tuple(f"{item.packets:>5} packets: {item}" for item in counted)
    data = [{"rule": str(item), "packets": item.packets} for item in counted]
    return Step(
        "packets", f"packets that its rules on {machine} have counted", lines or ("nothing is counted",), data
    )


def _index(scene: Scene) -> tuple[ClusterIndex, dict[str, str]]:
    """What the nodes' policy agents know of the cluster, and each pod's node, by uid."""
    index, places = ClusterIndex(), {}
    for one in scene.list("Namespace"):
        index.set_namespace(one["metadata"]["name"], desired.namespace_labels(one))
    for one in scene.list("NetworkPolicy"):
        key = (one["metadata"]["namespace"], one["metadata"]["name"])
        index.set_policy(key, desired.network_policy(one))
    for one in scene.list("Pod"):
        uid = one["metadata"]["uid"]
        index.set_pod(uid, desired.policy_pod(one))
        places[uid] = one["spec"].get("nodeName") or ""
    return index, places


def _of_policy(namespace: str, name: str) -> Any:
    """Whether an item is in, or leads to, a gate of the policy: ingress/NAMESPACE/NAME/NAME…"""
    gate = re.compile(rf"(in|e)gress/{re.escape(namespace)}/(\S*/)?{re.escape(name)}(?![\w-])")

    def belongs(item: Item) -> bool:
        return bool(gate.search(item.place) or gate.search(item.text))

    return belongs


def _told(record: Any) -> list[str]:
    return [f"{field}: {getattr(record, field)}" for field in record.__dataclass_fields__]
