"""One row for each rule: what is written, and the exact complaint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.api import API
from controlplane.errors import StatusError

Obj = dict[str, Any]


def container(**fields: Any) -> Obj:
    return {"name": "c", "image": "nginx", **fields}


def pod(spec: Obj | None = None, **container_fields: Any) -> Obj:
    obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    return {**obj, "spec": {"containers": [container(**container_fields)], **(spec or {})}}


def service(**spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 80}], **spec},
    }


def deployment(**spec: Any) -> Obj:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container()]}}
    body = {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": body}


def endpoint_slice(family: str, *addresses: str, **fields: Any) -> Obj:
    endpoints = [{"addresses": [address]} for address in addresses]
    obj = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "e"}}
    return {**obj, "addressType": family, "endpoints": endpoints, **fields}


def node(**spec: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": spec}


def config(**fields: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, **fields}


def named(obj: Obj, **metadata: Any) -> Obj:
    return {**obj, "metadata": {**obj["metadata"], **metadata}}


SUBDOMAIN = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
LABEL = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'"
RANGE = "must be between 1 and 65535, inclusive"
POSITIVE = "must be greater than or equal to 0"
TAKEN = [{"name": "x", "port": 1}, {"name": "x", "port": 2}]
IMMUTABLE = "field is immutable"

BAD = [
    # metadata
    (named(pod(), name=""), "metadata.name: Required value: name or generateName is required"),
    (named(pod(), name="Web"), f'metadata.name: Invalid value: "Web": {SUBDOMAIN}'),
    (
        named(pod(), name="a" * 254),
        f'metadata.name: Invalid value: "{"a" * 254}": must be no more than 253 bytes',
    ),
    (
        named(pod(), labels={"a": "b c"}),
        'metadata.labels: Invalid value: "b c": a valid label must be an empty string',
    ),
    (named(pod(), labels={"a/b/c": ""}), 'metadata.labels: Invalid value: "a/b/c": a valid label key'),
    (named(pod(), labels={"/c": ""}), 'metadata.labels: Invalid value: "/c": prefix part must be non-empty'),
    (
        named(pod(), labels={"x": "y" * 64}),
        f'metadata.labels: Invalid value: "{"y" * 64}": must be no more than 63 bytes',
    ),
    (
        named(pod(), annotations={"": "x"}),
        'metadata.annotations: Invalid value: "": name part must be non-empty',
    ),
    (
        named(pod(), annotations={"a": "x" * 262144}),
        "metadata.annotations: Too long: may not be more than 262144 bytes",
    ),
    (
        named(pod(), finalizers=["a b"]),
        'metadata.finalizers[0]: Invalid value: "a b": name part must consist',
    ),
    (
        named(pod(), ownerReferences=[{"kind": "X"}]),
        'metadata.ownerReferences[0].apiVersion: Invalid value: "": must not be',
    ),
    (named(node(), namespace="x"), "metadata.namespace: Forbidden: not allowed on this type"),
    # pods
    (pod({"containers": []}), "spec.containers: Required value"),
    (pod({"containers": [{"image": "x"}]}), "spec.containers[0].name: Required value"),
    (pod(name="C"), f'spec.containers[0].name: Invalid value: "C": {LABEL}'),
    (pod(image=""), "spec.containers[0].image: Required value"),
    (
        pod(image=" x"),
        'spec.containers[0].image: Invalid value: " x": must not have leading or trailing whitespace',
    ),
    (pod({"containers": [container(), container()]}), 'spec.containers[1].name: Duplicate value: "c"'),
    (pod({"initContainers": [container()]}), 'spec.initContainers[0].name: Duplicate value: "c"'),
    (
        pod({"restartPolicy": "Often"}),
        'spec.restartPolicy: Unsupported value: "Often": supported values: "Always", "Never"',
    ),
    (
        pod({"dnsPolicy": "None"}),
        "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver",
    ),
    (
        pod({"dnsConfig": {"nameservers": ["dns.example"]}}),
        'spec.dnsConfig.nameservers[0]: Invalid value: "dns.example": must be a valid IP address',
    ),
    (
        pod({"dnsConfig": {"nameservers": [f"192.0.2.{n}" for n in range(4)]}}),
        "spec.dnsConfig.nameservers: Invalid value: ",
    ),
    (pod({"dnsConfig": {"searches": ["a"] * 33}}), "spec.dnsConfig.searches: Invalid value: "),
    (pod({"dnsConfig": {"searches": ["a" * 200] * 11}}), "spec.dnsConfig.searches: Invalid value: "),
    (
        pod({"dnsConfig": {"searches": ["a_b"]}}),
        f'spec.dnsConfig.searches[0]: Invalid value: "a_b": {SUBDOMAIN}',
    ),
    (pod({"dnsConfig": {"options": [{"value": "2"}]}}), "spec.dnsConfig.options[0]: Required value"),
    (pod({"dnsPolicy": "Some"}), 'spec.dnsPolicy: Unsupported value: "Some"'),
    (pod({"hostname": "a.b"}), f'spec.hostname: Invalid value: "a.b": {LABEL}'),
    (
        pod({"terminationGracePeriodSeconds": -1}),
        f"spec.terminationGracePeriodSeconds: Invalid value: -1: {POSITIVE}",
    ),
    (
        pod({"hostAliases": [{"ip": "1.2.3"}]}),
        'spec.hostAliases[0].ip: Invalid value: "1.2.3": must be a valid IP address',
    ),
    (
        pod({"tolerations": [{"operator": "Equal"}]}),
        'spec.tolerations[0].operator: Invalid value: "Equal": operator must be',
    ),
    (
        pod({"tolerations": [{"key": "a", "operator": "Is"}]}),
        'spec.tolerations[0].operator: Unsupported value: "Is"',
    ),
    (pod({"volumes": [{"name": "v"}, {"name": "v"}]}), 'spec.volumes[1].name: Duplicate value: "v"'),
    (pod({"volumes": [{}]}), "spec.volumes[0].name: Required value"),
    (pod({"volumes": [{"name": "v", "hostPath": {}}]}), "spec.volumes[0].hostPath.path: Required value"),
    (
        pod({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}),
        "spec.volumes[0]: Forbidden: may not specify more than 1 volume type",
    ),
    # containers
    (
        pod(ports=[{"containerPort": 0}]),
        f"spec.containers[0].ports[0].containerPort: Invalid value: 0: {RANGE}",
    ),
    (pod(ports=[{"name": "x"}]), "spec.containers[0].ports[0].containerPort: Required value"),
    (
        pod(ports=[{"containerPort": 1, "protocol": "ICMP"}]),
        'spec.containers[0].ports[0].protocol: Unsupported value: "ICMP"',
    ),
    (
        pod(ports=[{"containerPort": 1, "name": "much-too-long-name"}]),
        'spec.containers[0].ports[0].name: Invalid value: "much-too-long-name": must be no more than 15',
    ),
    (
        pod(ports=[{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]),
        'spec.containers[0].ports[1].name: Duplicate value: "a"',
    ),
    (pod(env=[{"value": "x"}]), "spec.containers[0].env[0].name: Required value"),
    (pod(env=[{"name": "1x"}]), None),
    (
        pod(env=[{"name": "a=b"}]),
        'spec.containers[0].env[0].name: Invalid value: "a=b": a valid environment variable name',
    ),
    (pod(env=[{"name": "A", "valueFrom": {}}]), "spec.containers[0].env[0].valueFrom: Invalid value"),
    (
        pod(volumeMounts=[{"name": "v", "mountPath": "/x"}]),
        'spec.containers[0].volumeMounts[0].name: Not found: "v"',
    ),
    (
        pod(readinessProbe={}),
        "spec.containers[0].readinessProbe: Required value: must specify a handler type",
    ),
    (pod(livenessProbe={"exec": {}}), "spec.containers[0].livenessProbe.exec.command: Required value"),
    (
        pod(livenessProbe={"tcpSocket": {"port": 99999}}),
        f"spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: 99999: {RANGE}",
    ),
    (
        pod(livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2}),
        "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
    ),
    # services
    (service(ports=[]), "spec.ports: Required value"),
    (service(ports=[{"port": 70000, "targetPort": 1}]), f"spec.ports[0].port: Invalid value: 70000: {RANGE}"),
    (service(ports=[{"targetPort": 1}]), f"spec.ports[0].port: Invalid value: 0: {RANGE}"),
    (service(ports=[{"port": 1}, {"port": 2}]), "spec.ports[0].name: Required value"),
    (service(ports=TAKEN), 'spec.ports[1].name: Duplicate value: "x"'),
    (
        service(ports=[{"name": "x", "port": 1}, {"name": "y", "port": 1}]),
        'spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":1,',
    ),
    (
        service(ports=[{"port": 1, "targetPort": "A_B"}]),
        'spec.ports[0].targetPort: Invalid value: "A_B": must contain only',
    ),
    (service(ports=[{"port": 1, "protocol": "X"}]), 'spec.ports[0].protocol: Unsupported value: "X"'),
    (
        service(externalIPs=["127.0.0.1"]),
        'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range',
    ),
    (
        service(externalIPs=["fe80::1"]),
        'spec.externalIPs[0]: Invalid value: "fe80::1": may not be in the link-local range',
    ),
    (service(externalIPs=["239.1.2.3"]), None),
    (
        service(loadBalancerSourceRanges=["10.0.0.0/8"]),
        "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
    ),
    (
        service(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/99"]),
        'spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.0/99": must be a valid CIDR value',
    ),
    (service(type="LoadBalancer", loadBalancerSourceRanges=[" 10.1.2.3/8 "]), None),
    (
        service(externalTrafficPolicy="Local"),
        'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible',
    ),
    (service(externalTrafficPolicy="Local", externalIPs=["192.0.2.1"]), None),
    (
        service(ports=[{"port": 1, "nodePort": 30001}]),
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    ),
    (
        service(type="Magic"),
        'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName"',
    ),
    (service(type="ExternalName"), "spec.externalName: Required value"),
    (
        service(type="NodePort", clusterIP="None"),
        "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None'",
    ),
    (service(sessionAffinity="Cookie"), 'spec.sessionAffinity: Unsupported value: "Cookie"'),
    (
        service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 90000}}),
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be greater than 0",
    ),
    (service(internalTrafficPolicy="Near"), 'spec.internalTrafficPolicy: Unsupported value: "Near"'),
    (service(externalIPs=["1.2"]), 'spec.externalIPs[0]: Invalid value: "1.2": must be a valid IP address'),
    (
        service(loadBalancerClass="x"),
        "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
    ),
    (named(service(), name="1a"), 'metadata.name: Invalid value: "1a": a DNS-1035 label must consist'),
    # workloads
    (deployment(selector=None), "spec.selector: Required value"),
    (deployment(template=None), "spec.template: Required value"),
    (deployment(selector={}), "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
    (
        deployment(selector={"matchLabels": {"a": "c"}}),
        'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template',
    ),
    (
        deployment(selector={"matchExpressions": [{"key": "a", "operator": "Near"}]}),
        'spec.selector.matchExpressions[0].operator: Invalid value: "Near": not a valid selector operator',
    ),
    (
        deployment(selector={"matchExpressions": [{"key": "a", "operator": "In"}]}),
        "spec.selector.matchExpressions[0].values: Required value: must be specified",
    ),
    (deployment(replicas=-1), f"spec.replicas: Invalid value: -1: {POSITIVE}"),
    (deployment(strategy={"type": "Slow"}), 'spec.strategy.type: Unsupported value: "Slow"'),
    (
        deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
    ),
    (
        deployment(strategy={"rollingUpdate": {"maxSurge": "many"}}),
        'spec.strategy.rollingUpdate.maxSurge: Invalid value: "many": a valid percent string',
    ),
    (
        deployment(strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
        "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
    ),
    (
        deployment(progressDeadlineSeconds=5, minReadySeconds=5),
        "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds",
    ),
    # slices, nodes, the rest
    (endpoint_slice("IPv4", "10.0.0.1"), None),
    (
        endpoint_slice("IPv4", "fd00::1"),
        'endpoints[0].addresses[0]: Invalid value: "fd00::1": must be a valid IPv4 address',
    ),
    (
        endpoint_slice("IPv4", "127.0.0.1"),
        'endpoints[0].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback',
    ),
    (
        endpoint_slice("IPv4", "224.0.0.7"),
        'endpoints[0].addresses[0]: Invalid value: "224.0.0.7": may not be in the link-local multicast range',
    ),
    (
        endpoint_slice("IPv4", endpoints=[{"addresses": ["10.0.0.1"], "nodeName": "Bad Node"}]),
        'endpoints[0].nodeName: Invalid value: "Bad Node"',
    ),
    (
        endpoint_slice(
            "IPv4", endpoints=[{"addresses": ["10.0.0.1"], "hints": {"forZones": [{"name": "a b"}]}}]
        ),
        'endpoints[0].hints.forZones[0].name: Invalid value: "a b"',
    ),
    (
        endpoint_slice(
            "IPv4", endpoints=[{"addresses": ["10.0.0.1"], "hints": {"forNodes": [{"name": "n"}] * 2}}]
        ),
        'endpoints[0].hints.forNodes[1].name: Duplicate value: "n"',
    ),
    (endpoint_slice("IPX"), 'addressType: Unsupported value: "IPX"'),
    (endpoint_slice("IPv6", endpoints=[{"addresses": []}]), "endpoints[0].addresses: Required value"),
    (endpoint_slice("IPv4", ports=[{"port": 1}, {"port": 2}]), 'ports[1].name: Duplicate value: ""'),
    (node(taints=[{"key": "a", "effect": "Never"}]), 'spec.taints[0].effect: Unsupported value: "Never"'),
    (
        node(podCIDR="10.0.0.0/24"),
        "spec.podCIDRs: Invalid value: []: the first value must be the same as podCIDR",
    ),
    (node(podCIDR="x", podCIDRs=["x"]), 'spec.podCIDRs[0]: Invalid value: "x": must be a valid CIDR value'),
    (config(data={"a/b": ""}), 'data[a/b]: Invalid value: "a/b": a valid config key'),
    (
        config(data={"a": ""}, binaryData={"a": ""}),
        'data[a]: Invalid value: "a": duplicate of key present in binaryData',
    ),
    (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "%"}},
        'data[a]: Invalid value: "<secret contents redacted>": illegal base64 data',
    ),
    (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "ü"}},
        'data[a]: Invalid value: "<secret contents redacted>": illegal base64 data',
    ),
    (
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "l"},
            "spec": {"leaseDurationSeconds": 0},
        },
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
    ),
]


@pytest.mark.parametrize(("obj", "complaint"), BAD, ids=[str(row[1])[:60] for row in BAD])
def test_complaint(api: API, obj: Obj, complaint: str | None) -> None:
    if complaint is None:
        api.create(obj)
        return
    with pytest.raises(StatusError) as caught:
        api.create(obj)
    assert caught.value.code == 422
    lines = [f"{cause['field']}: {cause['message']}" for cause in caught.value.details["causes"]]
    assert any(line.startswith(complaint) for line in lines), lines
    assert complaint in caught.value.message
    assert api.list(obj["kind"])[0] == []


CHANGES: list[tuple[Obj, Obj, str]] = [
    (deployment(), {"spec": {"selector": {"matchLabels": {"x": "y"}}}}, "spec.selector: Invalid value: {"),
    (pod(), {"spec": {"hostNetwork": True}}, "spec: Forbidden: pod updates may not change fields other than"),
    (
        pod({"tolerations": [{"key": "a", "operator": "Exists"}]}),
        {"spec": {"tolerations": []}},
        "spec.tolerations: Forbidden: existing toleration can not be modified",
    ),
    (
        config(data={"a": "b"}, immutable=True),
        {"data": {"a": "c"}},
        "data: Forbidden: field is immutable when `immutable` is set",
    ),
    (
        config(immutable=True),
        {"immutable": False},
        "immutable: Forbidden: field is immutable when `immutable` is set",
    ),
    (endpoint_slice("IPv4"), {"addressType": "IPv6"}, f'addressType: Invalid value: "IPv6": {IMMUTABLE}'),
    (
        node(podCIDR="10.0.0.0/24", podCIDRs=["10.0.0.0/24"]),
        {"spec": {"podCIDR": "10.0.1.0/24", "podCIDRs": ["10.0.1.0/24"]}},
        "spec.podCIDRs: Forbidden: node updates may not change podCIDR",
    ),
]


@pytest.mark.parametrize(("obj", "patch", "complaint"), CHANGES, ids=[row[2][:40] for row in CHANGES])
def test_forbidden_change(api: API, obj: Obj, patch: Obj, complaint: str) -> None:
    made = api.create(obj)
    with pytest.raises(StatusError) as caught:
        api.patch(obj["kind"], obj["metadata"]["name"], made["metadata"].get("namespace", ""), patch)
    assert complaint in caught.value.message


def test_what_a_running_pod_may_change(api: API) -> None:
    api.create(pod())
    patch = [{"op": "replace", "path": "/spec/containers/0/image", "value": "nginx:2"}]
    assert (
        api.patch("Pod", "p", "default", patch, "application/json-patch+json")["spec"]["containers"][0][
            "image"
        ]
        == "nginx:2"
    )


def test_several_complaints_in_one_message(api: API) -> None:
    with pytest.raises(StatusError) as caught:
        api.create(deployment(replicas=-1, minReadySeconds=-1))
    assert caught.value.message.startswith('Deployment.apps "d" is invalid: [spec.replicas: ')
    assert len(caught.value.details["causes"]) == 2


@pytest.mark.parametrize(
    "make", [pod, service, deployment, node, config], ids=lambda make: str(make.__name__)
)
def test_good_objects_are_accepted_and_stay_valid(api: API, make: Callable[[], Obj]) -> None:
    made = api.create(make())
    assert api.replace(made) is made
