"""`minipod explain KIND/NAME`: one object at each arrow of the diagram, from its manifest to its packets.

    YAML -> API server -> desired.py -> render() -> text -> apply() -> kernel -> packets
            object        record         text             compared with the text   conntrack
            slices                                        names: the zone, and what the servers answer

    story.py        what an explanation is: steps, each with lines and data; differences are marked
    scene.py        where it is read: the API, a node's kernel, through the lab's own doors
    ruleset.py      a dump taken apart into items, so that desired and held can be compared
    service.py      pod.py      node.py      network_policy.py        one kind each
    names.py        the DNS records of an object, wanted and held
    connections.py  what conntrack knows of the packets

The desired record and its text are made here once more, from the objects, by the functions that the agents use:
so an agent that sleeps, or a rule that somebody deleted, shows as a difference.

EXPLAINERS is the registry: a kind more is a module and a row.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from labs.errors import LabError
from labs.explain.scene import Scene
from labs.explain.story import Story

Explainer = Callable[[Scene, str, str], Story]  # (scene, namespace, name)

EXPLAINERS: dict[tuple[str, ...], str] = {
    ("service", "services", "svc"): "labs.explain.service",
    ("pod", "pods", "po"): "labs.explain.pod",
    ("node", "nodes", "no"): "labs.explain.node",
    ("networkpolicy", "networkpolicies", "netpol"): "labs.explain.network_policy",
}
KINDS = tuple(names[0] for names in EXPLAINERS)


def explain(scene: Scene, kind: str, namespace: str, name: str) -> Story:
    """The story of one object. Raises LabError when there is no such kind or object."""
    for names, module in EXPLAINERS.items():
        if kind.lower() in names:
            explainer: Explainer = import_module(module).explain
            return explainer(scene, namespace, name)
    raise LabError(f"{kind}: no such kind to explain: want one of {', '.join(KINDS)}")
