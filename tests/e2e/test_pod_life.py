"""Pods live like pods: probes, restarts, init containers and sidecars, hooks, the end; all in a real lab."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controlplane.client import Client
from controlplane.errors import StatusError
from labs.lab import Lab
from tests.e2e.session import RunningLab, is_ready
from tests.e2e.waiting import wait_until

Obj = dict[str, Any]
NAMESPACE = "pod-life"
MERGE = "application/merge-patch+json"
SOON = 15.0
FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.05; done"
DEAF = "trap : TERM; while :; do sleep 0.05; done"


def shell(script: str, name: str = "main", **fields: Any) -> Obj:
    """A container that runs a line of shell."""
    return {"name": name, "image": "busybox", "command": ["sh", "-c", script], **fields}


def probe(*command: str, **fields: Any) -> Obj:
    return {"exec": {"command": list(command)}, "periodSeconds": 1, **fields}


class Namespace:
    """The tests' own namespace of a lab, through the API."""

    def __init__(self, lab: Lab, client: Client) -> None:
        self.lab = lab
        self._client = client
        self._pods = f"/api/v1/namespaces/{NAMESPACE}/pods"

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        return self._client.request(method, path, body, **options)

    def create(self, kind: str, plural: str, name: str, **fields: Any) -> None:
        obj = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}
        self.request("POST", f"/api/v1/namespaces/{NAMESPACE}/{plural}", obj)

    def run(self, name: str, *containers: Obj, labels: Obj | None = None, **spec: Any) -> None:
        """Make a pod; it has little time to end unless told otherwise."""
        body = {"terminationGracePeriodSeconds": 2, **spec, "containers": list(containers)}
        metadata = {"name": name, "labels": labels or {}}
        self.request(
            "POST", self._pods, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}
        )

    def find(self, name: str) -> Obj | None:
        try:
            found: Obj = self.request("GET", f"{self._pods}/{name}")
        except StatusError as error:
            if error.code != 404:
                raise
            return None
        return found

    def pod(self, name: str) -> Obj:
        found = self.find(name)
        assert found is not None, f"pod {name} is gone"
        return found

    def wait(self, name: str, condition: Callable[[Obj], Any], what: str) -> Obj:
        """The pod as soon as the condition holds of it."""

        def look() -> Obj | None:
            pod = self.pod(name)
            return pod if condition(pod) else None

        try:
            found = wait_until(look, SOON, f"pod {name}: {what}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.pod(name).get('status')}\n{self.events(name)}") from None
        assert found is not None
        return found

    def ready(self, name: str) -> Obj:
        return self.wait(name, is_ready, "Ready")

    def patch(self, name: str, patch: Obj, subresource: str = "") -> None:
        self.request("PATCH", f"{self._pods}/{name}{subresource}", patch, content_type=MERGE)

    def delete(self, name: str, **query: str) -> float:
        """Delete a pod and wait until it is gone; returns the seconds that took."""
        began = time.monotonic()
        self.request("DELETE", f"{self._pods}/{name}", query=query)
        wait_until(lambda: self.find(name) is None, SOON, f"pod {name} gone")
        return time.monotonic() - began

    def events(self, name: str) -> list[str]:
        """The events of a pod, as "Reason: message"."""
        items = self.request("GET", f"/api/v1/namespaces/{NAMESPACE}/events")["items"]
        return [f"{e['reason']}: {e['message']}" for e in items if e["involvedObject"]["name"] == name]

    def wait_event(self, name: str, start: str) -> str:
        """The first event of a pod that begins so."""

        def look() -> str:
            return next((event for event in self.events(name) if event.startswith(start)), "")

        return wait_until(look, SOON, f"pod {name}: event {start}; there are {self.events(name)}")

    def exec(self, name: str, *argv: str, container: str = "") -> str:
        done = self.lab.exec(f"pod/{name}.{NAMESPACE}", argv, container=container, timeout=10)
        assert done.status == 0, done
        return done.stdout


