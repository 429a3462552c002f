"""The same over IPv6: pods, services and nodes have an address of each family, and each of them works.

A cluster of one family has nothing to show here.
"""

from labs.check.claim import claim
from labs.check.external import KIND as EXTERNAL_TO_SERVICE
from labs.check.external import at_every_node
from labs.check.pods import KIND as POD_TO_POD
from labs.check.pods import reach
from labs.check.services import KIND as POD_TO_SERVICE
from labs.check.services import answered_by_one
from labs.check.subjects import NotApplicable, Scene


@claim(
    "across-nodes-ipv6", POD_TO_POD, "pods of two nodes reach each other under their own IPv6 addresses too"
)
def across_nodes_ipv6(scene: Scene) -> str:
    """See `pods.reach`."""
    first, second = scene.far_pair()
    if not (first.ipv6 and second.ipv6):
        raise NotApplicable(f"pod {first.name} or {second.name} has no IPv6 address")
    return reach(scene, first, second, first.ipv6, second.ipv6)


@claim("cluster-ip-ipv6", POD_TO_SERVICE, "a pod reaches a service under its IPv6 cluster address")
def cluster_ip_ipv6(scene: Scene) -> str:
    """See `services.answered_by_one`."""
    target = scene.target(lambda t: bool(t.cluster_ipv6), "service with an IPv6 address and endpoints")
    return answered_by_one(scene, target, target.cluster_ipv6)


@claim("node-port-ipv6", EXTERNAL_TO_SERVICE, "from outside, a service answers at every node's IPv6 address")
def node_port_ipv6(scene: Scene) -> str:
    """See `external.at_every_node`."""
    target = scene.target(
        lambda t: bool(t.node_port and t.cluster_ipv6), "service with an IPv6 address and a node port"
    )
    return at_every_node(scene, target, ":")
