"""A lab whose Services are iptables rules."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import new_name
from tests.e2e.dns_restart import nobody_waits_while_dns_restarts
from tests.e2e.session import RunningLab, User
from tests.e2e.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SOON = 10.0  # seconds
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: hostnames}
spec:
  replicas: 2
  selector: {matchLabels: {app: hostnames}}
  template:
    metadata: {labels: {app: hostnames}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: hostnames, image: registry.k8s.io/serve_hostname}]
---
apiVersion: v1
kind: Service
metadata: {name: hostnames}
spec:
  selector: {app: hostnames}
  ports: [{port: 80, targetPort: 9376}]
"""


@pytest.fixture(scope="module")
def lab(me: User) -> Iterator[RunningLab]:
    running = me.up(new_name(), "--proxy-mode", "iptables", "--workers", "1")
    yield running
    running.down()


def test_all_claims_hold(lab: RunningLab) -> None:
    done = lab.minipod("check", "-o", "json", timeout=120)
    assert done.returncode == 0, done.stderr
    assert {row["verdict"] for row in json.loads(done.stdout)["rows"]} == {"holds"}


def test_a_dump_reads_as_in_debug_services(lab: RunningLab) -> None:
    """One rule in KUBE-SERVICES, one for each endpoint in KUBE-SVC, one KUBE-SEP for each endpoint."""
    lab.apply(MANIFEST)
    lab.ready_pods(2, selector="app=hostnames")
    spec = lab.get("services", "hostnames")[0]["spec"]

    def rules() -> list[str]:
        dump = lab.output("node/worker1", "iptables-save", "-t", "nat").splitlines()
        return [line for line in dump if "default/hostnames" in line]

    def count(rules: list[str], chain: str, text: str) -> int:
        return sum(line.startswith(f"-A {chain}") and text in line for line in rules)

    wait_until(lambda: count(rules(), "KUBE-SEP-", "DNAT") == 2, SOON, "two endpoints")
    assert count(rules(), "KUBE-SERVICES", f"-d {spec['clusterIP']}/32") == 1
    assert count(rules(), "KUBE-SVC-", "default/hostnames -> ") == 2
    assert count(rules(), "KUBE-SVC-", "--probability 0.5") == 1
    assert "KUBE-SVC-NPX46M4PTMTKRN6Y" in lab.output("node/worker1", "iptables-save", "-t", "nat")


def test_a_change_is_carried_out_and_others_rules_are_left_alone(lab: RunningLab) -> None:
    lab.apply(MANIFEST)
    lab.ready_pods(2, selector="app=hostnames")
    address = lab.get("services", "hostnames")[0]["spec"]["clusterIP"]
    theirs = ["FORWARD", "-s", "192.0.2.9/32", "-j", "DROP"]
    lab.output("node/worker1", "iptables", "-A", *theirs)
    wait_until(lambda: lab.fetch("node/worker1", f"http://{address}/"), SOON, "an answer")
    lab.kubectl("scale", "deployment", "hostnames", "--replicas=0")

    def refused() -> bool:
        done = lab.exec("node/worker1", "curl", "-sS", "--max-time", "2", f"http://{address}/")
        return "refused" in done.stderr.lower() or "couldn't connect" in done.stderr.lower()

    wait_until(refused, SOON, "refused")
    wait_until(
        lambda: "hostnames" not in lab.output("node/worker1", "iptables-save", "-t", "nat"), SOON, "no rule"
    )
    assert f"-A {' '.join(theirs)}" in lab.output("node/worker1", "iptables-save")
    lab.delete(MANIFEST)


@pytest.mark.alone
def test_no_lookup_waits_while_dns_is_restarted(lab: RunningLab) -> None:
    nobody_waits_while_dns_restarts(lab, "default")


def test_rules_that_somebody_flushed_come_back(lab: RunningLab) -> None:
    lab.output("node/worker1", "iptables", "-t", "nat", "-F")
    dump: Callable[[], str] = lambda: lab.output("node/worker1", "iptables-save", "-t", "nat")  # noqa: E731
    wait_until(lambda: "-A KUBE-SERVICES" in dump() and "-A PREROUTING" in dump(), 60.0, "the rules")