@pytest.fixture(scope="module")
def life(lab: RunningLab) -> Iterator[Namespace]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MINIPOD_HOME", str(lab.user.home))
        attached = Lab.attach(lab.name)
        with attached.api() as client:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            client.request("POST", "/api/v1/namespaces", namespace)
            yield Namespace(attached, client)
            client.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}")


def container(pod: Obj, name: str = "main") -> Obj:
    statuses = [*pod["status"].get("containerStatuses", ()), *pod["status"].get("initContainerStatuses", ())]
    return next((status for status in statuses if status["name"] == name), {"state": {}, "restartCount": 0})


def condition(pod: Obj, kind: str) -> Obj:
    return next(c for c in pod["status"]["conditions"] if c["type"] == kind)


def phase(name: str) -> Callable[[Obj], bool]:
    return lambda pod: bool(pod["status"]["phase"] == name)


def restarted(times: int, name: str = "main") -> Callable[[Obj], bool]:
    return lambda pod: bool(container(pod, name)["restartCount"] >= times)


# -------------------------------------------------------------------- probes


def test_readiness_decides_about_traffic(life: Namespace) -> None:
    """A pod is an endpoint while its readiness probe succeeds, and it is never restarted for it."""
    ports = [{"port": 80}]
    life.create("Service", "services", "gate", spec={"selector": {"app": "gate"}, "ports": ports})
    life.run(
        "gate",
        shell(FOREVER, readinessProbe=probe("cat", "/tmp/ready", failureThreshold=1)),
        labels={"app": "gate"},
    )
    path = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"

    def serving() -> list[bool]:
        slices = life.request("GET", path, query={"labelSelector": "kubernetes.io/service-name=gate"})[
            "items"
        ]
        return [endpoint["conditions"]["ready"] for one in slices for endpoint in one.get("endpoints") or ()]

    assert life.wait_event("gate", "Unhealthy").startswith("Unhealthy: Readiness probe failed: cat:")
    pod = life.wait("gate", phase("Running"), "Running")
    assert (container(pod)["ready"], container(pod)["started"], is_ready(pod)) == (False, True, False)
    assert condition(pod, "Ready")["reason"] == "ContainersNotReady"
    wait_until(lambda: serving() == [False], SOON, "an endpoint that is not ready")
    life.exec("gate", "touch", "/tmp/ready")
    life.ready("gate")
    wait_until(lambda: serving() == [True], SOON, "a ready endpoint")
    life.exec("gate", "rm", "/tmp/ready")
    pod = life.wait("gate", lambda pod: not is_ready(pod), "not Ready any more")
    assert container(pod)["restartCount"] == 0
    wait_until(lambda: serving() == [False], SOON, "an endpoint that is not ready any more")


def test_a_pod_that_ends_tells_when_it_serves_no_more(life: Namespace) -> None:
    """Until then it keeps its flows; what fails the probe and goes on for a while is given up in good order."""
    life.create("Service", "services", "duck", spec={"selector": {"app": "duck"}, "ports": [{"port": 80}]})
    cat = probe("cat", "/tmp/ready", failureThreshold=1)
    duck = shell(f"touch /tmp/ready; {DEAF}", readinessProbe=cat)
    life.run("duck", duck, labels={"app": "duck"}, terminationGracePeriodSeconds=60)
    path = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"

    def conditions() -> list[Obj]:
        query = {"labelSelector": "kubernetes.io/service-name=duck"}
        slices = life.request("GET", path, query=query)["items"]
        return [endpoint["conditions"] for one in slices for endpoint in one.get("endpoints") or ()]

    def ends(*, serving: bool) -> bool:
        return conditions() == [{"ready": False, "serving": serving, "terminating": True}]

    life.ready("duck")
    life.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/duck")
    wait_until(lambda: ends(serving=True), SOON, "an endpoint that ends, and serves")
    life.exec("duck", "rm", "/tmp/ready")
    wait_until(lambda: ends(serving=False), SOON, "an endpoint that ends, and does not serve")
    life.delete("duck", gracePeriodSeconds="0")


