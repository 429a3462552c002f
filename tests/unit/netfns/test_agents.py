"""The agents against the real API, with a machine that writes down what it is told."""

import asyncio
import functools
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from agents.agent import Agent
from agents.daemon import Spawner
from agents.desired import PYTHON_CLASS
from agents.dns import DnsAgent
from agents.haproxy import HAProxy
from agents.kube_proxy import KubeProxy
from agents.load_balancer import LoadBalancerAgent, Pool
from agents.masquerade import MasqueradeAgent
from agents.overlay import OverlayAgent
from agents.python_balancer import PythonBalancer
from controlplane.api import API
from netfns.balancer_types import Frontend, Server
from netfns.kernel import CommandError
from netfns.proxy_mode import ProxyMode, proxy_mode

Obj = dict[str, Any]
NFTABLES = proxy_mode("nftables")
RANGES = ["10.244.0.0/16"], ["10.96.0.0/16"]
# Stands in for HAProxy: tells its version on the runtime socket, and writes down each reload but the first, which it
# loses, as the real one does now and then.
HAPROXY = """
import re, signal, socket, sys, time
folder, told = sys.argv[1], 0
def version():
    return re.search(r"description (version \\d+)", open(folder + "/haproxy.cfg").read())[1]
def reload(*_):
    global serving, told
    told += 1
    if told > 1:
        serving = version()
        open(folder + "/reloads", "a").write("reload\\n")
serving = version()
signal.signal(signal.SIGUSR2, reload)
listener = socket.socket(socket.AF_UNIX)
import os
if os.path.exists(folder + "/haproxy.sock"): os.unlink(folder + "/haproxy.sock")
listener.bind(folder + "/haproxy.sock")
listener.listen()
while True:
    with listener.accept()[0] as client:
        client.recv(100)
        client.send(f"Name: HAProxy\\ndescription: {serving}\\n".encode())
"""


class FakeMachine:
    """A kernel that holds nothing: commands that read say so, texts are kept. `broken` makes it refuse."""

    name = "worker1"

    def __init__(self, folder: Path | None = None) -> None:
        self.texts: list[str] = []
        self.broken = False
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def run(self, argv: Sequence[str], stdin: str = "") -> str:
        if argv[:2] == ["ip", "-d"]:
            raise CommandError(argv, 1, "Device does not exist.")
        device = {"address": "00:00:00:00:00:02", "addr_info": []}
        return json.dumps([device]) if "address" in argv else ""

    def take(self, text: str) -> None:
        if self.broken:
            raise CommandError(["nft"], 1, "refused")
        self.texts.append(text)

    ip = bridge = nft = take

    def sysctl(self, key: str, value: str) -> None:
        self.texts.append(f"sysctl {key}={value}")

    def spawn(self, argv: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([sys.executable, "-c", HAPROXY, str(self.folder)], **options)
        self.processes.append(process)
        return process

    def said(self, words: str) -> bool:
        return any(words in text for text in self.texts)


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met within 10 s"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def running(agent: Agent) -> AsyncIterator[None]:
    task = asyncio.create_task(agent.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def new_api() -> API:
    api = API()
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    return api


def add_node(api: API, name: str, number: int) -> None:
    spec = {"podCIDR": f"10.244.{number}.0/24", "podCIDRs": [f"10.244.{number}.0/24"]}
    api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec})
    addresses = [{"type": "InternalIP", "address": f"192.168.50.2{number}"}]
    api.update_status("Node", name, "", {"addresses": addresses})


def add_service(api: API, name: str = "web", **spec: Any) -> None:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    spec = {"clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20"], "ports": ports, **spec}
    api.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "default"},
            "spec": spec,
        }
    )


def slice_of(name: str, *addresses: str) -> Obj:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }


def events(api: API) -> list[str]:
    return [obj.get("note") or obj.get("message", "") for obj in api.list("Event")[0]]


