"""What a kubelet does to see whether a container is well, and in its lifecycle hooks: four handlers.

    exec        a process in the container's namespaces, with its environment     well: exit status 0
    httpGet     a GET from the node to the pod (agents/http_get.py)               well: status 200 to 399
    tcpSocket   a connection from the node to the pod, closed at once             well: it is there
    grpc        a call from the node to the pod (agents/grpc_health.py)           well: SERVING

A network handler's packets come from the node, as the kubelet's do. No handler has a deadline of its own: whoever
runs one cancels it.

Sources: Kubernetes documentation, "Configure Liveness, Readiness and Startup Probes"; the kubelet's pkg/probe, whose
messages these are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents import grpc_health
from agents.command import run_command
from agents.dial import authority, connect, streams
from agents.http_get import HttpGetError, http_get
from agents.security import Rights
from topo.enter import Namespaces

Obj = dict[str, Any]


class HandlerError(Exception):
    """The handler cannot be run at all: it names an unknown port, or is of no known kind."""


@dataclass(frozen=True)
class Outcome:
    """What came of it; `message` tells why it is not well, or what a command said."""

    ok: bool
    message: str = ""


@dataclass(frozen=True)
class Target:
    """The container that handlers act on.

    node: the node's namespaces, from where connections are made. address: the pod's. ports: its named ports.
    namespaces: the container's own, while it runs. env, working_dir: its program's.
    rights: what a command that is run there may do.
    """

    node: Namespaces
    address: str
    ports: Mapping[str, int]
    namespaces: Callable[[], Namespaces]
    env: Mapping[str, str]
    working_dir: str
    rights: Rights = field(default_factory=Rights)

    def port(self, port: int | str) -> int:
        """A port's number. Raises HandlerError for a name that the container does not declare."""
        if isinstance(port, int):
            return port
        if port in self.ports:
            return self.ports[port]
        if port.isdigit():
            return int(port)
        raise HandlerError(f"couldn't find port: {port} in the container's ports")


def named_ports(container: Obj) -> dict[str, int]:
    """The ports of a container that have a name."""
    return {port["name"]: port["containerPort"] for port in container.get("ports") or () if port.get("name")}


async def run(handler: Obj, target: Target) -> Outcome:
    """Run the handler of a probe or a hook to its end. Raises HandlerError."""
    if "exec" in handler:
        return await _exec(target, handler["exec"].get("command") or ())
    if "httpGet" in handler:
        return await _http_get(target, handler["httpGet"])
    if "tcpSocket" in handler:
        return await _tcp_socket(target, handler["tcpSocket"])
    if "grpc" in handler:
        return await _grpc(target, handler["grpc"])
    if "sleep" in handler:
        await asyncio.sleep(handler["sleep"]["seconds"])
        return Outcome(True)
    raise HandlerError("invalid handler: want one of exec, httpGet, tcpSocket, grpc, sleep")


async def _exec(target: Target, argv: Sequence[str]) -> Outcome:
    try:
        words = [*target.rights.words, *argv]
        threads = target.rights.threads
        status, output = await run_command(target.namespaces, words, target.env, target.working_dir, threads)
    except FileNotFoundError:
        return Outcome(False, f'exec: "{argv[0]}": executable file not found in $PATH')
    except OSError as error:
        return Outcome(False, f"exec: {error.strerror}")
    return Outcome(status == 0, output.strip() or f"command exited with status {status}")


async def _http_get(target: Target, spec: Obj) -> Outcome:
    host, port = spec.get("host") or target.address, target.port(spec["port"])
    scheme, path = (spec.get("scheme") or "HTTP").lower(), spec.get("path") or "/"
    headers = {header["name"]: header.get("value", "") for header in spec.get("httpHeaders") or ()}
    try:
        status = await http_get(
            target.node, f"{scheme}://{authority(host, port)}/{path.removeprefix('/')}", headers
        )
    except HttpGetError as error:
        return Outcome(False, str(error))
    if 200 <= status < 400:
        return Outcome(True)
    return Outcome(False, f"HTTP probe failed with statuscode: {status}")


async def _tcp_socket(target: Target, spec: Obj) -> Outcome:
    try:
        (await connect(target.node, spec.get("host") or target.address, target.port(spec["port"]))).close()
    except OSError as error:
        return Outcome(False, str(error.strerror))
    return Outcome(True)


async def _grpc(target: Target, spec: Obj) -> Outcome:
    host, port = target.address, target.port(spec["port"])
    try:
        async with streams(target.node, host, port) as (reader, writer):
            status = await grpc_health.check(reader, writer, authority(host, port), spec.get("service") or "")
    except (OSError, EOFError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        return Outcome(False, f"error: {why}")
    if status == grpc_health.SERVING:
        return Outcome(True)
    return Outcome(False, f'service unhealthy (responded with "{status}")')
