"""securityContext: who a container is, what it may do, and what it may write. As root's lab, which has all ids."""

import os
from collections.abc import Iterator

import pytest

from tests.e2e.kubectl import Kubectl
from tests.e2e.session import RunningLab

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's lab may have one id only"),
]
SPACE = "security"
MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: demo}
spec:
  securityContext: {runAsUser: 1000, runAsGroup: 3000, fsGroup: 2000, supplementalGroups: [4000]}
  terminationGracePeriodSeconds: 0
  volumes: [{name: data, emptyDir: {}}, {name: conf, configMap: {name: kube-root-ca.crt, defaultMode: 0400}}]
  containers:
    - name: shell
      image: busybox
      command: [sh, -c, "sleep 3600"]
      securityContext: {allowPrivilegeEscalation: false}
      volumeMounts: [{name: data, mountPath: /data/demo}, {name: conf, mountPath: /conf}]
    - name: web
      image: nginx
      ports: [{containerPort: 80}]
      readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: sealed}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: tmp, emptyDir: {}}]
  containers:
    - name: c
      image: busybox
      command: [sleep, "3600"]
      securityContext: {readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: tmp, mountPath: /tmp}]
---
apiVersion: v1
kind: Pod
metadata: {name: rights}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {name: plain, image: busybox, command: [sleep, "3600"]}
    - {name: waits, image: registry.k8s.io/pause}
    - {name: serves, image: nginx}
    - name: more
      image: busybox
      command: [sleep, "3600"]
      securityContext: {capabilities: {add: [NET_ADMIN, SYS_TIME]}}
    - name: fewer
      image: busybox
      command: [sleep, "3600"]
      securityContext: {capabilities: {drop: [NET_RAW, MKNOD, KILL, AUDIT_WRITE, SETFCAP], add: [KILL, MKNOD]}}
    - name: privileged
      image: busybox
      command: [sleep, "3600"]
      securityContext: {privileged: true}
"""


@pytest.fixture(scope="module")
def kubectl(lab: RunningLab) -> Iterator[Kubectl]:
    found = Kubectl.of(lab, SPACE)
    found.output("create", "namespace", SPACE)
    lab.apply(MANIFEST, SPACE)
    lab.ready_pods(3, SPACE)
    yield found
    found.output("delete", "namespace", SPACE, "--wait=false")


def sh(kubectl: Kubectl, pod: str, container: str, line: str) -> str:
    return kubectl.output("exec", pod, "-c", container, "--", "sh", "-c", line).decode().strip()


def test_a_container_is_whom_it_is_told_to_be(kubectl: Kubectl) -> None:
    assert sh(kubectl, "demo", "shell", "id -u; id -g").split() == ["1000", "3000"]
    assert set(sh(kubectl, "demo", "shell", "id -G").split()) == {"3000", "2000", "4000"}
    owners = sh(kubectl, "demo", "shell", "stat -c '%u %g' /proc/1")
    assert owners == "1000 3000", "its own program too"
    assert sh(kubectl, "demo", "web", "stat -c '%u' /proc/1") == "1000", (
        "and a stand-in, which listens on port 80"
    )


def test_its_volumes_are_its_groups(kubectl: Kubectl) -> None:
    made = sh(kubectl, "demo", "shell", "echo hello > /data/demo/file && stat -c '%u %g' /data/demo/file")
    assert made == "1000 2000"
    assert "BEGIN CERTIFICATE" in sh(kubectl, "demo", "shell", "head -1 /conf/ca.crt"), (
        "readable by the group"
    )


def test_what_it_may_not_do(kubectl: Kubectl) -> None:
    assert (
        kubectl.run("exec", "demo", "-c", "shell", "--", "sh", "-c", "echo x > /etc/passwd").returncode != 0
    )
    assert "NoNewPrivs:\t1" in sh(kubectl, "demo", "shell", "grep NoNewPrivs /proc/1/status")
    assert "CapEff:\t0000000000000000" in sh(kubectl, "sealed", "c", "grep CapEff /proc/1/status")
    assert "CapEff:\t0000000000000000" in sh(kubectl, "sealed", "c", "grep CapEff /proc/self/status")


CAPS = "grep -E 'Cap(Prm|Eff)' /proc/{}/status | sort -u -k2 | cut -f2"


@pytest.mark.parametrize("process", ["1", "self"])
def test_it_has_what_a_container_runtime_gives(kubectl: Kubectl, process: str) -> None:
    """The figures are those of the task "Set capabilities for a Container" in Kubernetes' documentation."""
    expected = {
        "plain": "a80425fb",
        "waits": "a80425fb",
        "serves": "a80425fb",
        "more": "aa0435fb",
        "fewer": "80405fb",
    }
    for container, wanted in expected.items():
        found = sh(kubectl, "rights", container, CAPS.format(process)).split()
        assert [one.lstrip("0") for one in found] == [wanted], container
    (everything,) = sh(kubectl, "rights", "privileged", CAPS.format(process)).split()
    assert int(everything, 16) > 0xFFFFFFFF


def test_a_container_cannot_change_its_network_unless_it_may(kubectl: Kubectl) -> None:
    down = ["--", "ip", "link", "set", "lo", "down"]
    assert b"not permitted" in kubectl.run("exec", "rights", "-c", "plain", *down).stderr
    assert kubectl.run("exec", "rights", "-c", "privileged", *down).returncode == 0


def test_a_read_only_root_has_writable_volumes(kubectl: Kubectl) -> None:
    for path in ("/file", "/etc/file", "/usr/file"):
        assert kubectl.run("exec", "sealed", "-c", "c", "--", "touch", path).returncode != 0, path
    assert sh(kubectl, "sealed", "c", "touch /tmp/file; ls /tmp") == "file"


def test_a_lab_that_does_not_have_the_id_says_so(ordinary_lab: RunningLab) -> None:
    """An ordinary user without a range in /etc/subuid has a lab with one id."""
    first, _, count = ordinary_lab.output("router", "cat", "/proc/self/uid_map").split()[:3]
    has_it = int(first) <= 1000 < int(first) + int(count)
    space = "ids"
    ordinary_lab.apply(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {space}}}\n")
    ordinary_lab.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\nspec:\n  terminationGracePeriodSeconds: 0\n"
        "  containers:\n  - {name: c, image: nginx, securityContext: {runAsUser: 1000}}\n",
        space,
    )
    ordinary_lab.ready_pods(1, space)
    told = [
        event["message"]
        for event in ordinary_lab.get("events", "-n", space)
        if event["reason"] == "SecurityContext"
    ]
    user = Kubectl.of(ordinary_lab, space).output("exec", "one", "--", "id", "-u").strip()
    assert user == (b"1000" if has_it else b"0")
    assert has_it != any("has no user or group id 1000" in text for text in told)
    ordinary_lab.delete(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {space}}}\n")
