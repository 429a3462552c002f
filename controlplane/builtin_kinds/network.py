"""Slices, Ingress and NetworkPolicy. Ingresses and policies are taken, defaulted and validated here; what carries
them out lives with the agents.
"""

from __future__ import annotations

from controlplane.defaults import network as default_network
from controlplane.defaults import service as default_service
from controlplane.kinds import STATUS, Kind
from controlplane.validation import discovery as validate_discovery
from controlplane.validation import ingress as validate_ingress
from controlplane.validation import network_policy as validate_network_policy

SCHEMA, GROUP = "io.k8s.api.networking.v1.", "networking.k8s.io"

NETWORK_KINDS = (
    Kind(
        "EndpointSlice",
        "endpointslices",
        "io.k8s.api.discovery.v1.EndpointSlice",
        group="discovery.k8s.io",
        default=default_service.endpoint_slice,
        validate=validate_discovery.validate_slice,
    ),
    Kind(
        "Ingress",
        "ingresses",
        SCHEMA + "Ingress",
        group=GROUP,
        short_names=("ing",),
        subresources=STATUS,
        validate=validate_ingress.ingress,
        initial_status=lambda obj: {"loadBalancer": {}},
        counts_generations=True,
    ),
    Kind(
        "IngressClass",
        "ingressclasses",
        SCHEMA + "IngressClass",
        group=GROUP,
        namespaced=False,
        validate=validate_ingress.ingress_class,
        counts_generations=True,
    ),
    Kind(
        "NetworkPolicy",
        "networkpolicies",
        SCHEMA + "NetworkPolicy",
        group=GROUP,
        short_names=("netpol",),
        default=default_network.network_policy,
        validate=validate_network_policy.validate,
        counts_generations=True,
    ),
)
