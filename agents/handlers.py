"""What a kubelet does to see whether a container is well, and in its lifecycle hooks: four handlers.

    exec        a process in the container's namespaces, with its environment     well: exit status 0
    httpGet     a GET from the node to the pod                                    well: status 200 to 399
    tcpSocket   a connection from the node to the pod, closed at once             well: it is there
    grpc        agents/grpc_health.py

A network handler's packets come from the node, as the kubelet's do: the socket is made in the node's network
namespace, and stays there; everything after that is this process' event loop. No handler has a deadline of its own:
whoever calls one cancels it.

Sources: Kubernetes documentation, "Configure Liveness, Readiness and Startup Probes"; the kubelet's pkg/probe, whose
messages these are; RFC 9112 (HTTP/1.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urljoin, urlsplit

from agents import grpc_health
from agents.descriptors import ended
from topo.enter import NETWORK, Namespaces

Obj = dict[str, Any]
OUTPUT_LIMIT = 10 << 10  # bytes of a command's output that are looked at
USER_AGENT = "kube-probe/1.37"
MAX_REDIRECTS = 10


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
    """

    node: Namespaces
    address: str
    ports: Mapping[str, int]
    namespaces: Callable[[], Namespaces]
    env: Mapping[str, str]
    working_dir: str

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
        return await run_command(target, handler["exec"].get("command") or ())
    if "httpGet" in handler:
        return await _http_get(target, handler["httpGet"])
    if "tcpSocket" in handler:
        spec = handler["tcpSocket"]
        return await _tcp_socket(target, spec.get("host") or target.address, target.port(spec["port"]))
    if "grpc" in handler:
        return await _grpc(target, handler["grpc"])
    if "sleep" in handler:
        await asyncio.sleep(handler["sleep"]["seconds"])
        return Outcome(True)
    raise HandlerError("invalid handler: want one of exec, httpGet, tcpSocket, grpc, sleep")


# -------------------------------------------------------------------- exec


async def run_command(target: Target, argv: Sequence[str]) -> Outcome:
    """Run a command in the container; when this is cancelled, the command is killed."""
    output = os.memfd_create("output")
    try:
        status = await _run_process(target, argv, output)
        said = os.pread(output, OUTPUT_LIMIT, 0).decode(errors="replace").strip()
    except FileNotFoundError:
        return Outcome(False, f'exec: "{argv[0]}": executable file not found in $PATH')
    except OSError as error:
        return Outcome(False, f"exec: {error.strerror}")
    finally:
        os.close(output)
    return Outcome(status == 0, said or f"command exited with status {status}")


async def _run_process(target: Target, argv: Sequence[str], output: int) -> int:
    def start() -> subprocess.Popen[bytes]:
        return target.namespaces().popen(
            argv, env=dict(target.env), cwd=target.working_dir, stdin=subprocess.DEVNULL, stdout=output,
            stderr=output, start_new_session=True,
        )  # fmt: skip

    starting = asyncio.ensure_future(asyncio.to_thread(start))
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_kill_started)
        raise
    try:
        return await ended(process)
    finally:
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _kill_started(starting: asyncio.Future[subprocess.Popen[bytes]]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        _kill(starting.result())


# -------------------------------------------------------------------- from the node over the network


async def connect(namespaces: Namespaces, host: str, port: int) -> socket.socket:
    """A connected socket of a network. Raises OSError, whose strerror tells what a Go program would say."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    connection = namespaces.call(lambda: socket.socket(family, socket.SOCK_STREAM), NETWORK)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, (host, port))
    except OSError as error:
        connection.close()
        why = (os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)).lower()
        raise OSError(error.errno, f"dial tcp {_authority(host, port)}: connect: {why}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _tcp_socket(target: Target, host: str, port: int) -> Outcome:
    try:
        (await connect(target.node, host, port)).close()
    except OSError as error:
        return Outcome(False, str(error.strerror))
    return Outcome(True)


async def _grpc(target: Target, spec: Obj) -> Outcome:
    host, port = target.address, target.port(spec["port"])
    try:
        connection = await connect(target.node, host, port)
    except OSError as error:
        return Outcome(False, f'failed to connect service "{_authority(host, port)}": {error.strerror}')
    try:
        reader, writer = await asyncio.open_connection(sock=connection)
        status = await grpc_health.check(reader, writer, _authority(host, port), spec.get("service") or "")
    except (OSError, EOFError, ValueError) as error:
        return Outcome(False, f"error: {error}")
    finally:
        connection.close()
    if status == grpc_health.SERVING:
        return Outcome(True)
    return Outcome(False, f'service unhealthy (responded with "{status}")')


async def _http_get(target: Target, spec: Obj) -> Outcome:
    """GET, and follow redirects within the host, as the kubelet does."""
    host, port = spec.get("host") or target.address, target.port(spec["port"])
    scheme, path = (spec.get("scheme") or "HTTP").lower(), spec.get("path") or "/"
    headers = {header["name"]: header.get("value", "") for header in spec.get("httpHeaders") or ()}
    url = f"{scheme}://{_authority(host, port)}/{path.removeprefix('/')}"
    for _ in range(MAX_REDIRECTS):
        try:
            status, location = await _get(target.node, url, headers)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            return Outcome(False, f'Get "{url}": {why}')
        if 300 <= status < 400 and location:
            there = urljoin(url, location)
            if urlsplit(there).hostname != host:
                return Outcome(True)
            url = there
            continue
        if 200 <= status < 400:
            return Outcome(True)
        return Outcome(False, f"HTTP probe failed with statuscode: {status}")
    return Outcome(False, f'Get "{url}": stopped after {MAX_REDIRECTS} redirects')


async def _get(node: Namespaces, url: str, headers: Mapping[str, str]) -> tuple[int, str]:
    """One request: the answer's status and its Location. Raises OSError, EOFError, ValueError, LimitOverrunError."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection = await connect(node, host, parts.port or (443 if parts.scheme == "https" else 80))
    options: Obj = {}
    if parts.scheme == "https":
        options = {"ssl": _unverified(), "server_hostname": "" if _is_address(host) else host}
    writer = None
    try:
        reader, writer = await asyncio.open_connection(sock=connection, **options)
        fields = {"Host": parts.netloc, "User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}
        fields = {
            name: value for name, value in fields.items() if name.lower() not in {n.lower() for n in headers}
        }
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [
            f"GET {path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in (fields | dict(headers)).items()),
        ]
        writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        return _answer((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
    finally:
        if writer is not None:
            writer.transport.abort()
        connection.close()


def _answer(head: str) -> tuple[int, str]:
    """Status and Location of an answer's head. Raises ValueError."""
    status_line, *lines = head.split("\r\n")
    version, _, rest = status_line.partition(" ")
    if not version.startswith("HTTP/") or not rest[:3].isdigit():
        raise ValueError(f'malformed HTTP response "{status_line[:80]}"')
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    return int(rest[:3]), fields.get("location", "")


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
