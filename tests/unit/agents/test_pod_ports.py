"""What a pod had is let go when its port is gone, and not before; the kernel is one that says so when it is told to."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agents import pod_ports
from agents.kubelet import Kubelet
from agents.pod_ports import PodPorts
from netfns import bridge, ipam
from netfns.kernel import CommandError
from topo.departures import MessagesLost

UID, PORT = "1", bridge.port_of("1")
DEADLINE = 10.0


class Node:
    """Kernel and departures in one: `devices` are there; `leave` takes one away, and tells unless it is lost."""

    name = "worker1"

    def __init__(self) -> None:
        self.devices: set[str] = set()
        self.deleted: list[str] = []
        self._told: list[str] = []
        self._lost = False
        self._wake, self._waking = os.pipe2(os.O_NONBLOCK)

    def fileno(self) -> int:
        return self._wake

    def leave(self, device: str, *, lost: bool = False) -> None:
        self.devices.discard(device)
        self._lost |= lost
        self._told += [] if lost else [device]
        os.write(self._waking, b"!")

    def read(self) -> list[str]:
        try:
            os.read(self._wake, 100)
        except BlockingIOError:
            return []
        if self._lost:
            self._lost = False
            raise MessagesLost
        told, self._told = self._told, []
        return told

    def has(self, device: str) -> bool:
        return device in self.devices

    def ip(self, batch: str) -> None:
        device = batch.split()[-1]
        self.deleted.append(device)
        if device not in self.devices:
            raise CommandError(["ip"], 1, "Cannot find device")
        self.leave(device)


class Policies:
    """Notes which pods' rules are let go."""

    def __init__(self) -> None:
        self.released: list[str] = []

    def release(self, uid: str) -> None:
        self.released.append(uid)


async def idle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def play(story: Callable[[Node, PodPorts], Awaitable[None]]) -> None:
    async def told() -> None:
        node = Node()
        ports: Any = PodPorts(node, node)  # type: ignore[arg-type]
        ports.follow()
        ports.expect(PORT)
        node.devices.add(PORT)
        async with asyncio.timeout(DEADLINE):
            await story(node, ports)

    asyncio.run(told())


def test_a_pods_rules_and_addresses_stay_until_its_port_is_gone() -> None:
    async def story(node: Node, ports: PodPorts) -> None:
        policies = Policies()
        kubelet: Any = Kubelet.__new__(Kubelet)
        kubelet._policy, kubelet._ports, kubelet._host_ports, kubelet._tasks = policies, ports, None, set()
        kubelet._pool = ipam.allocate(ipam.new_pool(("10.244.1.0/24",)), UID)
        released = kubelet.release(UID)
        await idle()
        assert policies.released == []
        assert UID in kubelet._pool.owners
        node.leave(PORT)
        await released
        assert policies.released == [UID]
        assert UID not in kubelet._pool.owners
        assert node.deleted == []

    play(story)


def test_a_port_that_went_before_anybody_asked_is_gone() -> None:
    async def story(node: Node, ports: PodPorts) -> None:
        node.leave(PORT)
        await idle()
        await ports.gone(PORT)

    play(story)


def test_a_port_that_is_made_again_is_not_the_one_before() -> None:
    async def story(node: Node, ports: PodPorts) -> None:
        node.leave(PORT)
        ports.expect(PORT)
        node.devices.add(PORT)
        waiting = asyncio.create_task(ports.gone(PORT))
        await idle()
        assert not waiting.done()
        node.leave(PORT)
        await waiting

    play(story)


def test_when_messages_are_lost_those_that_have_gone_are_found_and_no_others() -> None:
    async def story(node: Node, ports: PodPorts) -> None:
        ports.expect("veth2")
        node.devices.add("veth2")
        first, second = (asyncio.create_task(ports.gone(port)) for port in (PORT, "veth2"))
        await idle()
        node.leave(PORT, lost=True)
        await first
        assert not second.done()
        assert node.deleted == [PORT]  # by which the kernel has said that it is done with it
        node.leave("veth2")
        await second

    play(story)


def test_a_port_that_does_not_go_by_itself_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_ports, "LINGERS", 0.01)

    async def story(node: Node, ports: PodPorts) -> None:
        await ports.gone(PORT)
        assert node.deleted == [PORT]

    play(story)


def test_a_pod_without_a_port_waits_for_none() -> None:
    async def story(node: Node, ports: PodPorts) -> None:
        await ports.gone("veth2")

    play(story)
