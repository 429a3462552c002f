"""From objects to what the network functions want to know: pure translation, the only place that reads both.

    nodes.py          Node ---------------------> Vtep, Masquerade
    services.py       Service + EndpointSlices -> Service (netfns/service_types.py)
    candidates.py     EndpointSlices ----------> the endpoints that one node may choose
    load_balancer.py  Service + Node -----------> balancer's Frontend
    names.py          Service + EndpointSlices, Pod -> names (netfns/dns.py)
    policy.py         NetworkPolicy, Pod ----------> Policy, Pod (netfns/policy_types.py)

Every function takes objects as the API hands them out and changes none. An object that says nothing of use
(a headless Service has no address, a Node no podCIDR yet) gives None or is left out: it will come again
when it says more.

Sources: Kubernetes API reference, Service, EndpointSlice, Node and Pod.
"""

from agents.desired.candidates import (
    Place,
    all_candidates,
    cluster_endpoints,
    is_ready,
    local_endpoints,
    local_ready,
    place,
)
from agents.desired.load_balancer import (
    EXCLUDED,
    PYTHON_CLASS,
    Given,
    assign,
    balancer_class,
    frontends,
    ingress_addresses,
    is_balanced,
)
from agents.desired.names import named_pod, named_service
from agents.desired.nodes import masquerade, node_addresses, overlay, vtep
from agents.desired.objects import Obj, namespaced_name
from agents.desired.policy import namespace_labels, network_policy, policy_nodes, policy_pod
from agents.desired.services import SERVICE_NAME, cluster_addresses, service, service_key

__all__ = [
    "EXCLUDED",
    "PYTHON_CLASS",
    "SERVICE_NAME",
    "Given",
    "Obj",
    "Place",
    "all_candidates",
    "assign",
    "balancer_class",
    "cluster_addresses",
    "cluster_endpoints",
    "frontends",
    "ingress_addresses",
    "is_balanced",
    "is_ready",
    "local_endpoints",
    "local_ready",
    "masquerade",
    "named_pod",
    "named_service",
    "namespace_labels",
    "namespaced_name",
    "network_policy",
    "node_addresses",
    "overlay",
    "place",
    "policy_nodes",
    "policy_pod",
    "service",
    "service_key",
    "vtep",
]
