"""What a user types on a day: real kubectl, through every command that makes, changes and looks at objects.

What it prints is compared with what it prints on a cluster. Streaming (logs, exec …) is in test_kubectl_streaming.py,
the ways to write an object in test_kubectl_objects.py.
"""

import json
import re
from typing import Any

import pytest

from tests.e2e.kubectl import Kubectl
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
SOON = 20.0
WITHIN = f"--timeout={SOON:.0f}s"


def get(kube: Kubectl, *words: str) -> Any:
    """An object, or a list."""
    return json.loads(kube.text("get", *words, "-o", "json"))


def rows(printed: str) -> list[list[str]]:
    """A table's cells."""
    return [re.split(r"\s{2,}", line.strip()) for line in printed.splitlines() if line.strip()]


def deploy(kube: Kubectl, name: str = "web", replicas: int = 2) -> None:
    """A Deployment whose pods are Ready."""
    kube.text("create", "deployment", name, "--image=nginx:1.27", f"--replicas={replicas}", "--port=80")
    kube.text("rollout", "status", f"deployment/{name}", WITHIN)


# ---------------------------------------------------------------- create


def test_create_deployment(kube: Kubectl) -> None:
    printed = kube.text("create", "deployment", "web", "--image=nginx", "--replicas=2", "--port=80")
    assert printed == "deployment.apps/web created\n"
    spec = get(kube, "deployment", "web")["spec"]
    assert spec["replicas"] == 2
    assert spec["template"]["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]


def test_create_services(kube: Kubectl) -> None:
    for kind, options in (
        ("clusterip", ["--tcp=80:8080"]),
        ("nodeport", ["--tcp=80", "--node-port=30123"]),
        ("loadbalancer", ["--tcp=80"]),
        ("externalname", ["--external-name=www.example.org"]),
    ):
        assert kube.text("create", "service", kind, kind, *options) == f"service/{kind} created\n"
    found = {item["metadata"]["name"]: item["spec"] for item in get(kube, "services")["items"]}
    assert found["clusterip"]["ports"][0]["targetPort"] == 8080
    assert found["nodeport"]["ports"][0]["nodePort"] == 30123
    assert found["loadbalancer"]["type"] == "LoadBalancer"
    assert found["externalname"]["externalName"] == "www.example.org"


def test_create_configuration(kube: Kubectl) -> None:
    assert kube.text("create", "configmap", "c", "--from-literal=a=b") == "configmap/c created\n"
    assert kube.text("create", "secret", "generic", "s", "--from-literal=p=q") == "secret/s created\n"
    assert kube.text("create", "serviceaccount", "me") == "serviceaccount/me created\n"
    assert get(kube, "configmap", "c")["data"] == {"a": "b"}
    assert get(kube, "secret", "s")["data"] == {"p": "cQ=="}
    assert rows(kube.text("get", "configmap", "c"))[0] == ["NAME", "DATA", "AGE"]
    assert rows(kube.text("get", "secret", "s"))[1][:3] == ["s", "Opaque", "1"]


def test_create_workloads_and_ingress(kube: Kubectl) -> None:
    job = kube.text("create", "job", "pi", "--image=busybox", "--", "sh", "-c", "exit 0")
    assert job == "job.batch/pi created\n"
    cron = kube.text("create", "cronjob", "tick", "--image=busybox", "--schedule=0 0 1 1 *")
    assert cron == "cronjob.batch/tick created\n"
    ingress = kube.text("create", "ingress", "in", "--rule=example.org/*=web:80")
    assert ingress == "ingress.networking.k8s.io/in created\n"
    rule = get(kube, "ingress", "in")["spec"]["rules"][0]
    assert rule["host"] == "example.org"
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": "web", "port": {"number": 80}}


def test_create_rights_and_limits(kube: Kubectl) -> None:
    for words, printed in (
        (["role", "r", "--verb=get", "--resource=pods"], "role.rbac.authorization.k8s.io/r created\n"),
        (["rolebinding", "b", "--role=r", "--user=u"], "rolebinding.rbac.authorization.k8s.io/b created\n"),
        (["quota", "q", "--hard=pods=9"], "resourcequota/q created\n"),
        (
            ["poddisruptionbudget", "p", "--selector=a=b", "--min-available=1"],
            "poddisruptionbudget.policy/p created\n",
        ),
    ):
        assert kube.text("create", *words) == printed


def test_the_same_again_is_refused(kube: Kubectl) -> None:
    kube.text("create", "configmap", "c")
    done = kube.run("create", "configmap", "c")
    assert done.returncode == 1
    assert done.stderr.decode() == 'error: failed to create configmap: configmaps "c" already exists\n'


def test_dry_run_creates_nothing(kube: Kubectl) -> None:
    printed = kube.text("create", "configmap", "c", "--dry-run=server")
    assert printed == "configmap/c created (server dry run)\n"
    assert "NotFound" in kube.run("get", "configmap", "c").stderr.decode()


# ---------------------------------------------------------------- run, expose, scale


def test_run_and_expose(kube: Kubectl) -> None:
    assert kube.text("run", "one", "--image=nginx", "--port=80", "--labels=app=one") == "pod/one created\n"
    assert kube.text("wait", "--for=condition=Ready", "pod/one", WITHIN) == "pod/one condition met\n"
    assert kube.text("expose", "pod", "one") == "service/one exposed\n"
    spec = get(kube, "service", "one")["spec"]
    assert (spec["selector"], spec["ports"][0]["port"]) == ({"app": "one"}, 80)
    row = rows(kube.text("get", "pods", "-o", "wide"))
    assert row[0] == [
        "NAME",
        "READY",
        "STATUS",
        "RESTARTS",
        "AGE",
        "IP",
        "NODE",
        "NOMINATED NODE",
        "READINESS GATES",
    ]
    assert row[1][:4] == ["one", "1/1", "Running", "0"]


def test_expose_and_scale_a_deployment(kube: Kubectl) -> None:
    deploy(kube)
    assert kube.text("expose", "deployment", "web", "--port=80") == "service/web exposed\n"
    assert kube.text("scale", "deployment/web", "--replicas=3") == "deployment.apps/web scaled\n"
    kube.text("rollout", "status", "deployment/web", WITHIN)
    assert rows(kube.text("get", "deployment", "web"))[1][:4] == ["web", "3/3", "3", "3"]
    assert (
        kube.text("scale", "deployment/web", "--replicas=1", "--current-replicas=3")
        == "deployment.apps/web scaled\n"
    )
    done = kube.run("scale", "deployment/web", "--replicas=5", "--current-replicas=3")
    assert "Expected replicas to be 3, was 1" in done.stderr.decode()


# ---------------------------------------------------------------- rollout, set


def test_rollouts(kube: Kubectl) -> None:
    deploy(kube)
    assert (
        kube.text("set", "image", "deployment/web", "nginx=nginx:1.28")
        == "deployment.apps/web image updated\n"
    )
    printed = kube.text("rollout", "status", "deployment/web", WITHIN)
    assert printed.endswith('deployment "web" successfully rolled out\n')
    history = kube.text("rollout", "history", "deployment/web")
    assert [row[0] for row in rows(history)] == ["deployment.apps/web", "REVISION", "1", "2"]
    assert "nginx:1.27" in kube.text("rollout", "history", "deployment/web", "--revision=1")
    assert kube.text("rollout", "undo", "deployment/web") == "deployment.apps/web rolled back\n"
    assert kube.text("rollout", "restart", "deployment/web") == "deployment.apps/web restarted\n"
    assert kube.text("rollout", "pause", "deployment/web") == "deployment.apps/web paused\n"
    assert kube.text("rollout", "resume", "deployment/web") == "deployment.apps/web resumed\n"
    kube.text("rollout", "status", "deployment/web", WITHIN)
    container = get(kube, "deployment", "web")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "nginx:1.27"


def test_set(kube: Kubectl) -> None:
    deploy(kube, replicas=1)
    assert kube.text("set", "env", "deployment/web", "COLOUR=red") == "deployment.apps/web env updated\n"
    limits = kube.text("set", "resources", "deployment/web", "--limits=cpu=1")
    assert limits == "deployment.apps/web resource requirements updated\n"
    container = get(kube, "deployment", "web")["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "COLOUR", "value": "red"}]
    assert container["resources"] == {"limits": {"cpu": "1"}}
    kube.text("create", "service", "clusterip", "web", "--tcp=80")
    assert kube.text("set", "selector", "service/web", "a=b") == "service/web selector updated\n"
    assert get(kube, "service", "web")["spec"]["selector"] == {"a": "b"}


# ---------------------------------------------------------------- label, annotate, delete, wait


def test_label_and_annotate(kube: Kubectl) -> None:
    kube.text("create", "configmap", "c")
    assert kube.text("label", "configmap/c", "a=b") == "configmap/c labeled\n"
    assert kube.text("annotate", "configmap/c", "note=x y") == "configmap/c annotated\n"
    refused = kube.run("label", "configmap/c", "a=c").stderr.decode()
    assert refused == "error: 'a' already has a value (b), and --overwrite is false\n"
    assert kube.text("label", "configmap/c", "a-") == "configmap/c unlabeled\n"
    assert kube.text("get", "configmap", "-l", "a=b", "-o", "name") == ""
    assert get(kube, "configmap", "c")["metadata"]["annotations"] == {"note": "x y"}


def test_delete(kube: Kubectl) -> None:
    deploy(kube)
    assert (
        kube.text("delete", "deployment", "web")
        == f'deployment.apps "web" deleted from {kube.namespace} namespace\n'
    )
    wait_until(lambda: not get(kube, "pods")["items"], SOON, "no pods any more", every=0.1)
    for name in ("a", "b"):
        kube.text("create", "configmap", name)
        kube.text("label", f"configmap/{name}", "which=these")
    assert len(kube.text("delete", "configmap", "-l", "which=these").splitlines()) == 2
    assert kube.text("delete", "configmap", "a", "--ignore-not-found") == ""
    done = kube.run("delete", "configmap", "a")
    assert done.stderr.decode() == 'Error from server (NotFound): configmaps "a" not found\n'


def test_wait(kube: Kubectl) -> None:
    kube.text("run", "one", "--image=nginx")
    assert (
        kube.text("wait", "--for=jsonpath={.status.phase}=Running", "pod/one", WITHIN)
        == "pod/one condition met\n"
    )
    with kube.running("wait", "--for=delete", "pod/one", WITHIN) as waiting:
        kube.text("delete", "pod", "one", "--now", "--wait=false")
        assert waiting.wait(SOON) == 0
    done = kube.run("wait", "--for=condition=Ready", "pod/one", "--timeout=1s")
    assert 'pods "one" not found' in done.stderr.decode()


# ---------------------------------------------------------------- looking


def test_describe_tells_the_story(kube: Kubectl) -> None:
    deploy(kube, replicas=1)
    kube.text("expose", "deployment", "web")
    pod = get(kube, "pods")["items"][0]["metadata"]["name"]
    story = kube.text("describe", "pod", pod)
    assert re.search(r"^Controlled By:\s+ReplicaSet/web-", story, re.MULTILINE)
    for reason in ("Scheduled", "Started"):
        assert re.search(rf"^  Normal\s+{reason}\s", story, re.MULTILINE), f"{reason}: {story}"
    assert "ScalingReplicaSet" in kube.text("describe", "deployment", "web")
    assert re.search(
        r"^Endpoints:\s+10\.244\.\d+\.\d+:80$", kube.text("describe", "service", "web"), re.MULTILINE
    )
    assert "Allocated resources:" in kube.text("describe", "node", "worker1")


def test_events(kube: Kubectl) -> None:
    kube.text("run", "one", "--image=nginx")
    kube.text("wait", "--for=condition=Ready", "pod/one", WITHIN)
    printed = rows(kube.text("events", "--for=pod/one"))
    assert printed[0] == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert {"Scheduled", "Started"} <= {row[2] for row in printed[1:]}
    selected = kube.text("get", "events", "--field-selector=reason=Scheduled,involvedObject.name=one")
    assert len(rows(selected)) == 2


def test_get_in_all_forms(kube: Kubectl) -> None:
    deploy(kube, replicas=1)
    everything = kube.text("get", "all")
    assert [line.split("/")[0] for line in everything.splitlines() if "/web" in line] == [
        "pod",
        "deployment.apps",
        "replicaset.apps",
    ]
    assert kube.text("get", "deploy", "-o", "name") == "deployment.apps/web\n"
    assert kube.text("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "1"
    columns = kube.text("get", "deploy", "-o", "custom-columns=N:.metadata.name,R:.spec.replicas")
    assert rows(columns) == [["N", "R"], ["web", "1"]]
    assert kube.text("get", "pods", "--show-labels").count("app=web") == 1
    assert rows(kube.text("get", "pods", "-A"))[0][0] == "NAMESPACE"
    assert "No resources found" in kube.run("get", "statefulsets").stderr.decode()
    assert kube.text("get", "--raw", "/readyz") == "ok"


def test_the_cluster(kube: Kubectl) -> None:
    assert "Kubernetes control plane" in kube.text("cluster-info")
    assert "Server Version: v1.37" in kube.text("version")
    short = {row[0]: row for row in rows(kube.text("api-resources"))}
    assert short["deployments"] == ["deployments", "deploy", "apps/v1", "true", "Deployment"]
    assert {"v1", "apps/v1", "networking.k8s.io/v1"} <= set(kube.text("api-versions").split())
    nodes = rows(kube.text("get", "nodes"))
    assert [row[1] for row in nodes[1:]] == ["Ready"] * 3
    assert (
        len(
            kube.text("get", "nodes", "-l", "kubernetes.io/os=linux,kubernetes.io/arch", "-o", "name").split()
        )
        == 3
    )


def test_rights(kube: Kubectl) -> None:
    assert kube.text("auth", "can-i", "delete", "nodes") == "yes\n"
    assert "*.*" in kube.text("auth", "can-i", "--list")
    assert "kubernetes-admin" in kube.text("auth", "whoami")


def test_a_service_accounts_token_opens_the_api_inside_the_cluster(kube: Kubectl) -> None:
    kube.text("run", "one", "--image=nginx")
    kube.text("wait", "--for=condition=Ready", "pod/one", WITHIN)
    token = kube.text("create", "token", "default").strip()

    def code(bearer: str) -> str:
        url, header = "https://kubernetes.default.svc/version", f"Authorization: Bearer {bearer}"
        place = f"pod/one.{kube.namespace}"
        return kube.lab.output(
            place, "curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-H", header, url
        )

    assert code(token) == "200"
    assert code(token[:-2] + "AA") == "401"


def test_there_are_no_metrics(kube: Kubectl) -> None:
    for words in (["top", "pods"], ["top", "nodes"]):
        done = kube.run(*words)
        assert (done.returncode, done.stderr.decode()) == (1, "error: Metrics API not available\n")


def test_explain(kube: Kubectl) -> None:
    printed = kube.text("explain", "deployment.spec.strategy.rollingUpdate.maxSurge")
    assert "FIELD: maxSurge <IntOrString>" in printed
    assert "containerPort\t<integer> -required-" in kube.text("explain", "pod.spec.containers.ports")
    assert "ipBlock" in kube.text("explain", "networkpolicy", "--recursive")


# ---------------------------------------------------------------- nodes


def test_cordon_drain_and_taint(kube: Kubectl) -> None:
    deploy(kube, replicas=2)
    try:
        assert kube.text("cordon", "worker1") == "node/worker1 cordoned\n"
        assert "Ready,SchedulingDisabled" in kube.text("get", "node", "worker1")
        selector = "--pod-selector=app=web"
        drained = kube.text("drain", "worker1", "--ignore-daemonsets", "--force", selector, WITHIN)
        assert drained.endswith("node/worker1 drained\n")
        kube.text("rollout", "status", "deployment/web", WITHIN)
        assert {pod["spec"]["nodeName"] for pod in get(kube, "pods", "-l", "app=web")["items"]} == {"worker2"}
    finally:
        assert kube.text("uncordon", "worker1") == "node/worker1 uncordoned\n"
    assert kube.text("taint", "node", "worker1", "a=b:NoSchedule") == "node/worker1 tainted\n"
    assert kube.text("taint", "node", "worker1", "a-") == "node/worker1 untainted\n"


REPLICATION_CONTROLLER = """
apiVersion: v1
kind: ReplicationController
metadata: {name: old}
spec:
  replicas: 1
  selector: {app: old}
  template:
    metadata: {labels: {app: old}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]
"""


def test_replication_controllers(kube: Kubectl) -> None:
    kube.text("apply", "-f", "-", stdin=REPLICATION_CONTROLLER)
    kube.text("scale", "rc", "old", "--replicas=2")
    kube.text("wait", "rc/old", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=30s")
    assert rows(kube.text("get", "rc", "-o", "wide"))[1][-1] == "app=old"
    assert "replicationcontroller/old" in kube.text("get", "all")
    assert "service/old exposed" in kube.text("expose", "rc", "old", "--port=80")
    assert "Replicas:     2 current / 2 desired" in kube.text("describe", "rc", "old")
    assert '"kind": "ReplicationControllerList"' in kube.text("cluster-info", "dump")


def test_what_is_without_effect_is_said(kube: Kubectl) -> None:
    done = kube.run("create", "role", "r", "--verb=get", "--resource=pods")
    assert done.returncode == 0
    assert b"Warning: Role: has no effect" in done.stderr