def play(story: Callable[[API], Awaitable[None]]) -> None:
    async def told() -> None:
        await story(new_api())

    asyncio.run(told())


def test_overlay_follows_the_nodes() -> None:
    async def story(api: API) -> None:
        machine = FakeMachine()
        add_node(api, "worker1", 1)
        async with running(OverlayAgent(api, "worker1", machine)):
            await until(lambda: machine.said("link add vxlan0"))
            add_node(api, "worker2", 2)
            await until(lambda: machine.said("route replace 10.244.2.0/24"))
            told = len(machine.texts)
            api.update_status("Node", "worker2", "", {"conditions": [{"type": "Ready", "status": "True"}]})
            add_node(api, "worker3", 3)
            await until(lambda: machine.said("route replace 10.244.3.0/24"))
            assert len(machine.texts) == told + 2, "a heartbeat is not told to the kernel"

    play(story)


def test_a_refused_text_is_an_event_and_tried_again() -> None:
    async def story(api: API) -> None:
        machine = FakeMachine()
        machine.broken = True
        add_node(api, "worker1", 1)
        async with running(MasqueradeAgent(api, "worker1", machine, RANGES[0])):
            await until(lambda: events(api))
            assert events(api) == ["nft: exit status 1: refused"]
            machine.broken = False
            await until(lambda: machine.said("192.168.50.21"))

    play(story)


def test_kube_proxy_tells_the_kernel_only_what_changed() -> None:
    async def story(api: API) -> None:
        machine = FakeMachine()
        add_node(api, "worker1", 1)
        add_service(api)
        api.create(slice_of("web", "10.244.1.2"))
        agent = KubeProxy(api, "worker1", machine, *RANGES, NFTABLES)
        async with running(agent):
            await until(lambda: machine.said("table ip service {"))
            add_service(api, "api", clusterIP="10.96.0.21", clusterIPs=["10.96.0.21"])
            await until(lambda: machine.said('10.96.0.21 comment "default/api"'))
            assert "default/web" not in machine.texts[-1]
            api.replace(slice_of("web", "10.244.1.2", "10.244.1.3"))
            await until(lambda: machine.said("add element ip service endpoints"))
            assert "10.244.1.3 . 8080" in machine.texts[-1]
            assert "10.244.1.2 . 8080" not in machine.texts[-1]
            api.delete("Service", "web", "default")
            await until(lambda: machine.said("delete element ip service cluster_ips { 10.96.0.20 }"))
            await until(lambda: [found.name for found in agent.desired().services] == ["api"])

    play(story)


def test_kube_proxy_rebuilds_after_a_refusal_and_on_resync() -> None:
    async def story(api: API) -> None:
        machine = FakeMachine()
        add_node(api, "worker1", 1)
        add_service(api)
        agent = KubeProxy(api, "worker1", machine, *RANGES, NFTABLES)
        async with running(agent):
            await until(lambda: machine.said("table ip service {"))
            machine.broken = True
            api.create(slice_of("web", "10.244.1.2"))
            await until(lambda: events(api))
            machine.texts.clear()
            machine.broken = False
            await until(lambda: machine.said("table ip service {"))
            assert machine.said("10.244.1.2 . 8080")
            machine.texts.clear()
            agent.resync()
            await until(lambda: machine.said("table ip service {"))

    play(story)


def test_kube_proxy_looks_after_its_rules_when_others_change_some() -> None:
    async def story(api: API) -> None:
        machine = FakeMachine()
        add_node(api, "worker1", 1)
        add_service(api)
        agent = KubeProxy(api, "worker1", machine, *RANGES, NFTABLES)
        async with running(agent):
            await until(lambda: agent.applied)
            machine.texts.clear()
            await agent.rules_changed()  # this machine shows no rules: they are gone
            await until(lambda: machine.said("table ip service {"))

    play(story)


