"""kill -9 of a lab's first process under load: every write that was acknowledged is there after `up --resume`.

    writers ──kubectl's API──> lab ── killed at a random moment
    up --resume: the same objects, the same pods under new addresses, packets flow

The moments are drawn from a seed that a failure tells; MINIPOD_TEST_SEED=N draws the same ones again.
"""

import http.client
import os
import random
import resource
import shutil
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from controlplane.client import Client
from controlplane.errors import StatusError
from labs.sockets import short_path
from tests.e2e.conftest import new_name
from tests.e2e.kubectl import Kubectl
from tests.e2e.session import RunningLab, User
from tests.e2e.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SEED = int(os.environ.get("MINIPOD_TEST_SEED") or random.randrange(1 << 30))
KILLS, WRITERS = 3, 4
WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  replicas: 3
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      containers:
        - name: echo
          image: registry.k8s.io/e2e-test-images/agnhost:2.53
          args: [netexec, --http-port=8080, --udp-port=-1]
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers: [{name: c, image: busybox, command: [sleep, infinity]}]
---
apiVersion: v1
kind: Pod
metadata: {name: once}
spec:
  restartPolicy: Never
  containers: [{name: c, image: busybox, command: [sleep, infinity]}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


@pytest.fixture
def lab(me: User) -> Iterator[RunningLab]:
    running = me.up(new_name())
    yield running
    running.minipod("down")


def kill(lab: RunningLab) -> None:
    """kill -9 of the lab's first process, and the end of it."""
    pid = lab.info()["pid"]
    os.kill(pid, signal.SIGKILL)
    lab.minipod("down")


def resume(lab: RunningLab) -> str:
    """Go on with the lab; what `up` told on the way."""
    done = lab.minipod("up", "--resume", timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stderr


class Writer(threading.Thread):
    """Makes objects, changes them and deletes them, as fast as it is answered; notes what was acknowledged.

    before: what an object may be as well, when the lab ended before the answer to its last write came.
    """

    def __init__(self, lab: RunningLab, prefix: str) -> None:
        super().__init__(daemon=True)
        self.acknowledged: dict[str, str] = {}  # object -> its value; "" for none
        self.unanswered: dict[str, str] = {}
        self._lab = lab
        self._prefix = prefix

    def run(self) -> None:
        with (
            short_path(self._lab.user.home / self._lab.name / "api.sock") as path,
            Client.unix(path) as client,
        ):
            try:
                for number in range(1_000_000):
                    self._write(client, f"{self._prefix}-{number % 30}", number)
            except (OSError, http.client.HTTPException, StatusError):
                return  # the lab was killed

    def _write(self, client: Client, name: str, number: int) -> None:
        collection = "/api/v1/namespaces/default/configmaps"
        value = "" if number % 7 == 6 and self.acknowledged.get(name) else str(number)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}
        self.unanswered = {name: value}
        if not value:
            client.request("DELETE", f"{collection}/{name}")
        elif self.acknowledged.get(name):
            client.request("PUT", f"{collection}/{name}", body)
        else:
            client.request("POST", collection, body)
        self.acknowledged[name] = value


def values(lab: RunningLab) -> dict[str, str]:
    return {
        obj["metadata"]["name"]: obj["data"]["value"]
        for obj in lab.get("configmaps")
        if "value" in obj["data"]
    }


def test_nothing_acknowledged_is_lost(lab: RunningLab) -> None:
    moments = random.Random(SEED)
    expected: dict[str, str] = {}
    for turn in range(KILLS):
        writers = [Writer(lab, f"w{turn}-{number}") for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        wait_until(lambda: all(len(w.acknowledged) > 3 for w in writers), 20.0, "every writer is answered")  # noqa: B023
        time.sleep(moments.uniform(0, 0.5))  # the random moment that is tried, not a wait for anything
        kill(lab)
        for writer in writers:
            writer.join(20.0)
            expected |= writer.acknowledged
        resume(lab)
        found = values(lab)
        unanswered = {name: value for writer in writers for name, value in writer.unanswered.items()}
        for name, value in expected.items():
            assert found.get(name, "") in {value, unanswered.get(name, value)}, (
                f"{name}, turn {turn}, seed {SEED}"
            )
        assert set(found) <= set(expected) | set(unanswered)
        expected = {**dict.fromkeys(expected, ""), **found}


def test_the_lab_goes_on_as_it_was(lab: RunningLab) -> None:
    lab.apply(WORKLOAD)
    before = lab.ready_pods(5)
    kubectl = Kubectl.of(lab, "default")
    thing = b"apiVersion: stable.example.com/v1\nkind: CronTab\nmetadata: {name: mine}\nspec: {replicas: 3}\n"
    kubectl.output("apply", "-f", "-", stdin=thing)
    (service,) = lab.get("service", "echo")
    kill(lab)
    told = resume(lab)
    assert "objects are gone on with" in told

    def again() -> bool:
        pods = {pod["metadata"]["name"]: pod for pod in lab.pods()}
        once = pods.pop("once", {"status": {}})
        ready = [
            c for pod in pods.values() for c in pod["status"].get("conditions") or () if c["type"] == "Ready"
        ]
        return once["status"].get("phase") == "Failed" and [c["status"] for c in ready] == ["True"] * 4

    wait_until(again, 30.0, "the pods run again, but the one that is never run again", every=0.2)
    names = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in before}
    assert {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in lab.pods()} == names, (
        "they are the same pods"
    )
    address = lab.get("service", "echo")[0]["spec"]["clusterIP"]
    assert address == service["spec"]["clusterIP"]
    wait_until(
        lambda: lab.fetch("pod/client", f"http://{address}/hostname"), 20.0, "the service answers", every=0.2
    )
    assert b'"replicas": 3' in kubectl.output("get", "crontabs.stable.example.com", "mine", "-o", "json")
    kubectl.output("create", "service", "clusterip", "later", "--tcp=80")
    addresses = [obj["spec"]["clusterIP"] for obj in lab.get("services", "-A")]
    assert len(set(addresses)) == len(addresses), "no address is given twice"


def test_a_torn_end_is_told(lab: RunningLab) -> None:
    lab.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\ndata: {value: x}\n")
    kill(lab)
    journal = lab.user.home / lab.name / "journal"
    with journal.open("ab") as file:
        file.write(b'1234abcd {"revision": 99999, "kind": "ConfigMap", "obj')
    assert "is torn: its 54 bytes are dropped" in resume(lab)
    assert values(lab) == {"kept": "x"}


def test_a_new_lab_puts_the_old_objects_aside(lab: RunningLab) -> None:
    lab.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\ndata: {value: x}\n")
    kill(lab)
    done = lab.minipod("up", timeout=120)
    assert "put aside in journal.old" in done.stderr
    assert values(lab) == {}
    kill(lab)
    folder = lab.user.home / lab.name
    shutil.copy(folder / "journal.old", folder / "journal")
    resume(lab)
    assert values(lab) == {"kept": "x"}


def test_a_full_disk_refuses_writes_and_the_lab_lives_on(lab: RunningLab) -> None:
    journal, pid = lab.user.home / lab.name / "journal", lab.info()["pid"]
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (journal.stat().st_size + 50_000, hard))
    kubectl = Kubectl.of(lab, "default")
    refused = None
    for number in range(60):
        answer = kubectl.run("create", "configmap", f"c{number}", f"--from-literal=value={'x' * 4000}")
        if answer.returncode != 0:
            refused = f"c{number}"
            assert b"journal: File too large: nothing was changed: make room in" in answer.stderr
            break
    assert refused is not None
    found = values(lab)
    assert refused not in found
    assert found, "reading goes on"
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    kubectl.output("create", "configmap", "later", "--from-literal=value=y")
    kill(lab)
    assert "torn" not in resume(lab)
    assert values(lab) == {**found, "later": "y"}


def test_nothing_to_resume(me: User) -> None:
    done = me.minipod("up", "--resume", "--name", new_name())
    assert done.returncode == 2
    assert "there are no objects of a lab: start one without --resume" in done.stderr
    assert done.stderr.count("\n") == 1
