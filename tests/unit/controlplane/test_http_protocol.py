"""What clients ask for beyond objects: server-side apply, reviews, schemas, subresources, versions of a custom kind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from controlplane.api import API
from controlplane.custom.definitions import Definitions
from controlplane.http import make_app, openapi_v2, trusted
from controlplane.http.protobuf import _fields

Obj = dict[str, Any]
Http = TestClient[web.Request, web.Application]
OverHttp = Callable[[Callable[[Http], Awaitable[None]]], None]
CONFIG_MAP = "/api/v1/namespaces/default/configmaps/c"
WIDGETS = "/apis/example.org/{}/namespaces/default/widgets"
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.org"},
    "spec": {
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [
            {
                "name": name,
                "served": served,
                "storage": name == "v1",
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
                "subresources": {
                    "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}
                },
            }
            for name, served in (("v1", True), ("v1beta1", True), ("v1alpha1", False))
        ],
    },
}


@pytest.fixture
def over_http(api: API) -> OverHttp:
    """Runs a scenario with a client of the application; widgets are served in two versions."""
    api.admit_with("CustomResourceDefinition", Definitions(api))
    api.create(DEFINITION)

    def run(scenario: Callable[[Http], Awaitable[None]]) -> None:
        async def main() -> None:
            app = make_app(api, auth=trusted)
            async with asyncio.timeout(30), TestClient(TestServer(app)) as client:
                await scenario(client)

        asyncio.run(main())

    return run


async def apply(client: Http, manager: str, data: Obj, query: str = "") -> ClientResponse:
    headers = {"Content-Type": "application/apply-patch+yaml"}
    body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "data": data})
    return await client.patch(f"{CONFIG_MAP}?fieldManager={manager}{query}", data=body, headers=headers)


def test_server_side_apply(over_http: OverHttp) -> None:
    async def scenario(client: Http) -> None:
        assert (await apply(client, "me", {"a": "1"})).status == 201
        assert (await apply(client, "me", {"a": "1", "b": "1"})).status == 200
        conflict = await apply(client, "you", {"a": "2"})
        assert conflict.status == 409
        assert (await conflict.json())["details"]["causes"][0]["field"] == ".data.a"
        taken = await (await apply(client, "you", {"a": "2"}, "&force=true")).json()
        assert taken["data"] == {"a": "2", "b": "1"}
        nameless = await apply(client, "", {"a": "2"})
        assert nameless.status == 422

    over_http(scenario)


def test_reviews_say_yes(over_http: OverHttp) -> None:
    async def scenario(client: Http) -> None:
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        spec = {"resourceAttributes": {"verb": "delete", "resource": "nodes"}}
        review = await (await client.post(path, json={"spec": spec})).json()
        assert (review["kind"], review["spec"], review["status"]["allowed"]) == (
            "SelfSubjectAccessReview",
            spec,
            True,
        )
        assert (await client.get(path)).status == 405
        assert (await client.post(path, json=[])).status == 400

    over_http(scenario)


def test_ephemeral_containers_come_through_their_own_door(
    over_http: OverHttp, api: API, pod: Callable[..., Obj]
) -> None:
    async def scenario(client: Http) -> None:
        api.create(pod())
        patch = {
            "spec": {"ephemeralContainers": [{"name": "look", "image": "busybox"}], "nodeName": "elsewhere"}
        }
        headers = {"Content-Type": "application/strategic-merge-patch+json"}
        path = "/api/v1/namespaces/default/pods/web"
        done = await client.patch(f"{path}/ephemeralcontainers", data=json.dumps(patch), headers=headers)
        spec = (await done.json())["spec"]
        assert [container["name"] for container in spec["ephemeralContainers"]] == ["look"]
        assert "nodeName" not in spec
        assert spec["ephemeralContainers"][0]["terminationMessagePath"] == "/dev/termination-log"
        gone = {"spec": {"ephemeralContainers": [{"name": "look", "$patch": "delete"}]}}
        refused = await client.patch(f"{path}/ephemeralcontainers", data=json.dumps(gone), headers=headers)
        assert (refused.status, "may not be removed" in (await refused.json())["message"]) == (422, True)

    over_http(scenario)


def test_versions_of_a_custom_kind_are_the_same_objects(over_http: OverHttp) -> None:
    async def scenario(client: Http) -> None:
        new, old = WIDGETS.format("v1"), WIDGETS.format("v1beta1")
        body = {
            "apiVersion": "example.org/v1beta1",
            "kind": "Widget",
            "metadata": {"name": "w"},
            "spec": {"size": 1},
        }
        made = await client.post(old, json=body)
        assert (made.status, (await made.json())["apiVersion"]) == (201, "example.org/v1beta1")
        assert (await (await client.get(f"{new}/w")).json())["apiVersion"] == "example.org/v1"
        listed = await (await client.get(old)).json()
        assert {listed["apiVersion"], listed["items"][0]["apiVersion"]} == {"example.org/v1beta1"}
        headers = {"Content-Type": "application/merge-patch+json"}
        patch = {"apiVersion": "example.org/v1beta1", "spec": {"size": 2}}
        assert (await client.patch(f"{old}/w", data=json.dumps(patch), headers=headers)).status == 200
        watch = await client.get(f"{old}?watch=1")
        assert json.loads(await watch.content.readline())["object"]["apiVersion"] == "example.org/v1beta1"
        watch.close()
        assert (await client.get(WIDGETS.format("v1alpha1"))).status == 404

    over_http(scenario)


def test_scale_stands_where_the_definition_says(over_http: OverHttp, api: API) -> None:
    async def scenario(client: Http) -> None:
        path = WIDGETS.format("v1") + "/w"
        api.create(
            {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}
        )
        scale = await (await client.get(f"{path}/scale")).json()
        assert scale["spec"]["replicas"] == 3
        await client.put(f"{path}/scale", json={**scale, "spec": {"replicas": 4}})
        assert (await (await client.get(path)).json())["spec"] == {"size": 4}

    over_http(scenario)


def test_schemas_follow_the_table_of_kinds(over_http: OverHttp, api: API) -> None:
    async def scenario(client: Http) -> None:
        root = await (await client.get("/openapi/v3")).json()
        url = root["paths"]["apis/example.org/v1"]["serverRelativeURL"]
        schemas = (await (await client.get(url)).json())["components"]["schemas"]
        assert schemas["org.example.v1.Widget"]["x-kubernetes-group-version-kind"][0]["kind"] == "Widget"
        api.delete("CustomResourceDefinition", "widgets.example.org")
        assert (await client.get(url)).status == 404
        assert "apis/example.org/v1" not in (await (await client.get("/openapi/v3")).json())["paths"]

    over_http(scenario)


def test_openapi_v2_in_both_forms(over_http: OverHttp) -> None:
    async def scenario(client: Http) -> None:
        described = await (await client.get("/openapi/v2")).json()
        assert described["definitions"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"]["allOf"] == [
            {"$ref": "#/definitions/io.k8s.api.core.v1.PodSpec"}
        ]
        accept = {"Accept": f"{openapi_v2.MEDIA_TYPE}@v1.0+protobuf"}
        answered = await client.get("/openapi/v2", headers=accept)
        message = dict(_fields(await answered.read()))
        assert message[1] == b"2.0"
        definitions = {dict(_fields(entry))[1] for _, entry in _fields(message[9])}
        assert definitions == {name.encode() for name in described["definitions"]}

    over_http(scenario)
