"""In a lab: how long a Service still sends connections to a pod that has died."""

import socket
import time
from dataclasses import dataclass
from typing import Any

from bench.support.labs import DEADLINE, PODS, deploy, pod_names, running_lab
from controlplane.client import Client
from labs.lab import Lab

WORKERS, PODS_BEHIND, PORT = 2, 3, 80
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
    """Some deaths of a pod without grace. Raises TimeoutError."""
    with running_lab(WORKERS) as lab, lab.api() as client:
        deploy(lab, "web", PODS_BEHIND, "nginx")
        made = client.request("POST", "/api/v1/namespaces/default/services", SERVICE)
        address = made["spec"]["clusterIP"]
        return [_death(lab, client, address) for _ in range(times)]


def _death(lab: Lab, client: Client, address: str) -> Death:
    _all_serve(lab, client, address)
    victim = pod_names(client, "web")[0]
    query: dict[str, Any] = {"gracePeriodSeconds": "0"}
    client.request("DELETE", f"{PODS}/{victim}", query=query)
    died, found = time.perf_counter(), list[tuple[float, bool]]()
    while (now := time.perf_counter()) < died + WATCHED:
        found.append((now - died, _answered(lab, address)))
    lost = [when for when, answered in found if not answered]
    return Death(len(found), len(lost), max(lost, default=0.0))


def _all_serve(lab: Lab, client: Client, address: str) -> None:
    """Wait until all pods are there and many connections in a row were answered."""
    end, good = time.monotonic() + DEADLINE, 0
    while good < 10 * PODS_BEHIND:
        if time.monotonic() > end:
            raise TimeoutError(f"the Service web is not served after {DEADLINE:.0f} s")
        served = len(pod_names(client, "web")) == PODS_BEHIND and _answered(lab, address)
        good = good + 1 if served else 0


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
