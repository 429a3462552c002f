"""policy: what NetworkPolicies do, predicted, measured and watched."""

import argparse
import json
import sys

from labs.errors import CheckFailed, LabError
from labs.lab import Lab
from labs.policy import drawing, matrix, watch, why
from labs.policy.scene import Scene, parse

OUTPUTS = {"why": ("table", "json"), "matrix": ("table", "json", "svg"), "watch": ("table", "json")}


def policy(args: argparse.Namespace) -> int:
    """Answer `why`, draw the `matrix`, or `watch`."""
    if args.output not in OUTPUTS[args.what]:
        raise LabError(
            f"-o {args.output}: minipod policy {args.what} prints {' or '.join(OUTPUTS[args.what])}"
        )
    expected = 2 if args.what == "why" else 0
    if len(args.words) != expected:
        want = "SOURCE and DESTINATION:PORT" if expected else "no further words"
        raise LabError(f"minipod policy {args.what}: want {want}, got {' '.join(args.words) or 'nothing'}")
    return {"why": _why, "matrix": _matrix, "watch": _watch}[args.what](args)


def _why(args: argparse.Namespace) -> int:
    source, destination = args.words
    answer = why.ask(Scene.read(Lab.attach(args.name)), source, destination, args.ipv6)
    print(json.dumps(answer.to_json(), indent=2) if args.output == "json" else why.text(answer))
    if not answer.agrees:
        raise CheckFailed(
            "minipod policy why: the packet did not do what the policies say: "
            "see `minipod exec node/NAME -- nft list table inet network-policy` on both nodes"
        )
    return 0


def _matrix(args: argparse.Namespace) -> int:
    _, _, port, protocol = parse(f"pod/any:{args.port}")
    found = matrix.draw_up(Scene.read(Lab.attach(args.name)), args.namespace, port, protocol, args.ipv6)
    if args.output == "json":
        print(json.dumps(found.to_json(), indent=2))
    else:
        print(drawing.svg(found) if args.output == "svg" else drawing.text(found))
    if not found.agrees:
        raise CheckFailed(
            "minipod policy matrix: some packets did not do what the policies say: see what is marked !"
        )
    return 0


def _watch(args: argparse.Namespace) -> int:
    lab = Lab.attach(args.name)
    scene = Scene.read(lab)
    names: dict[str, str] = {}
    try:
        for denied in watch.watch(lab, sorted(scene.cluster.nodes), args.seconds):
            if denied is None:
                print(
                    f"watching {len(scene.cluster.nodes)} nodes; Ctrl-C ends it", file=sys.stderr, flush=True
                )
                continue
            if denied.source not in names or denied.destination not in names:
                pods = Scene.read(lab).cluster.pods
                names |= {address: pod.owner for pod in pods for address in pod.addresses}
            if args.output == "json":
                print(json.dumps(watch.to_json(denied, names)), flush=True)
            else:
                print(watch.text(denied, names), flush=True)
    except KeyboardInterrupt:
        pass
    return 0
