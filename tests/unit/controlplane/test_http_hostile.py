"""Requests that nobody should send: never a 500, never a hang, nothing half-written.

Bodies are right ones with one thing made wrong, since plain noise gets no further than the first check. Every request
is sent to a control plane with all that takes part in a write: the schemas, the validators, the books of addresses.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.http import make_app, trusted
from controlplane.http.protobuf import MAGIC
from controlplane.manager import ControlPlane

Obj = dict[str, Any]
DEADLINE = 20.0  # seconds for all requests of one example
TEMPLATE: Obj = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {
        "containers": [
            {
                "name": "c",
                "image": "nginx",
                "ports": [{"containerPort": 80, "name": "http"}],
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "resources": {"requests": {"cpu": "100m"}},
                "readinessProbe": {"httpGet": {"port": "http"}},
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            }
        ],
        "volumes": [{"name": "v", "configMap": {"name": "x", "items": [{"key": "a", "path": "b"}]}}],
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}],
    },
}
SELECTOR = {
    "matchLabels": {"app": "x"},
    "matchExpressions": [{"key": "app", "operator": "In", "values": ["x"]}],
}
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "properties": {"n": {"type": "integer", "default": 1, "enum": [1, 2]}}}
    },
}
BODIES: dict[str, Obj] = {
    "/api/v1/namespaces/default/pods": {"spec": TEMPLATE["spec"]},
    "/api/v1/namespaces/default/services": {
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": "x"},
            "ports": [{"port": 80, "targetPort": "http", "nodePort": 30080, "name": "a"}],
            "clusterIP": "10.96.7.7",
            "externalIPs": ["192.0.2.1"],
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10}},
        }
    },
    "/api/v1/namespaces/default/configmaps": {"data": {"a": "b"}, "binaryData": {"c": "AA=="}},
    "/api/v1/namespaces/default/secrets": {"type": "Opaque", "data": {"a": "AA=="}, "stringData": {"b": "c"}},
    "/api/v1/namespaces/default/endpoints": {
        "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80, "name": "a"}]}]
    },
    "/api/v1/namespaces": {"spec": {"finalizers": ["kubernetes"]}},
    "/api/v1/nodes": {
        "spec": {"podCIDR": "10.244.1.0/24", "taints": [{"key": "a", "effect": "NoSchedule"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    },
    "/apis/apps/v1/namespaces/default/deployments": {
        "spec": {
            "replicas": 2,
            "selector": SELECTOR,
            "template": TEMPLATE,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
        }
    },
    "/apis/apps/v1/namespaces/default/statefulsets": {
        "spec": {"serviceName": "x", "selector": SELECTOR, "template": TEMPLATE}
    },
    "/apis/apps/v1/namespaces/default/daemonsets": {"spec": {"selector": SELECTOR, "template": TEMPLATE}},
    "/apis/batch/v1/namespaces/default/jobs": {
        "spec": {
            "completions": 2,
            "backoffLimit": 1,
            "template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}},
        }
    },
    "/apis/networking.k8s.io/v1/namespaces/default/ingresses": {
        "spec": {
            "rules": [
                {
                    "host": "a.example",
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "x", "port": {"number": 80}}},
                            }
                        ]
                    },
                }
            ]
        }
    },
    "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies": {
        "spec": {
            "podSelector": SELECTOR,
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 80, "endPort": 90}]}
            ],
        }
    },
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices": {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
        "ports": [{"port": 80, "protocol": "TCP"}],
    },
    "/apis/policy/v1/namespaces/default/poddisruptionbudgets": {
        "spec": {"minAvailable": 1, "selector": SELECTOR}
    },
    "/apis/example.org/v1/namespaces/default/widgets": {"spec": {"n": 1}},
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": {
        "metadata": {"name": "gadgets.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": SCHEMA},
                    "subresources": {
                        "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}
                    },
                    "additionalPrinterColumns": [{"name": "N", "type": "integer", "jsonPath": ".spec.n"}],
                }
            ],
        },
    },
}
PATCHES = [
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
]
WORDS = st.text(max_size=5) | st.sampled_from(
    ["", "-1", "a=b", "a in (", "\x00", "x" * 300, "10.0.0.0/33", "9" * 30]
)
NOISE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
PARAMETERS = st.dictionaries(
    st.sampled_from(
        [
            "labelSelector",
            "fieldSelector",
            "limit",
            "continue",
            "resourceVersion",
            "resourceVersionMatch",
            "dryRun",
            "fieldValidation",
            "fieldManager",
            "force",
            "propagationPolicy",
            "gracePeriodSeconds",
            "includeObject",
            "pretty",
            "timeoutSeconds",
        ]
    ),
    WORDS | st.sampled_from(["true", "All", "Strict", "me", "Foreground", "metadata.name=x", "1"]),
    max_size=3,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything within a value."""
    yield path
    if isinstance(value, dict):
        for name, below in value.items():
            yield from places(below, (*path, name))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from places(below, (*path, index))


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, Any]:
    """A collection, and a body for it in which something was replaced, added or taken out."""
    path = draw(st.sampled_from(sorted(BODIES)))
    body = copy.deepcopy({"metadata": {"name": "x", "labels": {"a": "b"}}, **BODIES[path]})
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from([place for place in places(body) if place]))
        around: Any = body
        for part in place[:-1]:
            around = around[part]
        if draw(st.booleans()):
            around[place[-1]] = draw(NOISE)
        elif isinstance(around, dict):
            del around[place[-1]]
        else:
            around.append(copy.deepcopy(around[0]))
    return path, body