def test_http_probes_come_from_the_node(life: Namespace) -> None:
    """By named port, with a path; the server sees its node's address and the kubelet's name."""
    get = {"httpGet": {"path": "/clientip", "port": "web"}, "periodSeconds": 1}
    main: Obj = {"name": "main", "image": "registry.k8s.io/e2e-test-images/agnhost:2.53", "args": ["netexec"]}
    life.run("http", {**main, "ports": [{"name": "web", "containerPort": 8080}], "readinessProbe": get})
    life.ready("http")
    nginx = {"name": "main", "image": "nginx"}
    life.run(
        "lost", {**nginx, "readinessProbe": {"httpGet": {"path": "/nowhere", "port": 80}, "periodSeconds": 1}}
    )
    life.wait_event("lost", "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 404")
    life.run("typo", {**main, "readinessProbe": {"httpGet": {"port": "wbe"}, "periodSeconds": 1}})
    life.wait_event("typo", "Unhealthy: Readiness probe failed: couldn't find port: wbe")


def test_tcp_probe_tells_who_refused(life: Namespace) -> None:
    life.run("tcp", shell(FOREVER, readinessProbe={"tcpSocket": {"port": 81}, "periodSeconds": 1}))
    event = life.wait_event("tcp", "Unhealthy")
    address = life.pod("tcp")["status"]["podIP"]
    assert event == f"Unhealthy: Readiness probe failed: dial tcp {address}:81: connect: connection refused"


def test_slow_command_runs_out_of_time(life: Namespace) -> None:
    life.run("slow", shell(FOREVER, readinessProbe=probe("sleep", "987", failureThreshold=1)))
    life.wait_event(
        "slow", 'Unhealthy: Readiness probe failed: command timed out: "sleep 987" timed out after 1s'
    )
    assert "987" not in life.exec(
        "slow", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -v grep || :"
    )


def test_liveness_starts_a_sick_container_again(life: Namespace) -> None:
    main = shell(
        f"touch /tmp/healthy; {FOREVER}", livenessProbe=probe("cat", "/tmp/healthy", failureThreshold=1)
    )
    life.run("sick", main)
    life.ready("sick")
    life.exec("sick", "rm", "/tmp/healthy")
    pod = life.wait("sick", restarted(1), "restarted")
    assert container(pod)["lastState"]["terminated"]["exitCode"] == 0
    life.wait_event("sick", "Killing: Container main failed liveness probe, will be restarted")
    life.wait("sick", lambda pod: is_ready(pod) and restarted(1)(pod), "Ready again")


def test_startup_probe_holds_the_others_back(life: Namespace) -> None:
    main = shell(
        FOREVER,
        startupProbe=probe("cat", "/tmp/up", failureThreshold=30),
        livenessProbe=probe("cat", "/tmp/up"),
    )
    life.run("late", main)
    life.wait_event("late", "Unhealthy: Startup probe failed")
    pod = life.pod("late")
    assert (container(pod)["started"], container(pod)["ready"]) == (False, False)
    life.exec("late", "touch", "/tmp/up")
    assert container(life.ready("late"))["started"] is True
    assert container(life.pod("late"))["restartCount"] == 0


def test_container_that_never_starts_up_is_killed(life: Namespace) -> None:
    startup = probe("false", failureThreshold=1, terminationGracePeriodSeconds=1)
    life.run("stuck", shell(DEAF, startupProbe=startup), terminationGracePeriodSeconds=300)
    pod = life.wait("stuck", restarted(1), "restarted")
    life.wait_event("stuck", "Killing: Container main failed startup probe, will be restarted")
    assert container(pod)["lastState"]["terminated"]["exitCode"] == 137
    life.delete("stuck", gracePeriodSeconds="0")


