"""HAProxy on lb1: clients from outside reach pods through node ports, and a reload loses nobody."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from netfns import balancer, overlay, service
from netfns.balancer import Balancer
from netfns.balancer_types import Frontend, Server
from netfns.kernel import CommandError
from netfns.service_types import ServiceProxy
from tests.conformance.service import A1, B1, http
from tests.conformance.service import service as a_service
from tests.kernel.cluster import NODES, Machine, node_addresses, pod_addresses
from tests.kernel.test_overlay import desired as overlay_of

pytestmark = pytest.mark.kernel
ADDRESS = "192.168.50.200"


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met within 15 s"
        time.sleep(0.02)


def proxy(node: str) -> ServiceProxy:
    services = (a_service(http(A1, B1, node_port=30080)),)
    return ServiceProxy(node, node_addresses(node), ("10.244.0.0/16",), ("10.96.0.0/16",), services)


def wanted(folder: Path, address: str = ADDRESS, port: int = 80) -> Balancer:
    servers = tuple(Server(node, node_addresses(node)[0], 30080) for node in NODES)
    return Balancer(str(folder / "sock"), (Frontend("default/web:http", address, port, servers),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lb")


@pytest.fixture(scope="module")
def balanced(cluster: dict[str, Machine], folder: Path) -> dict[str, Machine]:
    for node in NODES:
        overlay.prepare(cluster[node], overlay_of(node))
        overlay.apply(cluster[node], overlay.render(overlay_of(node)))
        service.prepare(cluster[node])
        service.apply(cluster[node], service.render(proxy(node)))
    for pod in ("a1", "b1"):
        cluster[pod].listen(pod_addresses(pod)[0], 8080)
    load(cluster["lb1"], folder, wanted(folder))
    cluster["lb1"].start(["haproxy", "-W", "-db", "-p", str(folder / "pid"), "-f", str(folder / "cfg")])
    until(lambda: cluster["outside"].connect(ADDRESS, 80) != "refused")
    return cluster


def load(lb1: Machine, folder: Path, desired: Balancer) -> None:
    text = balancer.render(desired)
    balancer.check(lb1, text)
    balancer.add_addresses(lb1, desired)
    (folder / "cfg").write_text(text)


def test_replies_come_from_all_pods(balanced: dict[str, Machine]) -> None:
    answers = {balanced["outside"].connect(ADDRESS, 80).split()[0] for _ in range(40)}
    assert answers == {"a1", "b1"}


def test_a_reload_loses_no_connection(balanced: dict[str, Machine], folder: Path) -> None:
    second = wanted(folder, "192.168.50.201", 8080)
    both = Balancer(second.runtime_socket, (*wanted(folder).frontends, *second.frontends))
    load(balanced["lb1"], folder, both)
    balanced["lb1"].run(["sh", "-c", f"kill -USR2 $(cat {folder}/pid)"])
    answers: list[str] = []
    deadline = time.monotonic() + 15
    while balanced["outside"].connect("192.168.50.201", 8080) == "refused" or len(answers) < 40:
        assert time.monotonic() < deadline, "the new address is not served within 15 s"
        answers.append(balanced["outside"].connect(ADDRESS, 80).split()[0])
    assert set(answers) == {"a1", "b1"}


def test_addresses_come_and_go(balanced: dict[str, Machine], folder: Path) -> None:
    lb1 = balanced["lb1"]
    both = Balancer("", (*wanted(folder).frontends, *wanted(folder, "fd00:50::200").frontends))
    balancer.add_addresses(lb1, both)
    assert {f"{ADDRESS}/32", "fd00:50::200/128"} <= balancer.observe(lb1)
    balancer.remove_addresses(lb1, wanted(folder))
    assert balancer.observe(lb1) == {f"{ADDRESS}/32"}
    assert "192.168.50.11/24" in lb1.run(["ip", "address", "show", "dev", "eth0"])


def neighbour(machine: Machine, address: str) -> str:
    """The hardware address that a machine sends to for an address; "" when it knows none."""
    entries = json.loads(machine.run(["ip", "-j", "neighbour", "show", address]))
    return "".join(entry.get("lladdr", "") for entry in entries)


def hardware(machine: Machine) -> str:
    (link,) = json.loads(machine.run(["ip", "-j", "link", "show", "dev", "eth0"]))
    return str(link["address"])


@pytest.mark.parametrize("address", ["192.168.50.205", "fd00:50::205"])
def test_an_address_that_another_machine_had_is_found_at_once(
    cluster: dict[str, Machine], folder: Path, address: str
) -> None:
    lb1, before, sender = cluster["lb1"], cluster["worker1"], cluster["worker2"]
    own = f"{address}/{'128' if ':' in address else '32'} dev eth0"
    before.ip(f"address add {own}{' nodad' if ':' in address else ''}\n")
    try:
        sender.run(["ping", "-c", "1", "-W", "5", address])
        assert neighbour(sender, address) == hardware(before)
    finally:
        before.ip(f"address del {own}\n")
    both = Balancer("", (*wanted(folder).frontends, *wanted(folder, address).frontends))
    balancer.add_addresses(lb1, both)
    try:
        until(lambda: neighbour(sender, address) == hardware(lb1))
        sender.run(["ping", "-c", "1", "-W", "5", address])
    finally:
        balancer.remove_addresses(lb1, wanted(folder))


def test_a_node_whose_port_is_closed_is_passed_over(balanced: dict[str, Machine]) -> None:
    balanced["worker1"].run(["nft", "delete", "table", "ip", "service"])
    answers = {balanced["outside"].connect(ADDRESS, 80).split()[0] for _ in range(20)}
    assert answers == {"a1", "b1"}


def test_a_configuration_that_is_wrong_is_told_before_it_is_used(balanced: dict[str, Machine]) -> None:
    with pytest.raises(CommandError, match="haproxy -c"):
        balancer.check(balanced["lb1"], "frontend nonsense\n    bind nowhere\n")
