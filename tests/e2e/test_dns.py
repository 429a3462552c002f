"""Names as pods ask for them: by glibc and by dig, through the search path; and while a DNS pod goes."""

from collections.abc import Iterator

import pytest

from tests.e2e.dns_restart import nobody_waits_while_dns_restarts
from tests.e2e.session import RunningLab
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
NAMESPACE = "named"
SVC = f"{NAMESPACE}.svc.cluster.local"
CLIENT = f"pod/client.{NAMESPACE}"
MANIFEST = """\
apiVersion: v1
kind: Namespace
metadata: {name: named}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: named}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: sql, port: 5432}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: named}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: registry.k8s.io/pause}]
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: named}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: busybox, command: [sleep, infinity]}]
"""


@pytest.fixture(scope="module")
def named(lab: RunningLab) -> Iterator[RunningLab]:
    lab.apply(MANIFEST)
    lab.ready_pods(3, NAMESPACE)
    wait_until(lambda: dig(lab, f"db-1.db.{SVC}"), 10.0, "the names of the members", every=0.1)
    yield lab
    lab.delete(MANIFEST)


def dig(lab: RunningLab, *words: str) -> list[str]:
    return sorted(lab.output(CLIENT, "dig", "+short", *words).split("\n")[:-1])


def addresses(lab: RunningLab) -> dict[str, str]:
    return {p["metadata"]["name"]: p["status"]["podIP"] for p in lab.pods(NAMESPACE, "app=db")}


def test_members_by_glibc_through_the_search_path(named: RunningLab) -> None:
    for name, address in addresses(named).items():
        shown = named.output(CLIENT, "getent", "ahostsv4", f"{name}.db").split()
        assert (shown[0], shown[2]) == (address, f"{name}.db.{SVC}")
    assert named.exec(CLIENT, "getent", "hosts", "nope").returncode == 2


def test_members_by_dig(named: RunningLab) -> None:
    members = addresses(named)
    assert dig(named, "+search", "db") == sorted(members.values())
    assert dig(named, "+tcp", f"db.{SVC}") == sorted(members.values())
    ports = [f"0 100 5432 {name}.db.{SVC}." for name in sorted(members)]
    assert dig(named, "SRV", f"_sql._tcp.db.{SVC}") == ports
    assert dig(named, "-x", members["db-0"]) == [f"db-0.db.{SVC}."]
    assert dig(named, "www.outside.example") == ["203.0.113.10"]


@pytest.mark.alone
def test_no_lookup_waits_while_dns_is_restarted(named: RunningLab) -> None:
    nobody_waits_while_dns_restarts(named, NAMESPACE)