def test_readiness_gate_is_somebody_elses_word(life: Namespace) -> None:
    life.run("gated", shell(FOREVER), readinessGates=[{"conditionType": "example.com/in-balancer"}])
    pod = life.wait("gated", lambda pod: container(pod).get("ready"), "container ready")
    assert condition(pod, "ContainersReady")["status"] == "True"
    assert condition(pod, "Ready")["reason"] == "ReadinessGatesNotReady"
    others = [*pod["status"]["conditions"], {"type": "example.com/in-balancer", "status": "True"}]
    life.patch("gated", {"status": {"conditions": others}}, "/status")
    life.ready("gated")


# -------------------------------------------------------------------- restarts


@pytest.mark.alone
def test_crash_loop_backs_off(life: Namespace) -> None:
    """The first restart is at once, the second waits ten seconds; deleting the pod does not."""
    life.run("crash", shell("echo oops; exit 4", terminationMessagePolicy="FallbackToLogsOnError"))
    pod = life.wait(
        "crash",
        lambda pod: container(pod)["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff",
        "",
    )
    main = container(pod)
    last = main["lastState"]["terminated"]
    assert (main["restartCount"], last["exitCode"], last["reason"], last["message"]) == (
        1,
        4,
        "Error",
        "oops\n",
    )
    assert main["state"]["waiting"]["message"].startswith(
        "back-off 10s restarting failed container=main pod=crash_pod-life("
    )
    assert pod["status"]["phase"] == "Running"
    life.wait_event("crash", "BackOff: Back-off restarting failed container main in pod crash_pod-life(")
    assert life.delete("crash") < 2


def test_restart_policies(life: Namespace) -> None:
    once = "test -e /keep/failed && exit 0; touch /keep/failed; exit 1"
    keep: Obj = {"volumes": [{"name": "keep", "emptyDir": {}}]}
    life.run(
        "twice",
        shell(once, volumeMounts=[{"name": "keep", "mountPath": "/keep"}]),
        restartPolicy="OnFailure",
        **keep,
    )
    life.run("never", shell("echo why > /dev/termination-log; exit 3"), restartPolicy="Never")
    pod = life.wait("twice", phase("Succeeded"), "Succeeded")
    assert container(pod)["restartCount"] == 1
    assert (condition(pod, "Ready")["reason"], condition(pod, "Initialized")["status"]) == (
        "PodCompleted",
        "True",
    )
    pod = life.wait("never", phase("Failed"), "Failed")
    ended = container(pod)["state"]["terminated"]
    assert (ended["exitCode"], ended["message"], container(pod)["restartCount"]) == (3, "why\n", 0)
    assert pod["status"]["podIP"], "a pod that has ended keeps its address in its status"


def test_active_deadline(life: Namespace) -> None:
    life.run("long", shell(FOREVER), restartPolicy="Never", activeDeadlineSeconds=1)
    pod = life.wait("long", phase("Failed"), "Failed")
    assert pod["status"]["reason"] == "DeadlineExceeded"
    assert "terminated" in container(pod)["state"]
    life.wait_event("long", "DeadlineExceeded: Pod was active on the node longer than the specified deadline")


def test_program_that_is_not_there(life: Namespace) -> None:
    life.run(
        "none", {"name": "main", "image": "busybox", "command": ["no-such-program"]}, restartPolicy="Never"
    )
    pod = life.wait("none", phase("Failed"), "Failed")
    ended = container(pod)["state"]["terminated"]
    assert ended["reason"] == "StartError"
    assert "executable file not found" in ended["message"]


def test_missing_config_map_is_waited_for(life: Namespace) -> None:
    name = {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "colors", "key": "first"}}}
    life.run("config", shell(FOREVER, env=[name]))
    life.wait("config", lambda pod: "CreateContainerConfigError" in str(container(pod)["state"]), "waiting")
    life.create("ConfigMap", "configmaps", "colors", data={"first": "red"})
    pod = life.ready("config")
    assert container(pod)["restartCount"] == 0


