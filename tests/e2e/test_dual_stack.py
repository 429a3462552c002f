"""A cluster of two address families, as the Kubernetes documentation has it validated.

Sources: "IPv4/IPv6 dual-stack"; "Validate IPv4/IPv6 dual-stack".
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import new_name, readable_copy
from tests.e2e.session import RunningLab, User
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e
Obj = dict[str, Any]
NAMESPACE = "dual-stack"
MANIFEST = Path(__file__).parent / "manifests" / "dual-stack.yaml"
SOON = 10.0  # seconds
SERVICES = {
    "single": ["IPv4"],
    "preferred": ["IPv4", "IPv6"],
    "ipv6-first": ["IPv6", "IPv4"],
    "ipv6": ["IPv6"],
    "balanced": ["IPv4", "IPv6"],
}


@pytest.fixture(scope="module")
def pods(lab: RunningLab) -> Iterator[list[Obj]]:
    """The application's pods; its manifest was applied by real kubectl."""
    lab.kubectl("create", "namespace", NAMESPACE)
    lab.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=MANIFEST.read_text())
    found = lab.ready_pods(4, NAMESPACE)
    lab.settle(NAMESPACE)
    yield found
    lab.kubectl("delete", "namespace", NAMESPACE)


def family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def url(address: str, port: int, path: str) -> str:
    return f"http://[{address}]:{port}{path}" if ":" in address else f"http://{address}:{port}{path}"


def machine(pod: Obj) -> str:
    return f"pod/{pod['metadata']['name']}.{NAMESPACE}"


def spec_of(lab: RunningLab, service: str) -> Obj:
    found: Obj = lab.get("services", service, "-n", NAMESPACE)[0]["spec"]
    return found


def pod_ips(pod: Obj) -> list[str]:
    return [row["ip"] for row in pod["status"]["podIPs"]]


def test_nodes_have_ranges_and_addresses_of_both_families(lab: RunningLab) -> None:
    for node in lab.get("nodes"):
        internal = [row["address"] for row in node["status"]["addresses"] if row["type"] == "InternalIP"]
        assert [family(address) for address in internal] == ["IPv4", "IPv6"]
        assert [family(cidr) for cidr in node["spec"]["podCIDRs"]] == ["IPv4", "IPv6"]
        assert node["spec"]["podCIDR"] == node["spec"]["podCIDRs"][0]


def test_a_pod_knows_both_of_its_addresses_and_its_nodes(lab: RunningLab, pods: list[Obj]) -> None:
    addresses = pod_ips(pods[0])
    assert [family(address) for address in addresses] == ["IPv4", "IPv6"]
    assert pods[0]["status"]["podIP"] == addresses[0]
    environment = lab.output(machine(pods[0]), "env").splitlines()
    assert f"MY_POD_IPS={','.join(addresses)}" in environment
    host_ips = [row["ip"] for row in pods[0]["status"]["hostIPs"]]
    assert f"MY_HOST_IPS={','.join(host_ips)}" in environment
    assert [family(address) for address in host_ips] == ["IPv4", "IPv6"]
    hosts = lab.output(machine(pods[0]), "cat", "/etc/hosts")
    assert all(f"{address}\t{pods[0]['metadata']['name']}" in hosts for address in addresses)


def test_pods_reach_each_other_over_ipv6_on_a_node_and_across_nodes(lab: RunningLab, pods: list[Obj]) -> None:
    first = pods[0]
    source = pod_ips(first)[1]
    for other in pods[1:]:
        seen = lab.fetch(machine(first), url(pod_ips(other)[1], 8080, "/clientip"))
        assert seen.rpartition(":")[0].strip("[]") == source, other["spec"]["nodeName"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"worker1", "worker2"}


def test_no_port_of_a_pod_reports_groups_to_the_other_ports(lab: RunningLab, pods: list[Obj]) -> None:
    links = json.loads(lab.output("node/worker1", "ip", "-json", "-6", "maddress", "show"))
    ports = [link for link in links if link["ifname"].startswith("veth")]
    assert ports
    for port in ports:
        assert {group["address"] for group in port["maddr"]} == {"ff01::1", "ff02::1"}