def test_kube_proxy_clears_away_what_another_mode_has_built() -> None:
    class Other:
        """The reference, under another identity."""

        def __getattr__(self, name: str) -> Any:
            return getattr(NFTABLES, name)

    async def story(api: API) -> None:
        machine = FakeMachine()
        add_node(api, "worker1", 1)
        add_service(api)
        agent = KubeProxy(api, "worker1", machine, *RANGES, NFTABLES)
        async with running(agent):
            await until(lambda: agent.applied)
            assert not machine.said("delete table ip service")
            machine.texts.clear()
            agent.mode = cast(ProxyMode, Other())
            agent.resync()
            await until(lambda: machine.said("flush table ip service"))
            assert machine.said("delete table ip service")

    play(story)


def test_kube_proxy_gives_an_external_address_to_one_service_and_tells_the_other() -> None:
    async def story(api: API) -> None:
        machine = FakeMachine()
        add_node(api, "worker1", 1)
        add_service(api, externalIPs=["192.0.2.7"])
        add_service(
            api, "young", clusterIP="10.96.0.21", clusterIPs=["10.96.0.21"], externalIPs=["192.0.2.7"]
        )
        agent = KubeProxy(api, "worker1", machine, *RANGES, NFTABLES)
        async with running(agent):
            await until(lambda: len(agent.applied) == 2)
            assert [found.external_ips for found in agent.desired().services] == [("192.0.2.7",), ()]
            assert any("port 80/TCP is default/web's" in text for text in events(api))
            api.delete("Service", "web", "default")
            await until(lambda: machine.said("add element ip service no_endpoints { 192.0.2.7 . tcp . 80"))

    play(story)


def test_kube_proxy_learns_its_nodes_address() -> None:
    async def story(api: API) -> None:
        machine = FakeMachine()
        add_service(api, type="NodePort", ports=[{"name": "http", "port": 80, "nodePort": 30080}])
        async with running(KubeProxy(api, "worker1", machine, *RANGES, NFTABLES)):
            await until(lambda: machine.said("table ip service {"))
            assert not machine.said("30080")
            add_node(api, "worker1", 1)
            await until(lambda: machine.said("192.168.50.21 . tcp . 30080"))

    play(story)


def test_kube_proxy_whose_node_changes_its_zone_loads_no_table_again() -> None:
    """A table that is loaded in parts would be half empty for a moment."""

    async def story(api: API) -> None:
        machine = FakeMachine()
        add_node(api, "worker1", 1)
        add_service(api)
        obj = slice_of("web", "10.244.1.2", "10.244.1.3")
        for endpoint, zone in zip(obj["endpoints"], ("east", "west"), strict=True):
            endpoint["hints"] = {"forZones": [{"name": zone}]}
        api.create(obj)
        agent = KubeProxy(api, "worker1", machine, *RANGES, NFTABLES)
        async with running(agent):
            await until(lambda: machine.said("10.244.1.3 . 8080"))
            machine.texts.clear()
            node = api.get("Node", "worker1")
            labels = {"topology.kubernetes.io/zone": "west"}
            api.replace({**node, "metadata": {**node["metadata"], "labels": labels}})
            await until(lambda: machine.said("services { 10.96.0.20 . tcp . 80"))
            (found,) = agent.desired().services
            assert [endpoint.address for endpoint in found.ports[0].endpoints] == ["10.244.1.3"]
            assert not machine.said("table ip service {")

    play(story)


