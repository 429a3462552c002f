"""Pod address ranges: each node gets its own part of the cluster's, and keeps it for life.

    10.244.0.0/16 --> 10.244.N.0/24: control-plane N=0, workerK N=K, others the next free N
    fd00:244::/56 --> fd00:244:0:N::/64, when the cluster has a second family

The index N is one number for all families, so that a student sees at once which node an address belongs to.

Source: Kubernetes documentation, `kube-controller-manager --allocate-node-cidrs`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

from controlplane.allocators import Pool
from controlplane.api import API
from controlplane.informers import Informers
from controlplane.meta import Obj
from controlplane.reconciler import Reconciler

POD_RANGE = "10.244.0.0/16"
CONTROL_PLANE = "control-plane"
PART_BITS = {4: 24, 6: 64}  # length of a node's prefix


class NodeIpamController:
    """Watches nodes, writes spec.podCIDR and spec.podCIDRs."""

    def __init__(self, api: API, informers: Informers, ranges: Sequence[str] = (POD_RANGE,)) -> None:
        self._api = api
        self._ranges = [ip_network(text) for text in ranges]
        size = min(1 << (PART_BITS[network.version] - network.prefixlen) for network in self._ranges)
        self._indices = Pool(0, size - 1, reserved=1)
        self._nodes = informers["Node"]
        self.reconciler = Reconciler("node-ipam", self._reconcile)
        self._nodes.on_change(self._changed)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        """Keeps the books; a node that has its range needs nothing more."""
        name = (new or old or {})["metadata"]["name"]
        if old is not None and new is None:
            for index in self._held(old):
                self._indices.release(index, name)
        elif new is not None:
            held = self._held(new)
            for index in held:
                self._indices.hold(index, name)
            if not held:
                self.reconciler.enqueue(name)

    def _held(self, node: Obj) -> list[int]:
        """The index that the node's ranges stand for; none for foreign ranges."""
        texts = (node.get("spec") or {}).get("podCIDRs") or ()
        return [index for text in texts[:1] if (index := self._index(text)) is not None]

    def _index(self, text: str) -> int | None:
        part = ip_network(text)
        for network in self._ranges:
            if part.version == network.version:
                shift = part.max_prefixlen - PART_BITS[part.version]
                return (int(part.network_address) - int(network.network_address)) >> shift
        return None

    async def _reconcile(self, name: str) -> None:
        self._nodes.catch_up()
        node = self._nodes.get("", name)
        if node is None or self._held(node):
            return
        index = self._choose(name)
        if index is None:
            message = f"no free pod address range is left in {self._ranges[0]}: delete a node"
            self._api.event(
                node, "CIDRNotAvailable", message, type="Warning", component="node-ipam-controller"
            )
            return
        parts = [str(_part(network, index)) for network in self._ranges]
        self._api.patch("Node", name, "", {"spec": {"podCIDR": parts[0], "podCIDRs": parts}})

    def _choose(self, name: str) -> int | None:
        """The number that the name suggests, or the next free one."""
        match = re.fullmatch(r"worker([1-9]\d{0,4})", name)
        preferred = 0 if name == CONTROL_PLANE else int(match[1]) if match else None
        if preferred is not None and self._indices.is_free_for(preferred, name):
            return preferred
        return self._indices.next_free()


def _part(network: IPv4Network | IPv6Network, index: int) -> IPv4Network | IPv6Network:
    bits = PART_BITS[network.version]
    start = int(network.network_address) + (index << (network.max_prefixlen - bits))
    return ip_network((start, bits))