def test_a_pod_leaves_with_its_nodes_ipv6_address(lab: RunningLab, pods: list[Obj]) -> None:
    seen = lab.fetch(machine(pods[0]), url("2001:db8:113::10", 80, "/clientip"))
    assert seen.rpartition(":")[0].strip("[]") == pods[0]["status"]["hostIPs"][1]["ip"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_families_that_it_asks_for_and_each_answers(
    lab: RunningLab, pods: list[Obj], service: str
) -> None:
    spec, families = spec_of(lab, service), SERVICES[service]
    assert spec["ipFamilies"] == families
    assert [family(address) for address in spec["clusterIPs"]] == families
    names = {pod["metadata"]["name"] for pod in pods}
    for address in spec["clusterIPs"]:
        assert lab.fetch(machine(pods[0]), url(address, 80, "/hostname")) in names
    slices = lab.get("endpointslices", "-n", NAMESPACE, "-l", f"kubernetes.io/service-name={service}")
    assert sorted(entry["addressType"] for entry in slices) == sorted(families)
    for entry in slices:
        wanted = {ip for pod in pods for ip in pod_ips(pod) if family(ip) == entry["addressType"]}
        assert {endpoint["addresses"][0] for endpoint in entry["endpoints"]} == wanted


def test_the_clusters_own_service_stays_single_stack(lab: RunningLab) -> None:
    spec = lab.get("services", "kubernetes")[0]["spec"]
    assert (spec["clusterIPs"], spec["ipFamilyPolicy"]) == (["10.96.0.1"], "SingleStack")


def test_names_have_a_and_aaaa_records(lab: RunningLab, pods: list[Obj]) -> None:
    for service in ("preferred", "ipv6", "headless"):
        addresses = spec_of(lab, service)["clusterIPs"]
        if addresses == ["None"]:
            addresses = [address for pod in pods for address in pod_ips(pod)]
        for database, kind in (("ahostsv4", "IPv4"), ("ahostsv6", "IPv6")):
            wanted = {address for address in addresses if family(address) == kind}

            def found(name: str = service, database: str = database, wanted: set[str] = wanted) -> bool:
                done = lab.exec(machine(pods[0]), "getent", database, f"{name}.{NAMESPACE}")
                # getent maps IPv4 addresses into IPv6 where a name has no other
                return {
                    line.split()[0] for line in done.stdout.splitlines() if not line.startswith("::ffff:")
                } == wanted

            wait_until(found, SOON, f"{service}: {kind} addresses {wanted}")


def test_from_outside_both_addresses_of_a_balancer_and_both_of_a_node_answer(
    lab: RunningLab, pods: list[Obj]
) -> None:
    names = {pod["metadata"]["name"] for pod in pods}

    def ingress() -> list[str]:
        status = lab.get("services", "balanced", "-n", NAMESPACE)[0]["status"]
        return [row["ip"] for row in status["loadBalancer"].get("ingress") or ()]

    addresses = wait_until(ingress, SOON, "an address")
    assert [family(address) for address in addresses] == ["IPv4", "IPv6"]
    for address in addresses:
        page = wait_until(
            partial(lab.fetch, "outside", url(address, 80, "/hostname")), SOON, "a server is up"
        )
        assert page in names
    assert ",".join(addresses) in lab.kubectl("get", "service", "balanced", "-n", NAMESPACE)
    node_port = spec_of(lab, "balanced")["ports"][0]["nodePort"]
    for address in ("192.168.50.21", "fd00:50::21", "fd00:50::22", "fd00:50::10"):
        assert lab.fetch("outside", url(address, node_port, "/hostname")) in names, address


def test_a_service_becomes_dual_stack_and_single_stack_again(lab: RunningLab, pods: list[Obj]) -> None:
    def patch(policy: str) -> Obj:
        change = json.dumps({"spec": {"ipFamilyPolicy": policy}})
        lab.kubectl("patch", "service", "single", "-n", NAMESPACE, "-p", change)
        return spec_of(lab, "single")

    def answers(address: str) -> bool:
        return bool(lab.fetch(machine(pods[0]), url(address, 80, "/hostname")))

    (first,) = spec_of(lab, "single")["clusterIPs"]
    kept, second = patch("RequireDualStack")["clusterIPs"]
    assert kept == first
    wait_until(lambda: answers(second), SOON, "an answer over IPv6")
    assert patch("SingleStack")["clusterIPs"] == [first]
    wait_until(lambda: not answers(second), SOON, "no answer over IPv6")
    assert answers(first)


@pytest.mark.slow
@pytest.mark.parametrize("families", [["IPv4"], ["IPv6", "IPv4"]], ids=" ".join)
def test_other_orders_and_a_single_family_hold_all_claims(
    me: User, fresh_lab: Callable[..., RunningLab], tmp_path: Path, families: list[str]
) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(f"workers: 1\nipFamilies: [{', '.join(families)}]\n")
    lab = fresh_lab(me, "-f", str(file))
    done = lab.minipod("check", "-o", "json", timeout=120)
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert done.returncode == 0, done.stderr
    has_ipv6 = "IPv6" in families
    assert {rows[name]["verdict"] for name in rows if name.endswith("-ipv6")} == {
        "holds" if has_ipv6 else "n/a"
    }
    refused = lab.minipod("kubectl", "apply", "-f", "-", stdin=REQUIRED)
    assert (refused.returncode == 0) == has_ipv6
    assert has_ipv6 or "this cluster is not configured for dual-stack services" in refused.stderr


@pytest.mark.slow
def test_a_kernel_without_ipv6_gives_a_lab_of_ipv4(me: User, scratch: Path) -> None:
    """The copy of Minipod that is started here finds that IPv6 fails."""
    checkout = readable_copy(scratch / "without-ipv6")
    with (checkout / "topo" / "preflight.py").open("a") as preflight:
        preflight.write('\nIPV6 = Feature("IPv6", "nothing has an IPv6 address", ("false",), "")\n')
    name = new_name()
    done = replace(me, checkout=checkout).minipod("up", "--name", name, "--workers", "1")
    lab = RunningLab(me, name)
    try:
        assert done.returncode == 0, done.stderr
        assert (
            "warning: kernel: IPv6: refused, so nothing has an IPv6 address: this lab has IPv4 only"
            in done.stderr
        )
        assert [node["spec"]["podCIDRs"] for node in lab.get("nodes")] == [
            ["10.244.0.0/24"],
            ["10.244.1.0/24"],
        ]
        assert "fd00" not in lab.output("outside", "cat", "/etc/hosts")
    finally:
        lab.down()


REQUIRED = """
apiVersion: v1
kind: Service
metadata: {name: required}
spec:
  ipFamilyPolicy: RequireDualStack
  ports: [{port: 80}]
"""
