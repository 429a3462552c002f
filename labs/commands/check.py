"""check: the four communication types, proven by packets."""

import argparse
import json
import sys

from labs.check import containers, external, ipv6, pods, report, services
from labs.check.claim import CLAIMS, TYPES, Result, examine
from labs.check.ground import ground
from labs.check.subjects import GaveUp
from labs.errors import CheckFailed, LabError
from labs.lab import Lab

# Importing these enters their claims into the table.
CHAPTERS = (containers, pods, services, external, ipv6)


def check(args: argparse.Namespace) -> int:
    """Prove every claim, or those of `--only`; exit 0 only when all of them hold."""
    unknown = [name for name in args.only if name not in CLAIMS]
    if unknown:
        raise LabError(f"--only {unknown[0]}: no such claim: want one of {', '.join(CLAIMS)}")
    lab = Lab.attach(args.name)
    results: list[Result] = []
    try:
        with ground(lab, args.namespace) as scene:
            for claim in sorted(CLAIMS.values(), key=lambda claim: TYPES.index(claim.type)):
                if not args.only or claim.name in args.only:
                    print(f"  {claim.name} …", file=sys.stderr, flush=True)
                    results.append(examine(claim, scene))
            # Before the ground is cleared, which may fail: nothing that was proven is lost.
            if args.output == "json":
                print(json.dumps(report.to_json(lab.name, scene.namespace, results), indent=2), flush=True)
            else:
                print(f"{report.table(results)}\n\n{report.summary(results)}", flush=True)
    except GaveUp as error:
        raise CheckFailed(f"minipod check: {error}: see `minipod kubectl get pods -A`") from None
    if any(result.verdict == "fails" for result in results):
        raise CheckFailed(report.stories(results))
    return 0
