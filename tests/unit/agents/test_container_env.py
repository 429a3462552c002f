"""A container's environment, in the order and with the references that the API's documentation gives."""

from typing import Any

import pytest

from agents.container_env import ConfigError, environment, expand, pod_field, service_links

POD: dict[str, Any] = {
    "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web", "tier": "front"}},
    "spec": {"nodeName": "worker1"},
    "status": {
        "podIP": "10.244.1.2",
        "podIPs": [{"ip": "10.244.1.2"}, {"ip": "fd00::2"}],
        "hostIP": "192.168.50.21",
    },
}
DATABASE = {
    "metadata": {"name": "my-db", "namespace": "shop"},
    "spec": {
        "clusterIP": "10.96.3.4",
        "ports": [{"name": "sql-port", "port": 5432}, {"name": "x", "port": 1, "protocol": "UDP"}],
    },
}
OBJECTS = {
    ("ConfigMap", "settings"): {"kind": "ConfigMap", "data": {"COLOR": "blue", "SIZE": "9"}},
    ("Secret", "keys"): {"kind": "Secret", "data": {"TOKEN": "czNjcjN0"}},
}


def lookup(kind: str, name: str) -> dict[str, Any] | None:
    return OBJECTS.get((kind, name))


def env_of(
    container: dict[str, Any], services: tuple[dict[str, Any], ...] = (), **spec: Any
) -> dict[str, str]:
    pod = {**POD, "spec": {**POD["spec"], **spec}}
    return environment(pod, container, {"PATH": "/bin", "COLOR": "of the image"}, services, lookup)


def test_the_later_source_wins() -> None:
    container = {
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "env": [{"name": "SIZE", "value": "10"}],
    }
    env = env_of(container)
    assert (env["COLOR"], env["SIZE"], env["PATH"], env["HOSTNAME"]) == ("blue", "10", "/bin", "web-1")


def test_references_see_what_came_before_them_only() -> None:
    variables = [("A", "1"), ("B", "$(A)$(C)$$(A)"), ("C", "$(B)")]
    env = env_of({"env": [{"name": name, "value": value} for name, value in variables]})
    assert (env["B"], env["C"]) == ("1$(C)$(A)", "1$(C)$(A)")
    assert expand("$(HOST):$(PORT) $HOME $$", {"HOST": "db"}) == "db:$(PORT) $HOME $"


def test_values_from_objects_and_from_the_pod_itself() -> None:
    sources = {
        "TOKEN": {"secretKeyRef": {"name": "keys", "key": "TOKEN"}},
        "NODE": {"fieldRef": {"fieldPath": "spec.nodeName"}},
        "NONE": {"configMapKeyRef": {"name": "gone", "key": "x", "optional": True}},
        "CPU": {"resourceFieldRef": {"resource": "limits.cpu"}},
    }
    env = env_of({"env": [{"name": name, "valueFrom": source} for name, source in sources.items()]})
    assert (env["TOKEN"], env["NODE"], env["CPU"], "NONE" in env) == ("s3cr3t", "worker1", "16", False)


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"configMapRef": {"name": "gone"}}]}, 'configmap "gone" not found'),
        (
            {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "x"}}}]},
            'secret "gone" not found',
        ),
        (
            {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "x"}}}]},
            "couldn't find key x in Secret shop/keys",
        ),
    ],
)
def test_what_is_not_there_is_named(container: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        env_of(container)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-1"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['none']", ""),
        ("metadata.labels", 'app="web"\ntier="front"'),
        ("status.podIPs", "10.244.1.2,fd00::2"),
        ("status.hostIP", "192.168.50.21"),
        ("spec.serviceAccountName", ""),
    ],
)
def test_fields_of_the_pod(path: str, value: str) -> None:
    assert pod_field(POD, path) == value


def test_a_services_variables_are_those_of_the_documentation() -> None:
    assert service_links(DATABASE) == {
        "MY_DB_SERVICE_HOST": "10.96.3.4",
        "MY_DB_SERVICE_PORT": "5432",
        "MY_DB_SERVICE_PORT_SQL_PORT": "5432",
        "MY_DB_SERVICE_PORT_X": "1",
        "MY_DB_PORT": "tcp://10.96.3.4:5432",
        "MY_DB_PORT_5432_TCP": "tcp://10.96.3.4:5432",
        "MY_DB_PORT_5432_TCP_PROTO": "tcp",
        "MY_DB_PORT_5432_TCP_PORT": "5432",
        "MY_DB_PORT_5432_TCP_ADDR": "10.96.3.4",
        "MY_DB_PORT_1_UDP": "udp://10.96.3.4:1",
        "MY_DB_PORT_1_UDP_PROTO": "udp",
        "MY_DB_PORT_1_UDP_PORT": "1",
        "MY_DB_PORT_1_UDP_ADDR": "10.96.3.4",
    }
    assert (
        service_links({"metadata": {"name": "x"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}})
        == {}
    )


def test_links_can_be_left_out_but_for_the_api() -> None:
    kubernetes = {
        "metadata": {"name": "kubernetes"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 443}]},
    }
    env = env_of({}, (DATABASE, kubernetes), enableServiceLinks=False)
    assert ("MY_DB_SERVICE_HOST" in env, env["KUBERNETES_SERVICE_HOST"]) == (False, "10.96.0.1")
    assert env_of({}, (DATABASE,))["MY_DB_SERVICE_HOST"] == "10.96.3.4"
