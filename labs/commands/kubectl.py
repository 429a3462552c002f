"""kubectl: the real one, on a lab."""

import argparse
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import NoReturn

from labs.errors import LabError
from labs.lab import Lab


def kubectl(args: argparse.Namespace) -> NoReturn:
    """Become kubectl, with the lab's kubeconfig; every word is kubectl's own."""
    program = find()
    environment = {**os.environ, "KUBECONFIG": Lab.attach(args.name).kubeconfig}
    sys.stdout.flush()
    os.execve(program, ["kubectl", *args.command], environment)


def find() -> str:
    """The kubectl that was installed with Minipod; else one on the PATH. Raises LabError."""
    ours = Path(sysconfig.get_path("scripts"), "kubectl")
    found = str(ours) if ours.exists() else shutil.which("kubectl")
    if found is None:
        raise LabError(f"{ours}: not there, and no kubectl on the PATH: run scripts/setup")
    return found
