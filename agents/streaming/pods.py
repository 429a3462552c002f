"""From a request's path to the running pod and container that it means, with a real server's refusals.

Source: Kubernetes' pkg/registry/core/pod/strategy.go (`streamLocation`, `LogLocation`) and the kubelet's server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agents.container import Container
from agents.kubelet import Kubelet
from agents.pod_sandbox import PodSandbox
from agents.pod_worker import PodWorker
from controlplane.api import API
from controlplane.errors import StatusError, bad_request
from controlplane.http import Target

Obj = dict[str, Any]


class Pods:
    """The pods of all nodes, as those who stream to them see them."""

    def __init__(self, api: API, kubelets: Mapping[str, Kubelet]) -> None:
        self.api = api
        self._kubelets = kubelets

    def worker(self, target: Target) -> PodWorker:
        """The pod's worker. Raises StatusError: there is no such pod, it is on no node, or its node is gone."""
        pod = self.api.get("Pod", target.name, target.namespace)
        node = pod["spec"].get("nodeName")
        if not node:
            raise bad_request(f"pod {target.name} does not have a host assigned")
        worker = self._kubelets[node].workers.get(pod["metadata"]["uid"]) if node in self._kubelets else None
        if worker is None:
            raise internal(
                f"pod {target.name} is not known to the kubelet of {node}: it has ended, or has yet to begin"
            )
        return worker


def container(worker: PodWorker, name: str) -> Container:
    """A container of the pod; without a name, its only one. Raises StatusError 400."""
    known = [c.name for c in worker.containers]
    if not name:
        if len(known) == 1:
            return worker.containers[0]
        choices = f"choose one of: [{' '.join(known)}]"
        init = [c.name for c in worker.init_containers]
        choices += f" or one of the init containers: [{' '.join(init)}]" if init else ""
        ephemeral = [c.name for c in worker.ephemeral_containers]
        choices += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]" if ephemeral else ""
        raise bad_request(f"a container name must be specified for pod {worker.name}, {choices}")
    for found in (*worker.containers, *worker.init_containers, *worker.ephemeral_containers):
        if found.name == name:
            return found
    raise bad_request(f"container {name} is not valid for pod {worker.name}")


def sandbox(worker: PodWorker) -> PodSandbox:
    """The pod's sandbox. Raises StatusError 500 when it is not there."""
    if worker.sandbox is None or worker.sandbox.closed:
        raise internal(f"pod {worker.name} is not running")
    return worker.sandbox


def running_in(worker: PodWorker, found: Container) -> PodSandbox:
    """The sandbox in which a container runs. Raises StatusError 500."""
    place = sandbox(worker)
    if found.name not in place.containers:
        raise internal(f'unable to upgrade connection: container not found ("{found.name}")')
    return place


def port_number(text: str) -> int:
    """A port as a client writes it; 0 when it is none."""
    number = int(text) if re.fullmatch("[0-9]{1,5}", text) else 0
    return number if number < 1 << 16 else 0


def internal(message: str) -> StatusError:
    """500, in the words that clients look for."""
    return StatusError(500, "InternalError", f"Internal error occurred: {message}")