def fresh() -> ControlPlane:
    """A new cluster with a custom kind and nothing that reacts."""
    cluster = ControlPlane()
    cluster.start()
    definition = copy.deepcopy(BODIES["/apis/apiextensions.k8s.io/v1/customresourcedefinitions"])
    definition["metadata"]["name"] = "widgets.example.org"
    definition["spec"]["names"] = {"plural": "widgets", "kind": "Widget"}
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    cluster.api.create({**kind, **definition})
    return cluster


def check(answered: list[tuple[str, ClientResponse, str, bool]]) -> None:
    """No accident, and nothing written by what was refused."""
    for what, response, body, written in answered:
        assert response.status < 500 or (response.status == 504 and "Too large resource version" in body), (
            what,
            body,
        )
        assert response.status < 400 or not written, (what, body)


def try_all(attempts: list[tuple[str, str, Obj]]) -> None:
    """Sends requests, each (method, path, options of aiohttp), one after the other, and checks what comes back."""

    async def main() -> None:
        cluster = fresh()
        answered = []
        app = make_app(cluster.api, auth=trusted)
        async with asyncio.timeout(DEADLINE), TestClient(TestServer(app)) as client:
            for method, path, options in attempts:
                before = cluster.api.store.revision
                response = await client.request(method, path, **options)
                body = await response.text(errors="replace")
                answered.append((f"{method} {path}", response, body, cluster.api.store.revision != before))
        check(answered)

    asyncio.run(main())


def as_json(body: Any, kind: str = "application/json", **options: Any) -> Obj:
    """Options of aiohttp for a body."""
    return {"data": json.dumps(body), "headers": {"Content-Type": kind}, **options}


@settings(max_examples=100, deadline=None)
@given(request=requests(), noise=NOISE, query=PARAMETERS)
def test_objects_with_something_wrong(request: tuple[str, Any], noise: Any, query: dict[str, str]) -> None:
    path, body = request
    good = {"metadata": {"name": "x"}, **BODIES[path]}
    one = f"{path}/{good['metadata']['name']}"
    patches = [
        ("PATCH", one, as_json(body, kind, params={**query, "fieldManager": "me"})) for kind in PATCHES
    ]
    try_all(
        [
            ("POST", path, as_json(body)),
            ("POST", path, as_json(good)),
            ("PUT", one, as_json(body, params=query)),
            *patches,
            ("PATCH", one, as_json(noise, PATCHES[1])),
            ("PATCH", f"{one}/status", as_json(body, PATCHES[0])),
            (
                "PATCH",
                f"{one}/ephemeralcontainers",
                as_json({"spec": {"ephemeralContainers": [noise]}}, PATCHES[0]),
            ),
            ("PUT", f"{one}/scale", as_json(noise)),
            (
                "GET",
                path,
                {"params": query, "headers": {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}},
            ),
            (
                "GET",
                path,
                {"params": {"watch": "true", **query, "timeoutSeconds": "1", "resourceVersion": "99999"}},
            ),
            ("GET", one, {"headers": {"Accept": "application/yaml"}}),
            ("DELETE", one, as_json(noise, params=query)),
            ("DELETE", path, {"params": query}),
        ]
    )


def test_objects_that_say_nothing() -> None:
    attempts: list[tuple[str, str, Obj]] = []
    for kind in fresh().api.kinds.served():
        base = f"/apis/{kind.api_version}" if kind.group else "/api/v1"
        path = f"{base}/namespaces/default/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"
        table = {"headers": {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}}
        one = f"{path}/x"
        bodies: tuple[Obj, ...] = ({"metadata": {"name": "x"}}, {"metadata": {"name": "x"}, "spec": {}})
        attempts += [("POST", path, as_json(body)) for body in bodies]
        attempts += [
            ("GET", path, table),
            ("GET", one, table),
            ("GET", f"{one}/scale", {}),
            ("DELETE", one, {}),
        ]
        attempts += [("PATCH", one, as_json({"spec": None, "status": None}, PATCHES[0]))]
    try_all(attempts)


@settings(max_examples=60, deadline=None)
@given(
    raw=st.binary(max_size=40) | NOISE.map(lambda value: json.dumps(value).encode()),
    kind=st.sampled_from(
        [
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
            "text/plain",
            "nonsense",
            *PATCHES,
        ]
    ),
    path=st.sampled_from([*sorted(BODIES), "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"]),
)
def test_bodies_that_are_nothing(raw: bytes, kind: str, path: str) -> None:
    headers = {"Content-Type": kind}
    bodies = (raw, MAGIC + raw)
    methods = (
        ("POST", path),
        ("PUT", f"{path}/x"),
        ("PATCH", f"{path}/x?fieldManager=me"),
        ("DELETE", f"{path}/x"),
    )
    try_all(
        [(method, where, {"data": body, "headers": headers}) for method, where in methods for body in bodies]
    )


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(
        WORDS | st.sampled_from(["api", "apis", "v1", "apps", "pods", "namespaces", "openapi", "v3", "x"])
    )
)
def test_paths_that_lead_nowhere(parts: list[str]) -> None:
    words = (re.sub(r"[^\w.=-]", "", part) for part in parts)
    path = "/" + "/".join(word for word in words if word not in ("", ".", ".."))
    try_all([(method, path, {}) for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 100_000, 400),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, 400),
        (b"x" * (4 * 1024 * 1024), 413),
        (b'{"metadata": {"name": "x", "name": "y"}}', 201),  # the last one counts, as in Go
    ],
)
def test_bodies_that_are_too_much(body: bytes, status: int) -> None:
    async def main() -> None:
        app = make_app(fresh().api, auth=trusted)
        async with asyncio.timeout(DEADLINE), TestClient(TestServer(app)) as client:
            headers = {"Content-Type": "application/json"}
            response = await client.post("/api/v1/namespaces/default/configmaps", data=body, headers=headers)
            assert response.status == status, await response.text()

    asyncio.run(main())
