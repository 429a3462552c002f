"""The ground that `minipod check` walks on: its own namespace, made and removed by each run, or one of the user's."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from controlplane import apply as manifests
from controlplane.client import Client
from controlplane.errors import StatusError
from labs.check.subjects import Scene, endpoint_addresses, until
from labs.errors import LabError
from labs.lab import Lab

IN_MANIFESTS, PREFIX = "minipod-check", "minipod-check-"
MANIFESTS = Path(__file__).with_name("manifests.yaml")


@contextmanager
def ground(lab: Lab, namespace: str = "") -> Iterator[Scene]:
    """A scene in `namespace`, which must be there; without one, in a namespace of our own. Raises LabError."""
    with lab.api() as client:
        if namespace:
            _must_exist(client, namespace)
            yield Scene(lab, client, namespace)
            return
        own = f"{PREFIX}{token_hex(3)}"  # two checks at once do not meet
        try:
            text = MANIFESTS.read_text().replace(IN_MANIFESTS, own)
            manifests.apply(client, manifests.manifests(text, str(MANIFESTS)))
            scene = Scene(lab, client, own)
            until(lambda: settled(scene), "the check's own pods: Ready", 60.0)
            lab.settle()  # the nodes have taken it in
            yield scene
        except manifests.ManifestError as error:
            raise LabError(str(error)) from None
        finally:
            _remove(lab, own)


def settled(scene: Scene) -> bool:
    """All Deployments have their pods, all single pods run; every Service has its pods behind it, and every
    LoadBalancer service its address.
    """
    ready = {pod.name for pod in scene.pods()}
    pods = [pod for pod in scene.objects("Pod") if "port-twice" not in (pod["metadata"].get("labels") or {})]
    deployments = scene.objects("Deployment")
    available = all(
        (d.get("status") or {}).get("availableReplicas", 0) >= d["spec"]["replicas"] for d in deployments
    )
    balancers = [s for s in scene.objects("Service") if s["spec"].get("type") == "LoadBalancer"]
    addressed = all((s.get("status") or {}).get("loadBalancer", {}).get("ingress") for s in balancers)
    running = available and all(pod["metadata"]["name"] in ready for pod in pods)
    return bool(running and addressed and behind_services(scene))


def behind_services(scene: Scene) -> bool:
    """The slices of every Service name all of its Ready pods: endpoints come a moment after readiness."""
    pods, slices = scene.pods(), scene.objects("EndpointSlice")
    for service in scene.objects("Service"):
        behind = endpoint_addresses(slices, service["metadata"]["name"])
        selector = (service["spec"].get("selector") or {}).items()
        chosen = [p for p in pods if selector and selector <= (p.obj["metadata"].get("labels") or {}).items()]
        if not all(behind.intersection(pod.addresses) for pod in chosen):
            return False
    return True


def _must_exist(client: Client, namespace: str) -> None:
    try:
        client.request("GET", f"/api/v1/namespaces/{namespace}")
    except StatusError as error:
        raise LabError(
            f"--namespace {namespace}: {error.message}: see `minipod kubectl get namespaces`"
        ) from None


def _remove(lab: Lab, namespace: str) -> None:
    """Remove our namespace, over a connection of its own: an interruption may have left the other one mid-request."""
    with lab.api() as client, suppress(StatusError):
        client.request("DELETE", f"/api/v1/namespaces/{namespace}")
