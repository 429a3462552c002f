from typing import Any

import pytest
from yarl import URL

from agents.streaming.proxy import Name, located, pod_address, service_address
from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.http import Target
from controlplane.manager import ControlPlane

Obj = dict[str, Any]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("web", Name("http", "web", "")),
        ("web:80", Name("http", "web", "80")),
        ("https:web:tls", Name("https", "web", "tls")),
        (":web:80", Name("http", "web", "80")),
        ("https:web:", Name("https", "web", "")),
    ],
)
def test_a_name_in_the_path(text: str, name: Name) -> None:
    assert Name.parse(text) == name


@pytest.mark.parametrize("text", ["a:b:c:d", "ftp:web:21"])
def test_a_name_that_is_none(text: str) -> None:
    with pytest.raises(StatusError) as refused:
        Name.parse(text)
    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("/login?a=b", "/x/proxy/login?a=b"),
        ("http://10.244.1.2:80/login", "/x/proxy/login"),
        ("there", "/x/proxy/here/there"),
        ("https://elsewhere.example/", "https://elsewhere.example/"),
    ],
)
def test_redirects_stay_behind_the_proxy(location: str, told: str) -> None:
    assert located(location, "/x/proxy", URL("http://10.244.1.2:80/here/page")) == told


@pytest.fixture
def api() -> API:
    api = ControlPlane().api
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    containers = [{"name": "app", "image": "nginx", "ports": [{"name": "http", "containerPort": 8080}]}]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": containers}}
    api.create(pod, "shop")
    ports = [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "admin", "port": 81}]
    spec = {"selector": {"app": "web"}, "ports": ports}
    api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}, "shop")
    return api


def target(api: API, kind: str, name: str) -> Target:
    return Target(next(found for found in api.kinds if found.name == kind), "shop", name, "proxy")


def give_address(api: API) -> None:
    api.update_status("Pod", "web", "shop", {"podIP": "10.244.1.2"})


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("web", "http://10.244.1.2:8080"),
        ("web:http", "http://10.244.1.2:8080"),
        ("https:web:9443", "https://10.244.1.2:9443"),
    ],
)
def test_the_address_of_a_pod(api: API, name: str, url: str) -> None:
    give_address(api)
    assert pod_address(api, target(api, "Pod", name)) == url


@pytest.mark.parametrize(("name", "code"), [("nobody", 404), ("web:nonsense", 503), ("web:99999", 503)])
def test_a_pod_that_cannot_be_reached(api: API, name: str, code: int) -> None:
    give_address(api)
    with pytest.raises(StatusError) as refused:
        pod_address(api, target(api, "Pod", name))
    assert refused.value.code == code


def test_the_address_of_a_service_is_a_ready_endpoint_of_the_port(api: API) -> None:
    with pytest.raises(StatusError, match="no endpoints available"):
        service_address(api, target(api, "Service", "web:http"))
    endpoints = [
        {"addresses": ["10.244.1.2"], "conditions": {"ready": True}},
        {"addresses": ["10.244.1.3"], "conditions": {"ready": False}},
    ]
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080}],
    }
    api.create(slice_, "shop")
    for name in ("web:http", "web:80"):
        assert service_address(api, target(api, "Service", name)) == "http://10.244.1.2:8080"
    with pytest.raises(StatusError, match="no endpoints available"):
        service_address(api, target(api, "Service", "web:admin"))
    with pytest.raises(StatusError, match="no service port"):
        service_address(api, target(api, "Service", "web:nonsense"))
