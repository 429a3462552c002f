"""In a lab: how long a Service still sends connections to a pod whose program has died.

The kernel of the pod resets such a connection at once; the kubelet notices the end, the endpoint is taken out, and the
program is started again.
"""

import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from bench.support.labs import DEADLINE, deploy, processes, running_lab
from labs.lab import Lab

WORKERS, PORT, PROGRAM = 2, 80, "nginx"
WATCHED = 2.0  # seconds after a death in which wrong connections are looked for
PATIENCE = 0.3  # seconds for an answer
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": PORT}]},
}


@dataclass(frozen=True)
class Death:
    """What clients met within `WATCHED` seconds: connections asked for, those without an answer, and after how many
    seconds the last of these began (0: there was none).
    """

    asked: int
    lost: int
    last: float


def deaths(times: int) -> list[Death]:
    """Some deaths, each of another pod, so that none has to be patient before it is started again. Raises
    TimeoutError.
    """
    with running_lab(WORKERS) as lab, lab.api() as client:
        deploy(lab, "web", times, PROGRAM)
        made = client.request("POST", "/api/v1/namespaces/default/services", SERVICE)
        address = made["spec"]["clusterIP"]
        victims = [pid for pid in sorted(processes(lab)) if _name(pid) == PROGRAM]
        assert len(victims) == times, victims
        return [_death(lab, address, victim, times) for victim in victims]


def _death(lab: Lab, address: str, victim: int, pods: int) -> Death:
    _all_serve(lab, address, pods)
    os.kill(victim, signal.SIGKILL)
    died, found = time.perf_counter(), list[tuple[float, bool]]()
    while (now := time.perf_counter()) < died + WATCHED:
        found.append((now - died, _answered(lab, address)))
    lost = [when for when, answered in found if not answered]
    return Death(len(found), len(lost), max(lost, default=0.0))


def _all_serve(lab: Lab, address: str, pods: int) -> None:
    """Wait until many connections in a row were answered. Raises TimeoutError."""
    end, good = time.monotonic() + DEADLINE, 0
    while good < 10 * pods:
        if time.monotonic() > end:
            raise TimeoutError(f"the Service web is not served after {DEADLINE:.0f} s")
        good = good + 1 if _answered(lab, address) else 0


def _name(pid: int) -> str:
    """The name that a process gives itself; "" when it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _answered(lab: Lab, address: str) -> bool:
    """Whether a new connection from a node without a pod of the Service gets an answer."""
    with lab.socket("node/control-plane", socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.settimeout(PATIENCE)
        try:
            caller.connect((address, 80))
            caller.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return bool(caller.recv(1))
        except OSError:
            return False