def test_missing_volume_is_waited_for(life: Namespace) -> None:
    mount: Obj = {"volumeMounts": [{"name": "late", "mountPath": "/late"}]}
    life.run("mounts", shell(FOREVER, **mount), volumes=[{"name": "late", "configMap": {"name": "late"}}])
    life.wait_event("mounts", 'FailedMount: MountVolume.SetUp failed: configmap "late" not found')
    pod = life.wait("mounts", lambda pod: container(pod)["state"], "seen by its kubelet")
    assert container(pod)["state"] == {"waiting": {"reason": "ContainerCreating"}}
    life.create("ConfigMap", "configmaps", "late", data={"a": "1"})
    life.ready("mounts")
    assert life.exec("mounts", "cat", "/late/a") == "1"


def test_files_of_a_config_map_follow_it(life: Namespace) -> None:
    life.create("ConfigMap", "configmaps", "page", data={"index.html": "old"})
    mount: Obj = {"volumeMounts": [{"name": "page", "mountPath": "/page"}]}
    life.run("reads", shell(FOREVER, **mount), volumes=[{"name": "page", "configMap": {"name": "page"}}])
    life.ready("reads")
    assert life.exec("reads", "cat", "/page/index.html") == "old"
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/page"
    life.request("PATCH", path, {"data": {"index.html": "new"}}, content_type=MERGE)
    wait_until(
        lambda: life.exec("reads", "cat", "/page/index.html") == "new", SOON, "the new page", every=0.5
    )


def test_new_image_starts_the_container_again(life: Namespace) -> None:
    life.run("image", shell(FOREVER))
    life.ready("image")
    life.request(
        "PATCH",
        f"/api/v1/namespaces/{NAMESPACE}/pods/image",
        [{"op": "replace", "path": "/spec/containers/0/image", "value": "busybox:1.36"}],
        content_type="application/json-patch+json",
    )
    pod = life.wait("image", restarted(1), "restarted")
    assert container(pod)["image"] == "busybox:1.36"
    life.wait_event("image", "Killing: Container main definition changed, will be restarted")


# -------------------------------------------------------------------- init containers and sidecars


def test_init_containers_run_in_order(life: Namespace) -> None:
    mount: Obj = {"volumeMounts": [{"name": "notes", "mountPath": "/notes"}]}
    init = [
        shell("sleep 0.3; echo one >> /notes/order", "one", **mount),
        shell("echo side >> /notes/order; " + FOREVER, "side", restartPolicy="Always",
              startupProbe=probe("cat", "/notes/order"), **mount),
        shell("echo two >> /notes/order", "two", **mount),
    ]  # fmt: skip
    life.run("inits", shell("cat /notes/order; " + FOREVER, **mount), initContainers=init,
             volumes=[{"name": "notes", "emptyDir": {}}])  # fmt: skip
    pod = life.ready("inits")
    assert life.exec("inits", "cat", "/notes/order") == "one\nside\ntwo\n"
    states = {name: next(iter(container(pod, name)["state"])) for name in ("one", "side", "two", "main")}
    assert states == {"one": "terminated", "side": "running", "two": "terminated", "main": "running"}


@pytest.mark.alone
def test_init_container_that_fails(life: Namespace) -> None:
    init = [shell("exit 5", "first")]
    life.run("badinit", shell(FOREVER), initContainers=init, restartPolicy="Never")
    life.run("badloop", shell(FOREVER), initContainers=init)
    pod = life.wait("badinit", phase("Failed"), "Failed")
    assert container(pod)["state"] == {"waiting": {"reason": "PodInitializing"}}
    pod = life.wait("badloop", restarted(1, "first"), "restarted")
    assert pod["status"]["phase"] == "Pending"
    assert condition(pod, "Initialized")["message"] == "containers with incomplete status: [first]"
    assert life.delete("badloop") < 2


