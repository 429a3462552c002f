"""A lab to measure: its start, a Deployment of many pods in it, and the memory that its processes take."""

import http.client
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.client import Client
from labs import launch
from labs.cluster_file import ClusterConfig
from labs.lab import Lab
from labs.sockets import short_path
from labs.state import StateFolder

DEADLINE = 300.0  # seconds for anything that a lab is asked
PODS = "/api/v1/namespaces/default/pods"
ADDED = b'{"type":"ADDED"'
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


@contextmanager
def running_lab(workers: int) -> Iterator[Lab]:
    """A Ready lab with a folder of its own; ends with the block."""
    with tempfile.TemporaryDirectory(prefix="minipod-bench-") as place:
        folder = StateFolder("bench", Path(place, "bench"))
        info = launch.up(folder, ClusterConfig(workers=workers), progress=lambda _: None)
        lab = Lab(folder, info)
        try:
            yield lab
        finally:
            lab.down()


def deployment(name: str, replicas: int, image: str) -> dict[str, Any]:
    """A Deployment's manifest: pods of one container, labelled app=NAME, that may be ended without delay."""
    labels = {"app": name}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": image}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def deploy(lab: Lab, name: str, replicas: int, image: str) -> float:
    """Write a Deployment and watch until all of its pods are Running. Returns the seconds that took.

    The watch asks for pods in phase Running, so that it brings each pod once. It is counted, not read: whoever waits
    shares the processors with the lab, which is to be measured. Raises TimeoutError, ConnectionError.
    """
    with lab.api() as client, _running_pods(lab, name) as watch:
        begun = time.perf_counter()
        client.request("POST", DEPLOYMENTS, deployment(name, replicas, image))
        running, rest = 0, b""
        while running < replicas:
            data = rest + _received(watch)
            running += data.count(ADDED)
            rest = data[1 - len(ADDED) :]
        return time.perf_counter() - begun


def undeploy(lab: Lab, name: str) -> float:
    """Delete a Deployment and wait until all of its pods' objects are gone. Returns the seconds that took."""
    with lab.api() as client:
        begun = time.perf_counter()
        client.request("DELETE", f"{DEPLOYMENTS}/{name}")
        while pod_names(client, name):
            if time.perf_counter() - begun > DEADLINE:
                raise TimeoutError(f"pods of {name} are still there after {DEADLINE:.0f} s")
            time.sleep(0.01)
        return time.perf_counter() - begun


def pod_names(client: Client, name: str) -> list[str]:
    """The pods of a Deployment made by `deploy`, by name."""
    items = client.request("GET", PODS, query={"labelSelector": f"app={name}"})["items"]
    return [pod["metadata"]["name"] for pod in items]


@contextmanager
def _running_pods(lab: Lab, name: str) -> Iterator[socket.socket]:
    """A watch on a Deployment's pods that are Running, whose events begin with ADDED."""
    query = f"watch=true&labelSelector=app%3D{name}&fieldSelector=status.phase%3DRunning"
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(DEADLINE)
    with short_path(lab.folder.path / "api.sock") as path:
        connection.sock.connect(str(path))
    try:
        connection.request("GET", f"{PODS}?{query}")
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += _received(connection.sock)
        yield connection.sock
    finally:
        connection.close()


def _received(watch: socket.socket) -> bytes:
    """What has come, once something has. Raises TimeoutError, ConnectionError."""
    data = watch.recv(1 << 16)
    if not data:
        raise ConnectionError("the watch has ended, and the lab with it")
    return data


@dataclass(frozen=True)
class Memory:
    """KiB: private to the processes of pods, private to the lab's own processes, and gone from MemAvailable."""

    pods: int
    lab: int
    machine: int

    def __sub__(self, other: "Memory") -> "Memory":
        return Memory(self.pods - other.pods, self.lab - other.lab, self.machine - other.machine)


def memory(lab: Lab) -> Memory:
    """What a lab takes now. The pods' processes are those with a pid namespace of their own. What holds a pod's
    namespaces, and a container that only waits, run in the memory of the process that started them: that is the lab's.
    """
    everything = processes(lab)
    guests: dict[str, list[int]] = {}
    for pid in everything:
        for module in ("topo.pod_runtime", "topo.container_runtime"):
            if module in _command(pid):
                guests.setdefault(module, []).append(pid)
    for pids in guests.values():
        everything -= set(sorted(pids)[1:])  # the first is the host
    pods = {pid for pid in everything if _pid_namespace(pid) not in ("", _pid_namespace(lab.info["pid"]))}
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return Memory(sum(map(_private, pods)), sum(map(_private, everything - pods)), -available)


def processes(lab: Lab) -> set[int]:
    """The lab's first process and all below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                _, _, rest = (entry / "stat").read_text().rpartition(")")
            except OSError:
                continue
            children.setdefault(int(rest.split()[1]), []).append(int(entry.name))

    def below(pid: int) -> Iterator[int]:
        for child in children.get(pid, ()):
            yield child
            yield from below(child)

    return {lab.info["pid"], *below(lab.info["pid"])}


def _command(pid: int) -> str:
    """The words that a process was started with; "" when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _pid_namespace(pid: int) -> str:
    """Which pid namespace a process is in; "" when it has ended."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _private(pid: int) -> int:
    """KiB that only this process has; 0 when it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (OSError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))


def namespaces_command(lab: Lab) -> list[str]:
    """The beginning of a command that runs in the sandbox itself, beside the lab's first process."""
    kinds = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
    if os.geteuid() != 0 or lab.info["isolation"] == "user-namespace":
        kinds.append("--user")
    return ["nsenter", f"--target={lab.info['pid']}", *kinds, "--"]
