"""Address management: which address the next pod of a node gets.

A node owns one range of each family (its pod CIDRs) and hands out one address of each to every pod,
without asking anyone: ranges do not overlap, so no two nodes can hand out the same address.

    10.244.1.0/24    .0 network   .1 cni0, the pods' gateway   .2 ... .254 pods   .255 broadcast
                                                                ^
                     free, in this order: never used first, then the one that has been free for longest

One number serves every family: pod number 7 gets 10.244.1.7 and fd00:244:0:1::7.

Invariants: an address belongs to one owner at a time; a freed address goes to the end of the line, so that
a pod's replacement gets a new address and what is late for the old one does not reach the new one.

Sources: CNI specification 1.0.0, "IP Allocation"; the plugin host-local, whose job this is in a real cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from socket import AF_INET, AF_INET6, inet_ntop
from types import MappingProxyType

# A range may be huge (an IPv6 /64): no node has more pods than this.
MOST_PODS = 65_534


class IpamError(Exception):
    """A range that cannot be used, or no address left."""


@dataclass(frozen=True)
class Pool:
    """The addresses of one node: `owners` maps an owner (a pod's uid) to its number; `free` is the line of
    the others.
    """

    pod_cidrs: tuple[str, ...]
    free: tuple[int, ...]
    owners: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def addresses(self, owner: str) -> tuple[str, ...]:
        """The owner's addresses, one of each range in the order of `pod_cidrs`. Raises KeyError for a
        stranger.
        """
        return tuple(_address(cidr, self.owners[owner]) for cidr in self.pod_cidrs)


@cache
def _address(cidr: str, number: int) -> str:
    """The address with this number in a range; a node has some hundred of them, which come again and again."""
    network = _range(cidr)
    family, length = (AF_INET, 4) if network.version == 4 else (AF_INET6, 16)
    return inet_ntop(family, (int(network.network_address) + number).to_bytes(length, "big"))


@cache
def _range(cidr: str) -> IPv4Network | IPv6Network:
    return ip_network(cidr)


def new_pool(pod_cidrs: tuple[str, ...]) -> Pool:
    """A pool in which nothing is taken. Raises IpamError when a range is malformed or too small for a
    single pod.
    """
    try:
        sizes = [ip_network(cidr).num_addresses for cidr in pod_cidrs]
    except ValueError as error:
        raise IpamError(f"ipam: {error}: want a range such as 10.244.1.0/24") from error
    pods = min(min(sizes, default=0) - 3, MOST_PODS)  # without network, gateway and broadcast address
    if pods < 1:
        raise IpamError(f"ipam: {', '.join(pod_cidrs) or 'no range'}: no room for a pod: want a /30 or more")
    return Pool(pod_cidrs, tuple(range(2, 2 + pods)))


def allocate(pool: Pool, owner: str) -> Pool:
    """Give the owner the number that has been free for longest; one that has a number keeps it.

    Returns the new pool, whose `addresses(owner)` are the owner's. Raises IpamError when all are taken.
    """
    if owner in pool.owners:
        return pool
    if not pool.free:
        ranges = ", ".join(pool.pod_cidrs)
        raise IpamError(f"ipam: no free address in {ranges}: delete a pod or give the node a larger range")
    number, *rest = pool.free
    return replace(pool, free=tuple(rest), owners=MappingProxyType({**pool.owners, owner: number}))


def release(pool: Pool, owner: str) -> Pool:
    """Take the owner's number back, to the end of the line; a stranger changes nothing."""
    if owner not in pool.owners:
        return pool
    owners = {name: number for name, number in pool.owners.items() if name != owner}
    return replace(pool, free=(*pool.free, pool.owners[owner]), owners=MappingProxyType(owners))
