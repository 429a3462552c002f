"""From a pod's object to the ports of its node that lead into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from netfns.host_port import ANY, HostPort

Obj = dict[str, Any]


def host_ports(pod: Obj, addresses: Sequence[str]) -> Iterator[HostPort]:
    """The host ports of a pod with these addresses; on its node's own network there is nothing to be translated."""
    spec = pod["spec"]
    if spec.get("hostNetwork"):
        return
    who = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        for port in container.get("ports") or ():
            number, host_ip = port.get("hostPort"), port.get("hostIP") or ""
            if not number:
                continue
            owner = f"{who}:{port.get('name') or port['containerPort']}"
            for address in addresses:
                if host_ip == "" or (":" in host_ip) == (":" in address):
                    yield HostPort(
                        owner, port.get("protocol", "TCP"), number, address, port["containerPort"],
                        "" if host_ip in ANY else host_ip,
                    )  # fmt: skip
