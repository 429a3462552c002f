"""The Python balancer's process: it gives up all rights but to make connections on its machine, then balances.

    python -I -S -B, in the namespaces of lb2, with the control socket as standard input
        |  reads balancer.boot: the code of the loop, the decisions (reference or student's), and balancer.cfg
        |  topo.confinement: no capability, nobody's id, no files but these, a filter on system calls; lb2's network
        v
    netfns/python_balancer_control.py

Invariant: nothing of the decisions is loaded before the walls stand, and when they are a student's, nothing of the
reference's is behind them.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import sys
import types
from pathlib import Path

from topo.confinement import Confinement, confine

GIVEN = "/given"
CPU = 600  # seconds of processor time for a student's decisions in one process; then it is started again
DESCRIPTORS = 4096


def main() -> None:
    """Balance until killed; argv: the folder of the code, of balancer.boot and balancer.cfg."""
    folder = Path(sys.argv[2])
    boot = json.loads((folder / "balancer.boot").read_text())
    configuration = (folder / "balancer.cfg").read_text()
    files = {f"{GIVEN}/{path}": text for path, text in boot["given"].items()}
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most)
    listener = socket.socket(fileno=os.dup(0))
    nowhere = open(os.devnull, "r+")  # noqa: SIM115 (for the process's whole life)
    os.dup2(nowhere.fileno(), 0)
    confine(
        Confinement(
            files,
            network=True,
            cpu=CPU if boot["limited"] else resource.RLIM_INFINITY,
            descriptors=descriptors,
        )
    )
    sys.stdout = sys.stderr = nowhere  # whatever a student's function prints
    sys.path[:] = [path for path in sys.path if path.startswith((sys.base_prefix, "/usr/lib"))] + [GIVEN]
    balance(boot, configuration, listener)


def balance(boot: dict[str, str], configuration: str, listener: socket.socket) -> None:
    """Load the decisions and serve. When they cannot be loaded, whoever asks is told so."""
    from netfns import python_balancer_control as control
    from netfns.python_balancer_server import Decisions, Mistake, PythonBalancer

    module = types.ModuleType("python_balancer")
    sys.modules[module.__name__] = module
    try:
        exec(compile(boot["source"], boot["label"], "exec", dont_inherit=True), module.__dict__)
        decisions = Decisions(module, limited=bool(boot["limited"]))
    except BaseException as error:  # also SystemExit: it is a student's file
        kind = "" if isinstance(error, Mistake) else f"{type(error).__name__}: "
        told = f"{boot['label']}: {kind}{error!s:.200}\n"
        asyncio.run(control.serve(lambda *_: ("409 Conflict", told), listener))
        return
    asyncio.run(control.balance(PythonBalancer(decisions), configuration, listener))
