"""A row of the policy table, and the words that it is written with.

    given   the policies, as manifests say them
    want    Limit("ingress", "x/a", from "y/*", on "80/TCP"): what may pass where anything is limited at all

The pods are those of policy_grid.py. A pod that no limit of a direction names is free in that direction; one that
several name may do what any of them says. Names are patterns: "x/*", "*/a", "y/[ab]"; so are ports: "80/*", "*/UDP".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tests.conformance.policy_grid import addresses

Obj = dict[str, Any]
DOCS = 'Kubernetes, "Network Policies"'
API = "Kubernetes API reference, NetworkPolicy v1"
E2E = "Kubernetes end-to-end tests, network/netpol"
DIRECTIONS = ("ingress", "egress")
SIDE = {"ingress": "from", "egress": "to"}


@dataclass(frozen=True)
class Limit:
    """The pods may use these ports from, or to, these peers, and in this direction nothing else."""

    direction: str
    pods: str
    peers: tuple[str, ...] = ()
    ports: tuple[str, ...] = ("*",)

    def allows(self, peer: str, port: str) -> bool:
        """Whether it lets a peer pass on a port, such as 80/TCP."""
        return _any(peer, self.peers) and _any(port, self.ports)


@dataclass(frozen=True)
class Row:
    """One case."""

    name: str
    given: tuple[Obj, ...]
    want: tuple[Limit, ...]
    citation: str = DOCS

    def passes(self, sender: str, receiver: str, port: str) -> bool:
        """Whether the row wants a packet to arrive."""
        return all(
            any(limit.allows(peer, port) for limit in limits)
            for direction, subject, peer in (("egress", sender, receiver), ("ingress", receiver, sender))
            if (limits := [li for li in self.want if li.direction == direction and _any(subject, [li.pods])])
        )


def _any(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


# ---------------------------------------------------------------- manifests


def policy(namespace: str = "x", name: str = "p", pods: Obj | None = None, **spec: Any) -> Obj:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"podSelector": pods or {}, **spec},
    }


def one_way(
    direction: str, rules: list[Obj] | None, pods: Obj | None = None, namespace: str = "x", name: str = "p"
) -> Obj:
    """A policy of one direction and no other."""
    spec: Obj = {"policyTypes": [direction.capitalize()]}
    return policy(namespace, name, pods, **spec, **({} if rules is None else {direction: rules}))


def labels(**wanted: str) -> Obj:
    return {"matchLabels": wanted}


def expression(key: str, operator: str, *values: str) -> Obj:
    one: Obj = {"key": key, "operator": operator}
    return {"matchExpressions": [one | ({"values": list(values)} if values else {})]}


def block(cidr: str, *exceptions: str) -> Obj:
    return {"ipBlock": {"cidr": cidr} | ({"except": list(exceptions)} if exceptions else {})}


def single(name: str, family: int = 0) -> str:
    return addresses(name)[family] + ("/128" if family else "/32")
