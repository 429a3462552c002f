"""The DNS server in a pod, its upstream outside: over UDP and TCP, by real sockets."""

import sys
from pathlib import Path

import pytest

from netfns import dns, masquerade, overlay
from netfns.masquerade import Masquerade
from tests.golden.cases import NAMES
from tests.kernel.cluster import NODES, OUTSIDE, REPOSITORY, Machine, node_addresses, pod_addresses
from tests.kernel.test_balancer import until
from tests.kernel.test_overlay import desired as overlay_of

pytestmark = pytest.mark.kernel
SERVER = pod_addresses("b1")[0]
# Asks one question and prints the code and the answer's data, one a line.
ASK = """
import sys, dns.message, dns.query, dns.rcode
server, name, kind, way = sys.argv[1:]
query = dns.message.make_query(name, kind)
answer = getattr(dns.query, way)(query, server, timeout=5)
print(dns.rcode.to_text(answer.rcode()), *sorted(data.to_text() for rrset in answer.answer for data in rrset))
"""


def ask(machine: Machine, name: str, kind: str = "A", way: str = "udp") -> str:
    return machine.run([sys.executable, "-c", ASK, SERVER, name, kind, way]).strip()


@pytest.fixture(scope="module")
def named(cluster: dict[str, Machine], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Machine]:
    for node in NODES:
        overlay.prepare(cluster[node], overlay_of(node))
        overlay.apply(cluster[node], overlay.render(overlay_of(node)))
        inside = Masquerade(("10.244.0.0/16",), tuple(node_addresses(node)[0] for node in NODES))
        masquerade.apply(cluster[node], masquerade.render(inside))
    inside_folder = tmp_path_factory.mktemp("inside")
    outside_folder = tmp_path_factory.mktemp("outside")
    (inside_folder / "cluster.zone").write_text(dns.render(NAMES))
    zone = dns.render_hosts(".", {"www.outside.example.": OUTSIDE})
    (outside_folder / "outside.zone").write_text(zone)
    start(cluster["outside"], outside_folder, "--no-forward", "--report-ports")
    resolv = inside_folder / "resolv.conf"
    resolv.write_text(f"nameserver {OUTSIDE[0]}\n")
    start(cluster["b1"], inside_folder, "--resolv", str(resolv))
    until(lambda: cluster["a1"].connect(SERVER, 8181, wait=0.2) != "refused")
    return cluster


def start(machine: Machine, folder: Path, *options: str) -> None:
    machine.start([sys.executable, "-m", "netfns.dns_server", "-conf", str(folder / "Corefile"), *options])


@pytest.mark.parametrize("way", ["udp", "tcp"])
def test_a_service_has_its_address(named: dict[str, Machine], way: str) -> None:
    assert ask(named["a1"], "web.default.svc.cluster.local", way=way) == "NOERROR 10.96.0.20"


@pytest.mark.parametrize("way", ["udp", "tcp"])
def test_names_of_others_are_forwarded(named: dict[str, Machine], way: str) -> None:
    assert ask(named["a1"], "www.outside.example", way=way) == f"NOERROR {OUTSIDE[0]}"


def test_an_external_name_brings_the_address_of_its_target(named: dict[str, Machine]) -> None:
    assert ask(named["a1"], "old.default.svc.cluster.local") == f"NOERROR {OUTSIDE[0]} www.outside.example."


def test_a_negative_answer_of_upstream_is_relayed(named: dict[str, Machine]) -> None:
    assert ask(named["a1"], "nope.outside.example") == "NXDOMAIN"
    assert ask(named["a1"], "www.elsewhere.example") == "NXDOMAIN"


def test_health_and_readiness(named: dict[str, Machine]) -> None:
    fetch = (
        "import urllib.request, sys; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
    )
    for place in ("8080/health", "8181/ready"):
        assert named["a1"].run([sys.executable, "-c", fetch, f"http://{SERVER}:{place}"]) == "OK\n"


# Starts a server of its own, tells it to end, and asks it once more.
LAST_QUESTION = """
import subprocess, sys, time, dns.message, dns.query, dns.exception
server = subprocess.Popen([sys.executable, "-m", "netfns.dns_server", *sys.argv[1:]])
query = dns.message.make_query("web.default.svc.cluster.local", "A")
def ask(): return dns.query.udp(query, "127.0.0.1", port=5300, timeout=5, ignore_unexpected=True)
def up():
    try: return dns.query.tcp(query, "127.0.0.1", port=5300, timeout=1)
    except OSError: return None
deadline = time.monotonic() + 15
while not up() and time.monotonic() < deadline: time.sleep(0.02)
server.terminate()
print(ask().answer[0][0], server.wait(timeout=10))
"""


def test_a_server_that_is_told_to_end_answers_what_is_on_its_way(kernel: Machine, tmp_path: Path) -> None:
    (tmp_path / "cluster.zone").write_text(dns.render(NAMES))
    options = ["-conf", str(tmp_path / "Corefile"), "-dns.port", "5300"]
    said = kernel.run(["env", f"PYTHONPATH={REPOSITORY}", sys.executable, "-c", LAST_QUESTION, *options])
    assert said == "10.96.0.20 0\n"


def test_upstream_away_is_a_server_failure(named: dict[str, Machine]) -> None:
    named["outside"].ip("link set eth0 down\n")
    assert ask(named["a1"], "away.outside.example") == "SERVFAIL"
    assert ask(named["a1"], "web.default.svc.cluster.local") == "NOERROR 10.96.0.20"
