"""A kubelet puts back what its node has lost: the bridge, and the pods that are not plugged into it any more."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from agents import kubelet
from agents.kubelet import Kubelet
from netfns import bridge, ipam
from netfns.kernel import CommandError

CIDRS = ("10.244.1.0/24",)


class FakeKernel:
    """A node whose bridge has some ports; notes the texts that it is given."""

    name = "worker1"

    def __init__(self, *ports: str) -> None:
        self.ports = ports
        self.texts: list[str] = []

    def run(self, argv: Sequence[str], stdin: str = "") -> str:
        address = {"local": "10.244.1.1", "prefixlen": 24, "scope": "global"}
        if "master" in argv:
            return json.dumps([{"ifname": port} for port in self.ports])
        return json.dumps([{"ifname": bridge.DEVICE, "addr_info": [address]}])

    def sysctl(self, key: str, value: str) -> None:
        pass

    def nft(self, ruleset: str) -> None:
        pass

    def ip(self, batch: str) -> None:
        if batch.startswith("link del"):
            raise CommandError(["ip"], 1, "Cannot find device")
        self.texts.append(batch)

    def close(self) -> None:
        pass


def worker(uid: str, address: str, closed: bool = False) -> Any:
    sandbox = SimpleNamespace(pid=77, closed=closed, namespaces=None)
    return SimpleNamespace(uid=uid, namespace="default", name=uid, sandbox=sandbox, addresses=(address,))


def test_pods_that_are_off_the_bridge_are_plugged_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pods = [
        worker("there", "10.244.1.2"),
        worker("off", "10.244.1.3"),
        worker("dead", "10.244.1.4", closed=True),
    ]
    on_node_network = worker("host", "192.168.50.21")
    pool = ipam.new_pool(CIDRS)
    for pod in pods:
        pool = ipam.allocate(pool, pod.uid)
    attachments = {
        pod.uid: bridge.Attachment(f"default/{pod.uid}", pod.uid, 77, pod.addresses) for pod in pods
    }
    expected = list[str]()
    node, inside = FakeKernel(attachments["there"].port), FakeKernel()
    monkeypatch.setattr(kubelet, "NodeKernel", lambda *_: inside)
    workers = {pod.uid: pod for pod in (*pods, on_node_network)}
    fields = {"_bridge": bridge.Bridge(CIDRS), "_pool": pool, "_kernel": node, "workers": workers}
    fields |= {"_host_ports": None, "_ports": SimpleNamespace(expect=expected.append)}
    lost = Kubelet.__new__(Kubelet)
    lost.__dict__.update(fields)
    lost.resync()
    wiring = bridge.render(bridge.Bridge(CIDRS), attachments["off"])
    assert (node.texts, inside.texts) == ([wiring.node], [wiring.pod])
    assert expected == [attachments["off"].port]