def test_dns_appends_what_changed(tmp_path: Path) -> None:
    async def story(api: API) -> None:
        zone = tmp_path / "cluster.zone"

        def said(text: str) -> bool:
            return text in zone.read_text()

        add_service(api)
        agent = DnsAgent(api, tmp_path, ["10.96.0.10"], ["10.96.0.0/16"])
        async with running(agent):
            await until(zone.exists)
            assert said("\nweb.default.svc.cluster.local. 5 IN A 10.96.0.20")
            whole = zone.stat()
            add_service(api, "db", clusterIP="None", clusterIPs=["None"])
            api.create(slice_of("db", "10.244.1.5"))
            await until(lambda: said("\n+ db.default.svc.cluster.local. 5 IN A 10.244.1.5"))
            api.delete("Service", "web", "default")
            await until(lambda: said("\n- web.default.svc.cluster.local. 5 IN A 10.96.0.20"))
            assert zone.stat().st_ino == whole.st_ino
            zone.unlink()  # somebody's mistake
            add_service(api, "new", clusterIP="10.96.0.21", clusterIPs=["10.96.0.21"])
            await until(lambda: zone.exists() and said("\nnew.default"))
            assert said("\ndb.default")
            assert not said("web.default")

    play(story)


def test_dns_writes_the_whole_when_changes_have_grown_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.dns.SHORTEST", 0)

    async def story(api: API) -> None:
        zone = tmp_path / "cluster.zone"

        def said(text: str) -> bool:
            return text in zone.read_text()

        async with running(DnsAgent(api, tmp_path, ["10.96.0.10"], ["10.96.0.0/16"])):
            await until(zone.exists)
            for number in range(20):
                ip = f"10.96.1.{number}"
                add_service(api, f"s{number}", clusterIP=ip, clusterIPs=[ip])
                await until(functools.partial(said, f" A {ip} "))
            assert zone.read_text().count("\n+ ") < 60

    play(story)


API_FRONTEND = Frontend(
    "kube-apiserver", "192.168.50.9", 6443, (Server("control-plane", "192.168.50.10", 6443),)
)


def ingress(api: API, name: str) -> list[Obj]:
    found = api.get("Service", name, "default")["status"]["loadBalancer"].get("ingress", [])
    assert isinstance(found, list)
    return found


def test_load_balancer_serves_reloads_and_survives(tmp_path: Path) -> None:
    async def story(api: API) -> None:
        machine = FakeMachine(tmp_path)
        add_node(api, "worker1", 1)
        told: list[str] = []
        haproxy = HAProxy(machine, tmp_path, told.append, [API_FRONTEND])
        agent = LoadBalancerAgent(api, haproxy, Pool(["192.168.50.200"]))
        async with running(agent):
            await until(lambda: machine.said("address add 192.168.50.9/32"))
            spec: Obj = {"type": "LoadBalancer", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}
            add_service(api, **spec)
            await until(lambda: ingress(api, "web"))
            assert ingress(api, "web") == [{"ip": "192.168.50.200", "ipMode": "Proxy"}]
            assert "server worker1 192.168.50.21:30080" in (tmp_path / "haproxy.cfg").read_text()
            await until((tmp_path / "reloads").exists)
            add_service(api, "second", clusterIP="10.96.0.21", clusterIPs=["10.96.0.21"], **spec)
            await until(lambda: any("not free in the pool" in text for text in events(api)))
            machine.processes[0].send_signal(signal.SIGKILL)
            await until(lambda: len(machine.processes) == 2)
            assert told == ["haproxy ended with status -9: it is started again"]
            api.patch(
                "Service",
                "web",
                "default",
                {"spec": {"type": "NodePort", "allocateLoadBalancerNodePorts": None}},
            )
            await until(lambda: ingress(api, "second"))
            assert ingress(api, "web") == []
            udp = {**spec, "ports": [{"name": "dns", "protocol": "UDP", "port": 53, "nodePort": 30053}]}
            api.patch("Service", "second", "default", {"spec": udp})
            await until(lambda: "port 53/UDP: HAProxy balances TCP only: use the node port" in events(api))
        assert [process.poll() for process in machine.processes] == [-9, -9]

    play(story)


