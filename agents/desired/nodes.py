"""Nodes, as the overlay and the way out of the cluster want to know them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agents.desired.objects import Obj
from netfns.masquerade import Masquerade
from netfns.overlay import Overlay, Vtep


def node_addresses(node: Obj) -> tuple[str, ...]:
    """The node's own addresses on the nodes' network, of every family."""
    addresses = (node.get("status") or {}).get("addresses") or ()
    return tuple(address["address"] for address in addresses if address["type"] == "InternalIP")


def vtep(node: Obj) -> Vtep | None:
    """The node's tunnel end; None when it has no IPv4 address or no pod range yet."""
    spec = node.get("spec") or {}
    addresses = [address for address in node_addresses(node) if ":" not in address]
    pod_cidrs = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    if not addresses or not pod_cidrs:
        return None
    return Vtep(node["metadata"]["name"], addresses[0], tuple(pod_cidrs))


def overlay(name: str, nodes: Iterable[Obj]) -> Overlay | None:
    """What the node `name` must know of the tunnels; None until its own Node object is complete."""
    ends = [end for end in map(vtep, nodes) if end is not None]
    local = next((end for end in ends if end.node == name), None)
    return None if local is None else Overlay(local, tuple(end for end in ends if end is not local))


def masquerade(pod_cidrs: Sequence[str], nodes: Iterable[Obj]) -> Masquerade:
    """What is inside the cluster: its pods, and its nodes."""
    return Masquerade(tuple(pod_cidrs), tuple(address for node in nodes for address in node_addresses(node)))
