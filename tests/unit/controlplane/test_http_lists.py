"""Lists and watches as client libraries ask for them: metadata alone, resource versions, streaming lists."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from controlplane.api import API
from controlplane.http import make_app, trusted

Obj = dict[str, Any]
Http = TestClient[web.Request, web.Application]
MAPS = "/api/v1/namespaces/default/configmaps"
PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PARTIAL_LIST = (
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
)


@pytest.fixture
def over_http(api: API) -> Callable[[Callable[[Http], Awaitable[None]]], None]:
    """Runs a scenario with a client; there are two ConfigMaps."""
    for name in ("a", "b"):
        api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"x": "1"}})

    def run(scenario: Callable[[Http], Awaitable[None]]) -> None:
        async def main() -> None:
            app = make_app(api, auth=trusted)
            async with asyncio.timeout(30), TestClient(TestServer(app)) as client:
                await scenario(client)

        asyncio.run(main())

    return run


def test_metadata_alone(over_http: Callable[..., None]) -> None:
    async def scenario(client: Http) -> None:
        one = await (await client.get(f"{MAPS}/a", headers={"Accept": PARTIAL})).json()
        assert (one["kind"], one["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
        assert set(one) == {"kind", "apiVersion", "metadata"}
        many = await (await client.get(MAPS, headers={"Accept": PARTIAL_LIST})).json()
        assert (many["kind"], many["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
        assert [item["metadata"]["name"] for item in many["items"]] == ["a", "b"]
        assert all("data" not in item for item in many["items"])
        query = "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        async with client.get(MAPS + query, headers={"Accept": PARTIAL}) as stream:
            events = [json.loads(await stream.content.readline()) for _ in range(3)]
        assert [event["type"] for event in events] == ["ADDED", "ADDED", "BOOKMARK"]
        assert {event["object"]["kind"] for event in events} == {"PartialObjectMetadata"}
        whole = await (await client.get(MAPS, headers={"Accept": "application/json"})).json()
        assert whole["items"][0]["data"] == {"x": "1"}

    over_http(scenario)


@pytest.mark.parametrize(
    ("query", "code", "reason"),
    [
        ("resourceVersion=0", 200, ""),
        ("resourceVersion=NOW&resourceVersionMatch=Exact", 200, ""),
        ("resourceVersion=NOW&resourceVersionMatch=NotOlderThan", 200, ""),
        ("resourceVersion=1&resourceVersionMatch=NotOlderThan", 200, ""),
        ("resourceVersion=1&resourceVersionMatch=Exact", 410, "Expired"),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422, "Invalid"),
        ("resourceVersionMatch=Exact", 422, "Invalid"),
        ("resourceVersion=1&resourceVersionMatch=Newest", 422, "Invalid"),
        ("resourceVersion=999999", 504, "Timeout"),
        ("resourceVersion=abc", 400, "BadRequest"),
        ("sendInitialEvents=true", 422, "Invalid"),
        ("watch=1&sendInitialEvents=true", 422, "Invalid"),
        ("watch=1&resourceVersionMatch=NotOlderThan", 422, "Invalid"),
        ("watch=1&resourceVersion=999999", 504, "Timeout"),
    ],
)
def test_resource_versions(over_http: Callable[..., None], query: str, code: int, reason: str) -> None:
    async def scenario(client: Http) -> None:
        now = (await (await client.get(MAPS)).json())["metadata"]["resourceVersion"]
        answer = await client.get(f"{MAPS}?{query.replace('NOW', now)}")
        assert answer.status == code
        if code != 200:
            assert (await answer.json())["reason"] == reason

    over_http(scenario)