def test_sidecar_outlives_the_work_and_then_ends(life: Namespace) -> None:
    """A pod whose work is done is Succeeded, and its sidecar, even one that crashed before, is gone."""
    side = shell("trap 'echo bye > /dev/termination-log; exit 0' TERM; while :; do sleep 0.05; done", "side")
    life.run(
        "work",
        shell("sleep 0.5"),
        initContainers=[{**side, "restartPolicy": "Always"}],
        restartPolicy="Never",
    )
    pod = life.wait("work", phase("Succeeded"), "Succeeded")
    assert container(pod, "side")["state"]["terminated"]["message"] == "bye\n"
    life.wait_event("work", "Killing: Stopping container side")


def test_sidecar_is_started_again_whatever_the_policy(life: Namespace) -> None:
    side = shell("sleep 0.2", "side", restartPolicy="Always")
    life.run("flaky", shell(FOREVER), initContainers=[side], restartPolicy="Never")
    pod = life.wait("flaky", restarted(1, "side"), "sidecar restarted")
    assert "running" in container(pod)["state"]
    assert condition(pod, "Initialized")["status"] == "True"


# -------------------------------------------------------------------- hooks and the end


def test_post_start(life: Namespace) -> None:
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "sleep 0.3; echo hello > /tmp/hook"]}}}
    life.run("post", shell(FOREVER, lifecycle=hook))
    life.ready("post")
    assert life.exec("post", "cat", "/tmp/hook") == "hello\n"
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo cannot; exit 1"]}}}
    life.run("badpost", shell(FOREVER, lifecycle=hook))
    life.wait_event("badpost", "FailedPostStartHook: PostStartHook failed: cannot")
    life.wait("badpost", restarted(1), "restarted")


@pytest.mark.alone
def test_pre_stop_comes_before_term(life: Namespace) -> None:
    notes = {"name": "notes", "hostPath": {"path": "/run/pod-life-notes", "type": "DirectoryOrCreate"}}
    mount: Obj = {"volumeMounts": [{"name": "notes", "mountPath": "/notes"}]}
    ends = "trap 'echo term >> /notes/end; exit 0' TERM; while :; do sleep 0.05; done"
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "sleep 0.3; echo prestop >> /notes/end"]}}}
    where: Obj = {"nodeName": "worker1", "volumes": [notes]}
    life.run("reader", shell(FOREVER, **mount), **where)
    life.run("pre", shell(ends, lifecycle=hook, **mount), **where, terminationGracePeriodSeconds=30)
    life.ready("pre")
    life.ready("reader")
    assert life.delete("pre") < 5
    assert life.exec("reader", "cat", "/notes/end") == "prestop\nterm\n"


@pytest.mark.alone
def test_grace_period_ends_with_kill(life: Namespace) -> None:
    life.run("deaf", shell(DEAF), terminationGracePeriodSeconds=1)
    life.ready("deaf")
    assert 1 <= life.delete("deaf") < 4


@pytest.mark.alone
def test_program_that_handles_term_late_is_heard(life: Namespace) -> None:
    """As pid 1 it would not notice a TERM that comes before its handler is there."""
    notes = {"name": "notes", "hostPath": {"path": "/tmp/late"}}
    mount: Obj = {"volumeMounts": [{"name": "notes", "mountPath": "/notes"}]}
    where: Obj = {"nodeName": "worker1", "volumes": [notes], "terminationGracePeriodSeconds": 30}
    late = "sleep 1; trap 'echo term >> /notes/end; exit 0' TERM; while :; do sleep 0.05; done"
    life.run("reader-of-late", shell(FOREVER, **mount), **where)
    life.run("late-to-decide", shell(late, **mount), **where)
    life.ready("late-to-decide")
    life.ready("reader-of-late")
    assert life.delete("late-to-decide") < 5
    assert life.exec("reader-of-late", "cat", "/notes/end") == "term\n"


