"""The lab's own door, beside the Kubernetes API: what only someone on the host asks for.

    {"do": "enter", "machine": "pod/web-1"}  ->  {"env"} with a pidfd, to go into its namespaces
    {"do": "socket", "machine": …, "family": …, "type": …, "protocol": …}   ->  {} with a socket made in that network
    {"do": "capture", "machine": …, "device": …}             ->  {} with a packet socket on that device
    {"do": "status"}                         ->  machines, nodes, pods in numbers
    {"do": "stop-kubelet", "node": …}        ->  {}: a node dies, as far as the cluster can tell
    {"do": "netfn", "seat": …, "label": …, "source": …, "clear": …}   ->  {"errors"} by machine: a file takes a seat
                                             (no source: the reference does; clear: what it left in the kernel goes)
    {"do": "settle"}                         ->  {"errors"}: the seats' agents have done what was to be done
    {"do": "call", "seat": …, "function": …, "arguments": …}  ->  {"result"}: of the file in that seat (seat_data)

One request a message (topo.wire) on a Unix socket in the lab's folder, which only its owner may open.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

from agents.pod_worker import PodWorker
from agents.seat_data import decode, encode, record_of
from agents.seat_process import SeatError
from agents.seats import StudentFile
from labs.cluster import Cluster
from labs.errors import LabError
from topo import capture, wire
from topo.enter import NETWORK, Namespaces

Message = dict[str, Any]


class ControlServer:
    """Answers requests, each connection in a task of its own."""

    def __init__(self, cluster: Cluster, listening: socket.socket) -> None:
        self._cluster = cluster
        self._socket = listening
        self._socket.setblocking(False)

    async def run(self) -> None:
        """Serve until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                connection, _ = await loop.sock_accept(self._socket)
                connection.setblocking(False)
                group.create_task(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with connection:
            while True:
                readable: asyncio.Future[None] = loop.create_future()
                loop.add_reader(connection, _settle, readable)
                try:
                    await readable
                finally:
                    loop.remove_reader(connection)
                try:
                    received = wire.receive(connection)
                except ValueError:
                    return
                if received is None:
                    return
                with contextlib.suppress(OSError):
                    await self._answer(connection, received[0])

    async def _answer(self, connection: socket.socket, request: Message) -> None:
        try:
            match request.get("do"):
                case "netfn" | "settle" | "call":
                    wire.send(connection, await self._seats(request))
                case "enter":
                    machine, container = str(request["machine"]), str(request.get("container") or "")
                    descriptor = self.descriptor(machine, container)
                    wire.send(connection, {"env": self.environment(machine, container)}, [descriptor])
                    os.close(descriptor)
                case "socket":
                    family, kind = int(request["family"]), int(request["type"])
                    protocol = int(request.get("protocol", 0))
                    self._send_socket(connection, request, lambda: socket.socket(family, kind, protocol))
                case "capture":
                    device = str(request["device"])
                    self._send_socket(connection, request, lambda: capture.open_socket(device))
                case "status":
                    wire.send(connection, self.status())
                case "stop-kubelet":
                    self._cluster.stop_kubelet(str(request["node"]))
                    wire.send(connection, {})
                case other:
                    wire.send(
                        connection,
                        {"error": f"control: do: {other!r}: unknown: see labs/control.py for the requests"},
                    )
        except (LabError, KeyError, OSError, ValueError, SeatError) as error:
            wire.send(connection, {"error": str(error)})

    async def _seats(self, request: Message) -> Message:
        """Who sits where; see the head of this file. Raises SeatError, KeyError, ValueError."""
        seats = self._cluster.seats
        match request["do"]:
            case "netfn":
                file = (
                    StudentFile(str(request["label"]), request["source"]) if request.get("source") else None
                )
                return {
                    "errors": await seats.fill(str(request["seat"]), file, clear=bool(request.get("clear")))
                }
            case "settle":
                return {"errors": await seats.settle()}
        process = seats.process(str(request["seat"]))
        arguments = [decode(item, record_of) for item in request["arguments"]]
        result = await asyncio.to_thread(process.call, str(request["function"]), *arguments)
        return {"result": encode(result)}

    def _send_socket(
        self, connection: socket.socket, request: Message, make: Callable[[], socket.socket]
    ) -> None:
        """Make a socket in a machine's or a pod's network and hand it over. Raises LabError, OSError."""
        namespaces = Namespaces.of_process(self.descriptor(str(request["machine"])), NETWORK)
        try:
            with namespaces.call(make) as made:
                wire.send(connection, {}, [made.fileno()])
        finally:
            namespaces.close()

    def descriptor(self, machine: str, container: str = "") -> int:
        """A new pidfd of a process whose namespaces are the machine's or the container's. Raises LabError."""
        kind, _, name = machine.partition("/")
        if kind == "pod":
            return self._pod_descriptor(name, container)
        machines = self._cluster.underlay.machines
        found = machines.get(name or kind)
        if found is None or (name and found.kind != kind):
            known = ", ".join(sorted(_path(m.kind, m.name) for m in machines.values()))
            raise LabError(f"{machine}: no such machine: want one of {known}, or pod/NAME[.NAMESPACE]")
        return found.anchor()

    def environment(self, machine: str, container: str = "") -> dict[str, str]:
        """The environment of a container's program; that of a machine is the caller's matter: empty."""
        kind, _, name = machine.partition("/")
        if kind != "pod":
            return {}
        worker = self._worker(name)
        containers = (*worker.containers, *worker.init_containers)
        found = next(c for c in containers if c.name == (container or worker.containers[0].name))
        return dict(found.target.env)

    def _worker(self, name: str) -> PodWorker:
        """The worker of pod NAME[.NAMESPACE]. Raises LabError."""
        for namespace, pod_name in _readings(name):
            for kubelet in self._cluster.kubelets.values():
                for worker in kubelet.workers.values():
                    if (worker.namespace, worker.name) == (
                        namespace,
                        pod_name,
                    ) and worker.sandbox is not None:
                        return worker
        raise LabError(f"pod/{name}: no such pod runs: see `minipod kubectl get pods -A`")

    def _pod_descriptor(self, name: str, container: str) -> int:
        worker = self._worker(name)
        assert worker.sandbox is not None
        container = container or worker.containers[0].name
        if container not in worker.sandbox.containers:
            raise LabError(
                f"pod/{name}: container {container} does not run: see `minipod kubectl get pods -A`"
            )
        return os.dup(worker.sandbox.containers[container].descriptor(NETWORK))

    def status(self) -> Message:
        """The lab in numbers."""
        api = self._cluster.api
        nodes, _ = api.list("Node")
        pods, _ = api.list("Pod")
        return {
            "config": self._cluster.config.to_json(),
            "machines": [_path(m.kind, m.name) for m in self._cluster.underlay.machines.values()],
            "nodes": {node["metadata"]["name"]: _ready(node) for node in nodes},
            "pods": {"total": len(pods), "ready": sum(_ready(pod) for pod in pods)},
        }


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _path(kind: str, name: str) -> str:
    return name if kind == name else f"{kind}/{name}"


def _readings(name: str) -> list[tuple[str, str]]:
    """NAME[.NAMESPACE], whose NAME may have dots itself: (namespace, name) as it may be meant."""
    head, _, tail = name.rpartition(".")
    return [("default", name), *([(tail, head)] if head else [])]


def _ready(obj: Message) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
