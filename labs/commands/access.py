"""exec, shell, kubeconfig: going into a lab."""

import argparse
import os
import sys

from labs.errors import LabError
from labs.lab import Lab


def exec_(args: argparse.Namespace) -> int:
    """Run a command on a machine or in a pod; its exit code is ours."""
    if not args.command:
        raise LabError(
            f"minipod exec {args.machine}: no command: give one after --, or use `minipod shell {args.machine}`"
        )
    if sys.stdout is not None:  # it may have been closed
        sys.stdout.flush()
    Lab.attach(args.name).replace_process(args.machine, args.command, args.container)


def shell(args: argparse.Namespace) -> int:
    """An interactive shell on a machine or in a pod."""
    script = 'if command -v bash >/dev/null; then exec bash --norc "$@"; else exec sh "$@"; fi'
    os.environ["PS1"] = f"{args.machine}# "
    Lab.attach(args.name).replace_process(
        args.machine, ["env", f"PS1={args.machine}# ", "sh", "-c", script, "sh"], args.container
    )


def kubeconfig(args: argparse.Namespace) -> int:
    """Print the path of the lab's kubeconfig."""
    print(Lab.attach(args.name).kubeconfig)
    return 0