@pytest.mark.alone
def test_endless_pre_stop_leaves_term_two_seconds(life: Namespace) -> None:
    life.run(
        "endless",
        shell(FOREVER, lifecycle={"preStop": {"sleep": {"seconds": 1}}}),
        terminationGracePeriodSeconds=1,
    )
    life.ready("endless")
    assert 1 <= life.delete("endless") < 3


def test_no_request_is_lost_when_a_pod_ends(life: Namespace) -> None:
    """A pod that is told to end goes on serving until nobody is sent to it any more."""
    ports = [{"port": 80}]
    life.create("Service", "services", "pair", spec={"selector": {"app": "pair"}, "ports": ports})
    nginx = {"name": "main", "image": "nginx", "readinessProbe": {"tcpSocket": {"port": 80}}}
    for name in ("pair-1", "pair-2"):
        life.run(name, nginx, labels={"app": "pair"})
    get = "curl -s -o /dev/null --max-time 2 http://pair"
    ask = f"while :; do {get} && echo ok >> /tmp/ok || echo lost >> /tmp/lost; done"
    life.run("asks", shell(f"until {get}; do :; done; for i in 1 2 3 4; do {ask} & done; wait"))
    for name in ("pair-1", "pair-2", "asks"):
        life.ready(name)

    def answered() -> int:
        return len(life.exec("asks", "sh", "-c", "cat /tmp/ok || :").split())

    wait_until(lambda: answered() >= 20, SOON, "answers of both")
    life.delete("pair-1")
    before = answered()
    wait_until(lambda: answered() >= before + 20, SOON, "answers of the other")
    assert life.exec("asks", "sh", "-c", "cat /tmp/lost || :") == ""


@pytest.mark.alone
def test_second_delete_shortens_the_first(life: Namespace) -> None:
    life.run("hurry", shell(DEAF), terminationGracePeriodSeconds=300)
    life.ready("hurry")
    life.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/hurry")
    assert life.pod("hurry")["metadata"]["deletionGracePeriodSeconds"] == 300
    assert life.delete("hurry", gracePeriodSeconds="1") < 4


@pytest.mark.alone
def test_forced_delete_frees_the_name_at_once(life: Namespace) -> None:
    life.run("forced", shell(DEAF), terminationGracePeriodSeconds=300)
    life.ready("forced")
    assert life.delete("forced", gracePeriodSeconds="0") < 1
    life.run("forced", shell(FOREVER))
    life.ready("forced")


@pytest.mark.parametrize("stage", ["scheduled", "config", "init", "hook"])
def test_delete_while_it_is_being_made(life: Namespace, stage: str) -> None:
    name, main, init = f"early-{stage}", shell(FOREVER), []
    if stage == "config":
        main["envFrom"] = [{"configMapRef": {"name": "no-such-map"}}]
    if stage == "init":
        init = [shell(FOREVER, "first")]
    if stage == "hook":
        main["lifecycle"] = {"postStart": {"sleep": {"seconds": 600}}}
    life.run(name, main, initContainers=init)
    if stage != "scheduled":
        life.wait(
            name, lambda pod: pod["status"].get("containerStatuses") or stage == "hook", "seen by its kubelet"
        )
    assert life.delete(name) < 4


# -------------------------------------------------------------------- the node's network


def test_host_network(life: Namespace) -> None:
    main: Obj = {
        "name": "main",
        "image": "registry.k8s.io/e2e-test-images/agnhost:2.53",
        "args": ["netexec", "--http-port=8099"],
    }
    main["readinessProbe"] = {"httpGet": {"path": "/hostname", "port": 8099}}
    life.run("host", main, hostNetwork=True, nodeName="worker1")
    status = life.ready("host")["status"]
    assert status["podIP"] == status["hostIP"] == "192.168.50.21"
    assert status["hostIPs"] == status["podIPs"]
    assert life.exec("host", "hostname").strip() == "worker1"
    done = life.lab.exec("outside", ["curl", "-s", "--max-time", "5", "http://192.168.50.21:8099/hostname"])
    assert done.stdout == "worker1"
