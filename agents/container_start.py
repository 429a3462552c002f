"""What a container is started with: from the pod's object to the message that topo.runtime sends.

image, command, args -> agents.images -> program ─┐
env, envFrom, Services -> container_env ──────────┼─> {"name", "argv", "env", "root", "log", …}
volumes, /etc/hosts, resolv.conf -> root ─────────┘
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import container_env, pod_files, security, volumes
from agents.images.catalogue import Program, resolve
from agents.images.standins import STANDINS
from agents.pod_sandbox import NODE_PIDS, OWN_PIDS, POD_PIDS
from topo.native_container import WAIT

if TYPE_CHECKING:
    from agents.kubelet import Kubelet

Obj = dict[str, Any]
TERMINATION_MESSAGE_PATH = "/dev/termination-log"


@dataclass(frozen=True)
class Run:
    """One run of a container, after `number` restarts: where it keeps its files, below the container's folder."""

    folder: str
    number: int

    @property
    def upper(self) -> str:
        """The changes to its root."""
        return f"{self.folder}/{self.number}"

    @property
    def log(self) -> str:
        """Its output."""
        return f"{self.folder}/{self.number}.log"

    @property
    def termination(self) -> str:
        """What it leaves as its last words."""
        return f"{self.folder}/{self.number}.termination"

    def begin(self) -> None:
        """Make the folder, and the file for its last words, which is mounted into it. Raises OSError."""
        for folder in (os.path.dirname(self.folder), self.folder):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder)
        os.close(os.open(self.termination, os.O_CREAT | os.O_CLOEXEC, 0o666))


def start_message(
    kubelet: Kubelet, pod: Obj, addresses: Sequence[str], places: Mapping[str, Path], spec: Obj, run: Run
) -> tuple[Obj, Program]:
    """The message and the program. `places`: the pod's volumes. Raises ConfigError, ImageError, OSError."""
    program = resolve(spec["image"], spec.get("command"), spec.get("args"), spec.get("ports") or ())
    namespace = pod["metadata"]["namespace"]

    def lookup(kind: str, name: str) -> Obj | None:
        return kubelet.api.find(kind, name, namespace)

    known = _with_addresses(pod, addresses, kubelet.addresses)
    env = container_env.environment(known, spec, program.env, kubelet.services_for(namespace), lookup)
    run.begin()
    last_words = (run.termination, spec.get("terminationMessagePath") or TERMINATION_MESSAGE_PATH, False)
    given = security.rights(pod["spec"], spec)
    for told in given.unable:
        kubelet.event(pod, "Warning", "SecurityContext", told)
    argv, standin = security.command(
        given, program, [container_env.expand(word, env) for word in program.argv]
    )
    waits = standin == STANDINS["pause"]  # for which it needs no interpreter
    message = {
        "name": spec["name"],
        "argv": argv,
        "env": env,
        "working_dir": spec.get("workingDir") or program.working_dir,
        "standin": WAIT if waits else standin,
        "confined": given.confined,
        "log": run.log,
        "stdin": bool(spec.get("stdin")),
        "tty": bool(spec.get("tty")),
        "pids": _pids(pod["spec"], spec),
        "root": {
            "upper": run.upper,
            "image": kubelet.images.layer(program.files),
            "files": _name_files(kubelet, pod, addresses),
            "mounts": [*volumes.mounts(spec, places, env), last_words],
            "read_only": given.read_only,
            "interpreter": not waits,
        },
    }
    return message, program


def _pids(pod_spec: Obj, spec: Obj) -> str:
    """Whose processes the container is among: see agents.pod_sandbox."""
    if pod_spec.get("hostPID"):
        return NODE_PIDS
    if pod_spec.get("shareProcessNamespace"):
        return POD_PIDS
    return str(spec.get("targetContainerName") or OWN_PIDS)


def _with_addresses(pod: Obj, addresses: Sequence[str], host: Sequence[str]) -> Obj:
    """The pod as the downward API shows it, whose status may not be written yet."""
    status = {
        "podIP": addresses[0],
        "podIPs": [{"ip": address} for address in addresses],
        "hostIP": host[0],
        "hostIPs": [{"ip": address} for address in host],
    }
    return {**pod, "status": {**(pod.get("status") or {}), **status}}


def _name_files(kubelet: Kubelet, pod: Obj, addresses: Sequence[str]) -> list[tuple[str, str, int]]:
    cluster, host_network = kubelet.cluster_dns, bool(pod["spec"].get("hostNetwork"))
    if host_network:
        hosts = pod_files.node_hosts(pod, kubelet.node_file("hosts"))
    else:
        hosts = pod_files.hosts(pod, addresses, cluster.domain)
    name = kubelet.name if host_network else pod_files.hostname(pod)
    resolv = pod_files.resolv_conf(pod, cluster, kubelet.node_file("resolv.conf"))
    for message in resolv.omitted:
        kubelet.event(pod, "Warning", "DNSConfigForming", message)
    return [
        ("/etc/hosts", hosts, 0o644),
        ("/etc/resolv.conf", str(resolv), 0o644),
        ("/etc/hostname", f"{name}\n", 0o644),
    ]
