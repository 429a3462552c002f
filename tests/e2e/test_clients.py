"""Programs instead of people: the Python clients `kubernetes` and `kr8s`, and kubectl 1.20."""

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kubectl import Kubectl, unpack_old

pytestmark = pytest.mark.e2e
SOON = 20
MANIFESTS = Path(__file__).parent / "manifests"
WEB = (MANIFESTS / "kubectl-web.yaml").read_text()
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "one", "labels": {"app": "one"}},
    "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "web", "image": "nginx"}]},
}


# ---------------------------------------------------------------- kubernetes, the official client


@pytest.fixture
def core(kube: Kubectl) -> Any:
    """Its CoreV1Api."""
    client = pytest.importorskip("kubernetes.client")
    config = pytest.importorskip("kubernetes.config")
    return client.CoreV1Api(config.new_client_from_config(kube.environment["KUBECONFIG"]))


def test_kubernetes_creates_watches_and_lists(kube: Kubectl, core: Any) -> None:
    watch = pytest.importorskip("kubernetes.watch")
    phases: list[str] = []

    def follow() -> None:
        stream = watch.Watch()
        for event in stream.stream(core.list_namespaced_pod, kube.namespace, timeout_seconds=SOON):
            phases.append(event["object"].status.phase)
            if phases[-1] == "Running":
                stream.stop()

    follower = threading.Thread(target=follow)
    follower.start()
    made = core.create_namespaced_pod(kube.namespace, POD)
    assert made.metadata.uid
    follower.join(SOON)
    assert phases[-1] == "Running"
    items = core.list_namespaced_pod(kube.namespace, label_selector="app=one").items
    assert [pod.metadata.name for pod in items] == ["one"]
    core.patch_namespaced_pod("one", kube.namespace, {"metadata": {"labels": {"more": "yes"}}})
    assert core.read_namespaced_pod("one", kube.namespace).metadata.labels["more"] == "yes"
    core.delete_namespaced_pod("one", kube.namespace, grace_period_seconds=0)


def test_kubernetes_runs_a_command(kube: Kubectl, core: Any) -> None:
    stream = pytest.importorskip("kubernetes.stream")
    core.create_namespaced_pod(kube.namespace, POD)
    kube.output("wait", "--for=condition=Ready", "pod/one", f"--timeout={SOON}s")
    get = core.connect_get_namespaced_pod_exec
    options = {"command": ["echo", "hello"], "stdout": True, "stderr": True, "stdin": False, "tty": False}
    assert stream.stream(get, "one", kube.namespace, **options) == "hello\n"


def test_kubernetes_applies_server_side(kube: Kubectl) -> None:
    client = pytest.importorskip("kubernetes.client")
    config = pytest.importorskip("kubernetes.config")
    dynamic = pytest.importorskip("kubernetes.dynamic")
    api = config.new_client_from_config(kube.environment["KUBECONFIG"])
    assert isinstance(api, client.ApiClient)
    maps = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}
    applied = maps.server_side_apply(body, "c", kube.namespace, field_manager="program")
    assert applied.data.to_dict() == {"a": "b"}
    assert applied.metadata.managedFields[0].manager == "program"


# ---------------------------------------------------------------- kr8s


def test_kr8s(kube: Kubectl) -> None:
    kr8s = pytest.importorskip("kr8s")
    asyncio_api = pytest.importorskip("kr8s.asyncio")
    objects = pytest.importorskip("kr8s.asyncio.objects")
    assert kr8s.__version__

    async def scenario() -> None:
        api = await asyncio_api.api(kubeconfig=kube.environment["KUBECONFIG"], namespace=kube.namespace)
        pod = await objects.Pod(POD, namespace=kube.namespace, api=api)
        await pod.create()
        await pod.wait("condition=Ready", timeout=SOON)
        assert [found.name async for found in api.get("pods", label_selector={"app": "one"})] == ["one"]
        await pod.label(more="yes")
        assert pod.labels["more"] == "yes"
        async for kind, found in api.watch("pods"):
            assert (kind, found.name) == ("ADDED", "one")
            break
        await pod.delete()

    asyncio.run(asyncio.wait_for(scenario(), 3 * SOON))


# ---------------------------------------------------------------- kubectl 1.20


@pytest.fixture(scope="module")
def old_program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """kubectl 1.20; skips where Debian 12's packages are out of reach."""
    found = os.environ.get("MINIPOD_OLD_KUBECTL") or unpack_old(tmp_path_factory.mktemp("kubectl-1.20"))
    if found is None:
        pytest.skip("kubectl 1.20: Debian 12's package kubernetes-client is not to be had here")
    return found


@pytest.fixture
def old(kube: Kubectl, old_program: str) -> Kubectl:
    """kubectl 1.20 in a namespace of the test's own."""
    return Kubectl(kube.lab, kube.namespace, old_program)


def test_old_kubectl_applies_and_checks(old: Kubectl) -> None:
    applied = old.output("apply", "-f", "-", stdin=WEB.encode())
    assert applied == b"deployment.apps/web created\nservice/web created\n"
    changed = WEB.replace("1.27", "1.28").encode()
    assert b"+      - image: nginx:1.28" in old.run("diff", "-f", "-", stdin=changed).stdout
    assert old.output("apply", "-f", "-", stdin=changed).startswith(b"deployment.apps/web configured\n")
    misspelt = old.run("apply", "-f", "-", stdin=WEB.replace("replicas:", "replicaz:").encode())
    assert b'unknown field "replicaz" in io.k8s.api.apps.v1.DeploymentSpec' in misspelt.stderr
    assert b"RESOURCE: ports" in old.output("explain", "pod.spec.containers.ports")


def test_old_kubectl_day_two(old: Kubectl) -> None:
    assert old.output("create", "deployment", "web", "--image=nginx:1") == b"deployment.apps/web created\n"
    assert old.output("expose", "deployment", "web", "--port=80") == b"service/web exposed\n"
    assert old.output("scale", "deployment", "web", "--replicas=2") == b"deployment.apps/web scaled\n"
    assert (
        old.output("set", "image", "deployment/web", "nginx=nginx:2")
        == b"deployment.apps/web image updated\n"
    )
    assert old.output("rollout", "status", "deployment/web", f"--timeout={SOON}s").endswith(b"rolled out\n")
    assert old.output("rollout", "undo", "deployment/web") == b"deployment.apps/web rolled back\n"
    assert b"ScalingReplicaSet" in old.output("describe", "deployment", "web")
    found = json.loads(old.output("get", "deployment", "web", "-o", "json"))
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1"
    assert old.output("delete", "deployment", "web") == b'deployment.apps "web" deleted\n'
