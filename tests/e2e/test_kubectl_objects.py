"""The ways to write an object: apply on both sides, diff, edit, patch, replace; custom resources; watches."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kubectl import Kubectl
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
SOON = 20.0
WITHIN = f"--timeout={SOON:.0f}s"
MANIFESTS = Path(__file__).parent / "manifests"
WEB = (MANIFESTS / "kubectl-web.yaml").read_text()
DEFINITION, CRON_TAB = (MANIFESTS / "crontab.yaml").read_text().split("---\n")


def apply(kube: Kubectl, manifest: str, *options: str) -> list[str]:
    """What became of each object."""
    return kube.text("apply", "-f", "-", *options, stdin=manifest).splitlines()


def complaint(kube: Kubectl, *words: str, stdin: str = "", status: int = 1) -> str:
    """What a command says that must fail."""
    done = kube.run(*words, stdin=stdin.encode())
    assert done.returncode == status, done
    return done.stderr.decode()


def get(kube: Kubectl, *words: str) -> Any:
    """An object, or a list."""
    return json.loads(kube.text("get", *words, "-o", "json"))


# ---------------------------------------------------------------- apply


def test_apply(kube: Kubectl) -> None:
    assert apply(kube, WEB) == ["deployment.apps/web created", "service/web created"]
    assert apply(kube, WEB) == ["deployment.apps/web unchanged", "service/web unchanged"]
    changed = WEB.replace("1.27", "1.28").replace(", ports: [{containerPort: 80}]", "")
    assert apply(kube, changed) == ["deployment.apps/web configured", "service/web unchanged"]
    container = get(kube, "deployment", "web")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "nginx:1.28"
    assert "ports" not in container  # what the manifest no longer names is gone
    kube.text("delete", "-f", "-", stdin=WEB)
    assert "NotFound" in complaint(kube, "get", "deployment", "web")


def test_apply_leaves_alone_what_others_set(kube: Kubectl) -> None:
    apply(kube, WEB.replace("  replicas: 1\n", ""))
    kube.text("scale", "deployment/web", "--replicas=2")
    apply(kube, WEB.replace("  replicas: 1\n", "").replace("1.27", "1.28"))
    assert get(kube, "deployment", "web")["spec"]["replicas"] == 2


def test_prune_deletes_what_is_no_longer_there(kube: Kubectl) -> None:
    one, two = (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {n}, labels: {{set: x}}}}\n" for n in "ab"
    )
    options = ("--prune", "-l", "set=x", "--prune-allowlist=core/v1/ConfigMap")
    assert apply(kube, f"{one}---\n{two}", *options) == ["configmap/a created", "configmap/b created"]
    assert apply(kube, one, *options) == ["configmap/a unchanged", "configmap/b pruned"]


def test_diff(kube: Kubectl) -> None:
    apply(kube, WEB)
    assert kube.run("diff", "-f", "-", stdin=WEB.encode()).returncode == 0
    done = kube.run("diff", "-f", "-", stdin=WEB.replace("1.27", "1.28").encode())
    assert done.returncode == 1
    assert b"+      - image: nginx:1.28" in done.stdout
    assert (
        get(kube, "deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1.27"
    )


def test_mistakes_are_told_before_anything_is_written(kube: Kubectl) -> None:
    misspelt = complaint(kube, "apply", "-f", "-", stdin=WEB.replace("replicas:", "replicaz:"))
    assert 'unknown field "spec.replicaz"' in misspelt
    wrong = complaint(kube, "apply", "-f", "-", stdin=WEB.replace("replicas: 1", "replicas: many"))
    assert "cannot unmarshal string" in wrong
    unequal = complaint(kube, "apply", "-f", "-", stdin=WEB.replace("labels: {app: web}", "labels: {app: x}"))
    assert 'The Deployment "web" is invalid: spec.template.metadata.labels: Invalid value' in unequal
    unknown = complaint(kube, "apply", "-f", "-", stdin="apiVersion: v2\nkind: Pod\nmetadata: {name: x}\n")
    assert 'no matches for kind "Pod" in version "v2"' in unknown


def test_immutable_fields_are_guarded(kube: Kubectl) -> None:
    apply(kube, WEB)
    patch = '{"spec":{"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":{"labels":{"app":"x"}}}}}'
    assert "field is immutable" in complaint(kube, "patch", "deployment", "web", "-p", patch)
    patch = '{"spec":{"clusterIP":"10.96.9.9"}}'
    assert "may not change once set" in complaint(kube, "patch", "service", "web", "-p", patch)


# ---------------------------------------------------------------- server-side apply


def test_server_side_apply_and_its_conflicts(kube: Kubectl) -> None:
    assert apply(kube, WEB, "--server-side") == [
        "deployment.apps/web serverside-applied",
        "service/web serverside-applied",
    ]
    kube.text("scale", "deployment/web", "--replicas=2")  # a manager that is called kubectl, too
    said = complaint(
        kube, "apply", "--server-side", "-f", "-", "--field-manager=you", stdin=WEB.replace("1.27", "1.28")
    )
    assert "Apply failed with 2 conflicts" in said
    assert '.spec.template.spec.containers[name="web"].image' in said
    taken = apply(
        kube, WEB.replace("1.27", "1.28"), "--server-side", "--field-manager=you", "--force-conflicts"
    )
    assert taken[0] == "deployment.apps/web serverside-applied"
    shown = json.loads(kube.text("get", "deployment", "web", "-o", "json", "--show-managed-fields"))
    assert {"kubectl", "you"} <= {entry["manager"] for entry in shown["metadata"]["managedFields"]}


def test_server_side_apply_goes_on_where_the_clients_side_ended(kube: Kubectl) -> None:
    apply(kube, WEB)
    assert (
        apply(kube, WEB.replace("1.27", "1.28"), "--server-side")[0]
        == "deployment.apps/web serverside-applied"
    )
    container = get(kube, "deployment", "web")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "nginx:1.28"


# ---------------------------------------------------------------- patch, edit, replace


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("strategic", '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"nginx:2"}]}}}}'),
        ("merge", '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"nginx:2"}]}}}}'),
        ("json", '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"nginx:2"}]'),
    ],
)
def test_patch(kube: Kubectl, kind: str, patch: str) -> None:
    apply(kube, WEB)
    assert (
        kube.text("patch", "deployment", "web", f"--type={kind}", "-p", patch)
        == "deployment.apps/web patched\n"
    )
    container = get(kube, "deployment", "web")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "nginx:2"
    assert ("ports" in container) is (kind != "merge")  # a merge patch replaces lists


def test_subresources(kube: Kubectl) -> None:
    apply(kube, WEB)
    kube.text(
        "patch",
        "deployment",
        "web",
        "--subresource=scale",
        "--type=merge",
        "-p",
        '{"spec":{"replicas":0}}',
    )
    assert get(kube, "deployment", "web")["spec"]["replicas"] == 0
    kube.text("create", "service", "loadbalancer", "lb", "--tcp=80")
    assert get(kube, "service", "lb", "--subresource=status")["kind"] == "Service"


def test_edit(kube: Kubectl, tmp_path: Path) -> None:
    apply(kube, WEB)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nexec sed -i "s/  replicas: 1/  replicas: 2/" "$1"\n')
    editor.chmod(0o755)
    environment = kube.environment | {"KUBE_EDITOR": str(editor)}
    argv = kube.argv("edit", "deployment", "web")
    done = subprocess.run(argv, env=environment, capture_output=True, timeout=SOON, check=False)
    assert done.stdout.decode() == "deployment.apps/web edited\n", done.stderr
    assert get(kube, "deployment", "web")["spec"]["replicas"] == 2


def test_replace(kube: Kubectl) -> None:
    apply(kube, WEB)
    stale = kube.text("get", "service", "web", "-o", "yaml")
    fresh = stale.replace("port: 80", "port: 81", 1)
    assert kube.text("replace", "-f", "-", stdin=fresh) == "service/web replaced\n"
    assert "the object has been modified" in complaint(kube, "replace", "-f", "-", stdin=fresh)


# ---------------------------------------------------------------- custom resources


def test_custom_resources(kube: Kubectl) -> None:
    name = "customresourcedefinition.apiextensions.k8s.io/crontabs.stable.example.com"
    assert apply(kube, DEFINITION) == [f"{name} created"]
    try:
        assert kube.text("wait", "--for=condition=established", name) == f"{name} condition met\n"
        assert apply(kube, CRON_TAB) == ["crontab.stable.example.com/my created"]
        assert apply(kube, CRON_TAB.replace("replicas: 3", "replicas: 4")) == [
            "crontab.stable.example.com/my configured"
        ]
        assert kube.text("get", "ct").split()[:8] == ["NAME", "SPEC", "REPLICAS", "AGE", "my", "*", "*", "*"]
        assert kube.text("scale", "ct", "my", "--replicas=5") == "crontab.stable.example.com/my scaled\n"
        old = get(kube, "crontabs.v1beta1.stable.example.com", "my")
        assert (old["apiVersion"], old["spec"]["replicas"]) == ("stable.example.com/v1beta1", 5)
        assert old["spec"]["image"] == "busybox"  # a default
        assert "When to run." in kube.text("explain", "ct.spec.cronSpec")
        too_many = complaint(kube, "patch", "ct", "my", "--type=merge", "-p", '{"spec":{"replicas":11}}')
        assert "spec.replicas in body should be less than or equal to 10" in too_many
        assert apply(kube, CRON_TAB, "--server-side", "--force-conflicts") == [
            "crontab.stable.example.com/my serverside-applied"
        ]
        assert "Cron Spec:" in kube.text("describe", "ct", "my")
    finally:
        kube.text("delete", name)
    assert "the server could not find the requested resource" in complaint(kube, "get", "ct")


# ---------------------------------------------------------------- watching, listing


def test_watch(kube: Kubectl) -> None:
    with kube.running("get", "secrets", "-w", "--no-headers", "--output-watch-events") as watching:
        kube.text("create", "secret", "generic", "a")
        kube.text("label", "secret", "a", "x=y")
        kube.text("delete", "secret", "a")
        assert watching.stdout is not None
        lines = [watching.stdout.readline().split()[:2] for _ in range(3)]
    assert lines == [[b"ADDED", b"a"], [b"MODIFIED", b"a"], [b"DELETED", b"a"]]


def test_lists_in_pieces_and_by_field(kube: Kubectl) -> None:
    many = "---\n".join(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n}}}\n" for n in range(7))
    apply(kube, many)
    names = kube.text("get", "configmaps", "--chunk-size=3", "-o", "name").split()
    assert names == [*(f"configmap/c{n}" for n in range(7)), "configmap/kube-root-ca.crt"]
    assert (
        kube.text("get", "configmaps", "--field-selector=metadata.name=c3", "-o", "name") == "configmap/c3\n"
    )
    assert "field label not supported" in complaint(kube, "get", "configmaps", "--field-selector=data.x=y")


def test_namespaces_are_emptied(kube: Kubectl) -> None:
    kube.text("create", "namespace", f"{kube.namespace}-too")
    apply(Kubectl(kube.lab, f"{kube.namespace}-too", kube.program), WEB)
    kube.text("delete", "namespace", f"{kube.namespace}-too", WITHIN)
    assert "NotFound" in complaint(kube, "get", "namespace", f"{kube.namespace}-too")


def test_owners_in_the_foreground_and_orphans(kube: Kubectl) -> None:
    apply(kube, WEB)
    kube.text("rollout", "status", "deployment/web", WITHIN)
    kube.text("delete", "deployment", "web", "--cascade=foreground", WITHIN)
    assert get(kube, "replicasets,pods")["items"] == []
    apply(kube, WEB)
    wait_until(lambda: get(kube, "pods")["items"], SOON, "a pod", every=0.1)
    kube.text("delete", "deployment", "web", "--cascade=orphan")
    left = get(kube, "replicasets")["items"]
    assert [owned["metadata"].get("ownerReferences", []) for owned in left] == [[]]


def test_debug_adds_an_ephemeral_container(kube: Kubectl) -> None:
    kube.text("run", "one", "--image=nginx")
    kube.text("wait", "--for=condition=Ready", "pod/one", WITHIN)
    kube.text("debug", "one", "--image=busybox", "--container=look", "--profile=general", "--", "true")
    spec = get(kube, "pod", "one")["spec"]
    assert [container["name"] for container in spec["ephemeralContainers"]] == ["look"]
    assert len(spec["containers"]) == 1
