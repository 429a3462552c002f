"""Where an explanation is read: a running lab, its API, and the kernel of one of its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controlplane.client import Client
from controlplane.errors import StatusError
from controlplane.yaml_text import dump
from labs.cluster_file import ClusterConfig
from labs.errors import LabError
from labs.explain.story import Step
from labs.lab import Lab
from netfns.kernel import CommandError
from netfns.proxy_mode import ProxyMode, proxy_mode
from topo import plan
from topo.rootfs import CODE

Obj = dict[str, Any]
CHECKOUT = str(Path(__file__).resolve().parents[2])
PATHS = {
    "Service": "/api/v1", "Pod": "/api/v1", "Node": "/api/v1", "Namespace": "/api/v1",
    "EndpointSlice": "/apis/discovery.k8s.io/v1", "NetworkPolicy": "/apis/networking.k8s.io/v1",
}  # fmt: skip
PLURALS = {"NetworkPolicy": "networkpolicies"}
NOISE = (
    "managedFields",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "generateName",
    "selfLink",
)
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True)
class LabKernel:
    """A node's kernel by the lab's door, for reading: a netfns.kernel.Kernel."""

    lab: Lab
    name: str

    def run(self, argv: Sequence[str], stdin: str = "") -> str:
        """Run a command on the node and return its standard output. Raises CommandError."""
        # Minipod's own programs are at another place in the lab than here.
        words = [word.replace(CHECKOUT, CODE) for word in argv]
        done = self.lab.exec(f"node/{self.name}", words, stdin)
        if done.status:
            raise CommandError(argv, done.status, done.stderr)
        return done.stdout

    def ip(self, batch: str) -> None:
        """Run an `ip -batch` text. Raises CommandError."""
        self.run(["ip", "-batch", "-"], batch)

    def bridge(self, batch: str) -> None:
        """Run a `bridge -batch` text. Raises CommandError."""
        self.run(["bridge", "-batch", "-"], batch)

    def nft(self, ruleset: str) -> None:
        """Load an `nft -f` text. Raises CommandError."""
        self.run(["nft", "-f", "-"], ruleset)

    def sysctl(self, key: str, value: str) -> None:
        """Set a sysctl. Raises CommandError."""
        self.run(["sysctl", "-qw", f"{key}={value}"])


@dataclass(frozen=True)
class Scene:
    """A lab as an explainer sees it. `node` is the node that was asked for, "" for the explainer's own choice."""

    lab: Lab
    client: Client
    node: str = ""
    full: bool = False
    config: ClusterConfig = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", ClusterConfig.from_json(self.lab.info["config"]))

    def get(self, kind: str, name: str, namespace: str = "") -> Obj:
        """One object. Raises LabError when there is none."""
        try:
            found: Obj = self.client.request("GET", f"{self._path(kind, namespace)}/{name}")
            return found
        except StatusError as error:
            if error.code != 404:
                raise LabError(f"{kind.lower()}/{name}: {error}") from None
            where = f" in namespace {namespace}" if namespace else ""
            plural = self._plural(kind)
            raise LabError(
                f"{kind.lower()}/{name}: not found{where}: see `minipod kubectl get {plural} -A`"
            ) from None

    def list(self, kind: str, namespace: str = "") -> list[Obj]:
        """All objects of a kind, of a namespace when one is given."""
        return list(self.client.request("GET", self._path(kind, namespace))["items"])

    def _path(self, kind: str, namespace: str) -> str:
        middle = f"/namespaces/{namespace}" if namespace else ""
        return f"{PATHS[kind]}{middle}/{self._plural(kind)}"

    def _plural(self, kind: str) -> str:
        return PLURALS.get(kind, f"{kind.lower()}s")

    def kernel(self, node: str) -> LabKernel:
        """The kernel of a node."""
        return LabKernel(self.lab, node)

    def a_node(self, wish: str = "") -> Obj:
        """The Node that was asked for, else `wish`, else the first worker. Raises LabError."""
        return self.get("Node", self.node or wish or "worker1")

    @property
    def mode(self) -> ProxyMode:
        """The lab's proxy mode."""
        return proxy_mode(self.config.proxy_mode)

    @property
    def pod_cidrs(self) -> tuple[str, ...]:
        """The cluster's pod ranges, one of each family in use."""
        return tuple(str(plan.RANGES[family].pods) for family in self.config.ip_families)

    @property
    def service_cidrs(self) -> tuple[str, ...]:
        """The cluster's service ranges, one of each family in use."""
        return tuple(str(plan.RANGES[family].services) for family in self.config.ip_families)


def manifest(obj: Obj, kind: str) -> Step:
    """The step "object": what the API server holds, without its own bookkeeping."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in NOISE}
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != LAST_APPLIED}
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    slim = {**obj, "kind": kind, "metadata": metadata}
    return Step("object", "the object, as the API server holds it", tuple(dump(slim).splitlines()), slim)