def test_an_address_that_a_balancer_without_a_process_has_is_taken_off(tmp_path: Path) -> None:
    class Left(FakeMachine):
        def run(self, argv: Sequence[str], stdin: str = "") -> str:
            held = [{"local": "192.168.50.12", "prefixlen": 24}, {"local": "192.168.50.200", "prefixlen": 32}]
            return json.dumps([{"address": "00:00:00:00:00:03", "addr_info": held}])

    machine = Left()
    asyncio.run(PythonBalancer(machine, tmp_path, print).apply([]))
    assert machine.texts == ["address del 192.168.50.200/32 dev eth0\n"]


class FakeEngine:
    """Keeps what it is to serve; `broken` makes it refuse."""

    name = "a fake"

    def __init__(self) -> None:
        self.machine: Spawner = FakeMachine()
        self.served: list[Frontend] = []
        self.broken = False
        self.holding: asyncio.Event | None = None  # it gives nothing up before

    async def apply(self, frontends: Sequence[Frontend]) -> None:
        if self.broken:
            raise RuntimeError("refused")
        if self.holding is not None and len(frontends) < len(self.served):
            await self.holding.wait()
        self.served = list(frontends)

    async def stop(self) -> None:
        self.served = []


def test_each_class_has_its_engine_and_they_share_the_pool() -> None:
    async def story(api: API) -> None:
        pool = Pool(["192.168.50.200", "192.168.50.201", "192.168.50.202"])
        engines = {name: FakeEngine() for name in ("", PYTHON_CLASS)}
        engines[PYTHON_CLASS].broken = True
        agents = [LoadBalancerAgent(api, engine, pool, name) for name, engine in engines.items()]
        add_node(api, "worker1", 1)
        spec: Obj = {"type": "LoadBalancer", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}
        for number, name in enumerate(("", PYTHON_CLASS, "example.com/other", "")):
            own = {"clusterIP": f"10.96.0.2{number}", "clusterIPs": [f"10.96.0.2{number}"]}
            add_service(api, f"web{number}", **spec, **own, **({"loadBalancerClass": name} if name else {}))
        async with running(agents[0]), running(agents[1]):
            await until(lambda: ingress(api, "web0") and ingress(api, "web3"))
            assert ingress(api, "web1") == [], "its engine has refused"
            engines[PYTHON_CLASS].broken = False
            await until(lambda: ingress(api, "web1"))
            given = [ingress(api, f"web{number}")[0]["ip"] for number in (0, 1, 3)]
            assert len(set(given)) == 3
            assert ingress(api, "web2") == [], "another class is left alone"
            assert [frontend.address for frontend in engines[PYTHON_CLASS].served] == [given[1]]
            assert [frontend.address for frontend in engines[""].served] == [given[0], given[2]]

    play(story)


def test_an_address_is_given_to_another_engine_only_when_the_one_that_has_it_has_given_it_up() -> None:
    async def story(api: API) -> None:
        pool = Pool(["192.168.50.200"])
        engines = {name: FakeEngine() for name in ("", PYTHON_CLASS)}
        agents = [LoadBalancerAgent(api, engine, pool, name) for name, engine in engines.items()]
        add_node(api, "worker1", 1)
        spec: Obj = {"type": "LoadBalancer", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}
        async with running(agents[0]), running(agents[1]):
            add_service(api, "first", **spec)
            await until(lambda: ingress(api, "first"))
            given_up = engines[""].holding = asyncio.Event()
            api.delete("Service", "first", "default")
            own = {"clusterIP": "10.96.0.21", "clusterIPs": ["10.96.0.21"]}
            add_service(api, "second", **spec, **own, loadBalancerClass=PYTHON_CLASS)
            await agents[1].settle()
            assert ingress(api, "second") == []
            assert engines[PYTHON_CLASS].served == []
            assert not any("not free in the pool" in told for told in events(api)), "it is only waited for"
            given_up.set()
            await until(lambda: ingress(api, "second"))
            assert engines[""].served == []
            assert [frontend.address for frontend in engines[PYTHON_CLASS].served] == ["192.168.50.200"]

    play(story)
