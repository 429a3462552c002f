"""The lab as a check sees it: its pods by name, its objects, a moment at which all is settled.

    lab.pod("client")                     a pod that is Ready
    with lab.applied(MANIFEST): …         objects for the block, taken away after it
    lab.endpoints("web", 2)               the Service has so many ready endpoints, and every node knows

Invariant: what a check applies is gone after it, and what one left that was killed is gone before the next run.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from controlplane import apply as manifests
from controlplane.client import Client
from controlplane.errors import StatusError
from labs.check.subjects import GaveUp, Scene, Witness, until
from labs.course.definition import LabDefinition
from labs.errors import LabError
from labs.lab import Lab
from topo.enter import Completed

NAMESPACE = "default"
MARK = "minipod.dev/check"  # the label of objects that a check made
READY = 30.0  # seconds for pods to become Ready, and for objects to go


class CourseLab(Scene):
    """A running lab of the course. Raises GaveUp where something does not come true."""

    def pod(self, name: str) -> Witness:
        """The pod with this name, once it is Ready."""

        def ready() -> Witness | None:
            return next((pod for pod in self.pods() if pod.name == name), None)

        found: Witness = until(ready, f"pod {name}: Ready", READY)
        return found

    def pods_of(self, app: str, count: int) -> list[Witness]:
        """The `count` pods with the label app=APP, once exactly so many are Ready, by name."""

        def ready() -> list[Witness] | None:
            found = [p for p in self.pods() if (p.obj["metadata"].get("labels") or {}).get("app") == app]
            return sorted(found, key=lambda pod: pod.name) if len(found) == count else None

        pods: list[Witness] = until(ready, f"{count} pods with app={app}: Ready", READY)
        return pods

    def endpoints(self, service: str, count: int) -> None:
        """Wait until a Service has exactly `count` ready endpoints of each family that it has, and nodes know."""

        def there() -> bool:
            slices = [s for s in self.objects("EndpointSlice") if _service_of(s) == service]
            counts = [sum(_is_ready(e) for e in s.get("endpoints") or ()) for s in slices]
            return bool(slices) and all(found == count for found in counts)

        until(there, f"service {service}: {count} endpoints", READY)
        self.settle()

    def settle(self) -> dict[str, str]:
        """Return when the nodes have taken in what the API holds; what went wrong, by machine."""
        return self.lab.settle()

    def exec(self, machine: str, *argv: str, container: str = "", timeout: float = 10.0) -> Completed:
        """Run a command on a machine or in a pod; see Lab.exec."""
        return self.lab.exec(machine, argv, container=container, timeout=timeout)

    @contextmanager
    def applied(self, text: str) -> Iterator[None]:
        """Objects from YAML that are there within the block, and gone after it."""
        found = manifests.manifests(text, "checks.py")
        for manifest in found:
            manifest.obj["metadata"].setdefault("labels", {})[MARK] = ""
        try:
            manifests.apply(self.client, found, self.namespace)
            yield
        finally:
            paths = manifests.delete(self.client, found, self.namespace)
            until(
                lambda: not any(is_there(self.client, path) for path in paths),
                "what a check made: gone",
                READY,
            )
            self.settle()


def prepare(definition: LabDefinition, lab: Lab) -> None:
    """Apply the lab's manifests, and take away what a check that was killed has left. Raises LabError."""
    with lab.api() as client:
        try:
            _remove_leftovers(client)
        except GaveUp as error:
            raise LabError(
                f"lab {lab.name}: {error}: end it with `minipod down`, and start it again"
            ) from None
        if not definition.manifests.is_dir():
            return
        for path in sorted(definition.manifests.glob("*.yaml")):
            try:
                manifests.apply(client, manifests.manifests(path.read_text(), str(path)), NAMESPACE)
            except manifests.ManifestError as error:
                raise LabError(str(error)) from None


def _remove_leftovers(client: Client) -> None:
    for kind in ("services", "pods", "deployments", "endpointslices", "networkpolicies", "configmaps"):
        resource = client.resource(kind)
        items = client.request("GET", resource.path(NAMESPACE), query={"labelSelector": MARK})["items"]
        for obj in items:
            path = resource.path(NAMESPACE, obj["metadata"]["name"])
            client.request("DELETE", path)
            until(lambda path=path: not is_there(client, path), f"{path}: gone", READY)  # type: ignore[misc]


def is_there(client: Client, path: str) -> bool:
    """Whether there is an object at a path of the API."""
    try:
        client.request("GET", path)
    except StatusError as error:
        if error.code == 404:
            return False
        raise
    return True


def _service_of(endpoint_slice: dict[str, dict[str, dict[str, str]]]) -> str:
    return (endpoint_slice["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")


def _is_ready(endpoint: dict[str, dict[str, bool]]) -> bool:
    return (endpoint.get("conditions") or {}).get("ready") is not False


class NodeHand:
    """A machine of a lab as topo.trace wants it."""

    def __init__(self, lab: Lab, machine: str) -> None:
        self._lab, self._machine = lab, machine

    def run(self, argv: Sequence[str], stdin: str = "") -> str:
        """See topo.trace.Hand."""
        return self._lab.exec(self._machine, argv, stdin, timeout=10.0).stdout

    def spawn(self, argv: Sequence[str]) -> "subprocess.Popen[bytes]":
        """See topo.trace.Hand."""
        return self._lab.popen(self._machine, argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
