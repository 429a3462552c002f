"""explain: one object at each arrow, from its manifest to its packets."""

import argparse
import json

from labs.errors import LabError
from labs.explain import KINDS, explain
from labs.explain.scene import Scene
from labs.lab import Lab


def explain_(args: argparse.Namespace) -> int:
    """Tell the story of one object; differences between wanted and held are marked."""
    kind, slash, name = args.object.partition("/")
    if not slash or not kind or not name:
        raise LabError(f"{args.object}: want KIND/NAME, such as service/web; kinds are {', '.join(KINDS)}")
    lab = Lab.attach(args.name)
    with lab.api() as client:
        scene = Scene(lab, client, args.node, args.full)
        name, namespace = _place(scene, kind, name, args.namespace)
        story = explain(scene, kind, namespace, name)
    print(json.dumps(story.to_json(), indent=2) if args.output == "json" else story)
    return 0


def _place(scene: Scene, kind: str, name: str, namespace: str) -> tuple[str, str]:
    """NAME[.NAMESPACE]: the last part is a namespace when there is one of that name. Raises LabError."""
    head, _, tail = name.rpartition(".")
    if namespace or not head or kind.lower() in ("node", "nodes", "no"):
        return name, namespace or "default"
    known = {one["metadata"]["name"] for one in scene.list("Namespace")}
    return (head, tail) if tail in known else (name, "default")
