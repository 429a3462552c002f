"""The HTTP face: paths, verbs, bodies, watches, errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.http import Target, make_app, trusted
from controlplane.http.discovery import AGGREGATED

Obj = dict[str, Any]
Make = Callable[..., Obj]
Http = TestClient[web.Request, web.Application]
PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@pytest.fixture
def over_http(api: API) -> Callable[..., None]:
    """Runs a scenario with a client of the application."""

    def run(scenario: Callable[[Http], Awaitable[None]], **options: Any) -> None:
        async def main() -> None:
            app = make_app(api, **{"auth": trusted, **options})
            async with asyncio.timeout(30), TestClient(TestServer(app)) as client:
                await scenario(client)

        asyncio.run(main())

    return run


async def status_of(response: ClientResponse) -> tuple[int, str]:
    body = await response.json()
    assert body["kind"] == "Status"
    assert body["code"] == response.status
    return response.status, body["reason"]


def config_map(name: str = "c", **fields: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **fields}


def test_life_of_an_object(over_http: Callable[..., None]) -> None:
    async def scenario(client: Http) -> None:
        made = await client.post(CONFIG_MAPS, json={"metadata": {"name": "c"}, "data": {"a": "b"}})
        assert made.status == 201
        obj = await made.json()
        assert (obj["kind"], obj["apiVersion"]) == ("ConfigMap", "v1")
        replaced = await client.put(f"{CONFIG_MAPS}/c", json={**obj, "data": {"a": "c"}})
        assert (await replaced.json())["data"] == {"a": "c"}
        stale = await client.put(f"{CONFIG_MAPS}/c", json={**obj, "data": {"a": "d"}})
        assert await status_of(stale) == (409, "Conflict")
        headers = {"Content-Type": "application/merge-patch+json"}
        patched = await client.patch(f"{CONFIG_MAPS}/c", data='{"data":{"x":"y"}}', headers=headers)
        assert (await patched.json())["data"] == {"a": "c", "x": "y"}
        gone = await client.delete(f"{CONFIG_MAPS}/c")
        body = await gone.json()
        assert body["status"] == "Success"
        assert body["details"]["name"] == "c"
        assert await status_of(await client.get(f"{CONFIG_MAPS}/c")) == (404, "NotFound")

    over_http(scenario)


def test_yaml_in_and_out(over_http: Callable[..., None]) -> None:
    async def scenario(client: Http) -> None:
        text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n"
        made = await client.post(CONFIG_MAPS, data=text, headers={"Content-Type": "application/yaml"})
        assert made.status == 201
        shown = await client.get(f"{CONFIG_MAPS}/c", headers={"Accept": "application/yaml"})
        assert "kind: ConfigMap\n" in await shown.text()
        assert "\n  " in await (await client.get(f"{CONFIG_MAPS}/c?pretty=true")).text()

    over_http(scenario)


@pytest.mark.parametrize(
    ("method", "path", "body", "answer"),
    [
        ("POST", CONFIG_MAPS, b"{", (400, "BadRequest")),
        ("POST", CONFIG_MAPS, b"", (400, "BadRequest")),
        ("POST", CONFIG_MAPS, b"[]", (400, "BadRequest")),
        ("POST", CONFIG_MAPS, b'{"kind":"Pod"}', (400, "BadRequest")),
        ("POST", CONFIG_MAPS, b'{"metadata":[]}', (400, "BadRequest")),
        ("POST", CONFIG_MAPS, b'{"metadata":{"name":"x","namespace":"y"}}', (400, "BadRequest")),
        ("POST", CONFIG_MAPS, b'{"metadata":{"name":"A b"}}', (422, "Invalid")),
        ("POST", CONFIG_MAPS, b'{"data":NaN}', (400, "BadRequest")),
        ("POST", CONFIG_MAPS, b"[" * 100_000, (400, "BadRequest")),
        ("POST", CONFIG_MAPS, b'{"a":"' + b"x" * 3_200_000 + b'"}', (413, "RequestEntityTooLarge")),
        ("POST", f"{CONFIG_MAPS}?dryRun=Some", b'{"metadata":{"name":"x"}}', (422, "Invalid")),
        ("POST", f"{CONFIG_MAPS}?fieldValidation=Odd", b'{"metadata":{"name":"x"}}', (400, "BadRequest")),
        (
            "POST",
            f"{CONFIG_MAPS}?fieldValidation=Strict",
            b'{"metadata":{"name":"x"},"y":1}',
            (400, "BadRequest"),
        ),
        ("POST", "/api/v1/namespaces/none/configmaps", b'{"metadata":{"name":"x"}}', (404, "NotFound")),
        ("PUT", f"{CONFIG_MAPS}/c", b'{"metadata":{"name":"d"}}', (400, "BadRequest")),
        ("PUT", f"{CONFIG_MAPS}/c", b"{}", (404, "NotFound")),
        ("PUT", CONFIG_MAPS, b"{}", (405, "MethodNotAllowed")),
        ("PATCH", f"{CONFIG_MAPS}/c", b"{}", (404, "NotFound")),
        ("DELETE", f"{CONFIG_MAPS}/c", b"[]", (400, "BadRequest")),
        ("DELETE", f"{CONFIG_MAPS}/c", b'{"gracePeriodSeconds":"soon"}', (400, "BadRequest")),
        ("GET", "/api/v1/namespaces/default/pots", b"", (404, "NotFound")),
        ("GET", "/apis/none/v1/things", b"", (404, "NotFound")),
        ("GET", "/nowhere", b"", (404, "NotFound")),
        ("GET", "/apis/none", b"", (404, "NotFound")),
        ("GET", f"{CONFIG_MAPS}?labelSelector=a%20b", b"", (400, "BadRequest")),
        ("GET", f"{CONFIG_MAPS}?fieldSelector=spec.x=1", b"", (400, "BadRequest")),
        ("GET", f"{CONFIG_MAPS}?limit=-1", b"", (400, "BadRequest")),
        ("GET", f"{CONFIG_MAPS}?continue=%25", b"", (400, "BadRequest")),
        ("GET", f"{CONFIG_MAPS}?watch=1&resourceVersion=x", b"", (400, "BadRequest")),
        ("GET", f"{CONFIG_MAPS}?watch=1&resourceVersion=99999999", b"", (504, "Timeout")),
        ("GET", f"{PODS}/x/log", b"", (404, "NotFound")),
        ("GET", f"{CONFIG_MAPS}/c/status", b"", (404, "NotFound")),
        ("POST", f"{PODS}/x/binding", b"{}", (400, "BadRequest")),
        ("GET", f"{PODS}/x/binding", b"", (405, "MethodNotAllowed")),
    ],
)
def test_bad_requests(
    over_http: Callable[..., None], method: str, path: str, body: bytes, answer: tuple[int, str]
) -> None:
    async def scenario(client: Http) -> None:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        response = await client.request(method, path, data=body or None, headers={"Content-Type": kind})
        assert await status_of(response) == answer

    over_http(scenario)


def test_unknown_content_types(over_http: Callable[..., None]) -> None:
    async def scenario(client: Http) -> None:
        headers = {"Content-Type": "application/cbor"}
        assert await status_of(await client.post(CONFIG_MAPS, data=b"\xa0", headers=headers)) == (
            415,
            "UnsupportedMediaType",
        )

    over_http(scenario)


def test_dropped_fields_are_warned_about(over_http: Callable[..., None]) -> None:
    async def scenario(client: Http) -> None:
        made = await client.post(CONFIG_MAPS, json=config_map(colour="red"))
        assert made.status == 201
        assert made.headers["Warning"] == '299 - "unknown field \\"colour\\""'
        silent = await client.post(
            f"{CONFIG_MAPS}?fieldValidation=Ignore", json=config_map("d", colour="red")
        )
        assert "Warning" not in silent.headers
        role = {"metadata": {"name": "r"}, "rules": []}
        roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"
        told = await client.post(roles, json=role)
        assert told.headers["Warning"].startswith('299 - "Role: has no effect')

    over_http(scenario)


def test_lists_pages_and_selectors(over_http: Callable[..., None]) -> None:
    async def scenario(client: Http) -> None:
        for name in "abcde":
            obj = config_map(name)
            obj["metadata"]["labels"] = {"vowel": str(name in "ae")}
            await client.post(CONFIG_MAPS, json=obj)
        names: list[str] = []
        token = ""
        while True:
            page = await (await client.get(f"{CONFIG_MAPS}?limit=2&continue={token}")).json()
            names += [obj["metadata"]["name"] for obj in page["items"]]
            token = page["metadata"].get("continue", "")
            if not token:
                break
        assert names == list("abcde")
        assert page["kind"] == "ConfigMapList"
        chosen = await (await client.get("/api/v1/configmaps?labelSelector=vowel%3DTrue")).json()
        assert [obj["metadata"]["name"] for obj in chosen["items"]] == ["a", "e"]
        await client.delete(f"{CONFIG_MAPS}?labelSelector=vowel%3DTrue")
        rest = await (await client.get(CONFIG_MAPS)).json()
        assert len(rest["items"]) == 3

    over_http(scenario)


def test_table(over_http: Callable[..., None], pod: Make) -> None:
    async def scenario(client: Http) -> None:
        await client.post(PODS, json=pod())
        for path in (PODS, f"{PODS}/web"):
            table = await (await client.get(path, headers={"Accept": TABLE})).json()
            names = [column["name"] for column in table["columnDefinitions"] if not column["priority"]]
            assert names == ["Name", "Ready", "Status", "Restarts", "Age"]
            assert table["rows"][0]["cells"][:4] == ["web", "0/1", "Pending", "0"]
            assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"

    over_http(scenario)


def test_subresources(over_http: Callable[..., None], pod: Make, deployment: Make) -> None:
    async def scenario(client: Http) -> None:
        await client.post("/apis/apps/v1/namespaces/default/deployments", json=deployment())
        path = "/apis/apps/v1/namespaces/default/deployments/web"
        scale = await (await client.get(f"{path}/scale")).json()
        assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 3)
        headers = {"Content-Type": "application/merge-patch+json"}
        answer = await client.patch(f"{path}/scale", data='{"spec":{"replicas":5}}', headers=headers)
        assert (await answer.json())["spec"]["replicas"] == 5
        scale["spec"]["replicas"] = 1
        assert await status_of(await client.put(f"{path}/scale", json=scale)) == (409, "Conflict")
        bad = await client.patch(f"{path}/scale", data='{"spec":{"replicas":-1}}', headers=headers)
        assert await status_of(bad) == (422, "Invalid")
        await client.post(PODS, json=pod())
        body = {"status": {"phase": "Running"}}
        status = await client.patch(f"{PODS}/web/status", data=json.dumps(body), headers=headers)
        assert (await status.json())["status"]["phase"] == "Running"
        bound = await client.post(f"{PODS}/web/binding", json={"target": {"name": "n1"}})
        assert bound.status == 201
        evicted = await client.post(f"{PODS}/web/eviction", json={"deleteOptions": {"gracePeriodSeconds": 0}})
        assert evicted.status == 201
        assert (await client.get(f"{PODS}/web")).status == 404

    over_http(scenario)


def test_handlers_of_other_subresources(over_http: Callable[..., None], pod: Make) -> None:
    async def log(request: web.Request, target: Target) -> web.StreamResponse:
        if target.name != "web":
            raise StatusError(404, "NotFound", "no such pod")
        return web.Response(text=f"{target.namespace}/{target.name} {target.rest}")

    async def scenario(client: Http) -> None:
        assert await (await client.get(f"{PODS}/web/log/a/b")).text() == "default/web a/b"
        assert await status_of(await client.get(f"{PODS}/other/log")) == (404, "NotFound")

    over_http(scenario, handlers={("pods", "log"): log})


def test_an_accident_is_a_500_without_its_details(over_http: Callable[..., None]) -> None:
    async def broken(request: web.Request, target: Target) -> web.StreamResponse:
        raise ZeroDivisionError("secret")

    async def scenario(client: Http) -> None:
        response = await client.get(f"{PODS}/web/log")
        assert "secret" not in await response.text()
        assert await status_of(response) == (500, "InternalError")

    over_http(scenario, handlers={("pods", "log"): broken})


def test_nobody_gets_in_without_a_name(over_http: Callable[..., None]) -> None:
    async def scenario(client: Http) -> None:
        assert await status_of(await client.get("/api/v1/pods")) == (401, "Unauthorized")

    over_http(scenario, auth=lambda request: None)


async def next_event(response: ClientResponse) -> tuple[str, Obj]:
    event = json.loads(await response.content.readline())
    return event["type"], event["object"]


def test_watch_from_a_revision(over_http: Callable[..., None], api: API) -> None:
    async def scenario(client: Http) -> None:
        api.create(config_map("before"))
        since = api.store.revision
        api.create(config_map("a"))
        watch = await client.get(f"{CONFIG_MAPS}?watch=true&resourceVersion={since}")
        api.patch("ConfigMap", "a", "default", {"data": {"x": "y"}})
        api.delete("ConfigMap", "a", "default")
        seen = [await next_event(watch) for _ in range(3)]
        assert [(kind, obj["metadata"]["name"]) for kind, obj in seen] == [
            ("ADDED", "a"),
            ("MODIFIED", "a"),
            ("DELETED", "a"),
        ]
        revisions = [int(obj["metadata"]["resourceVersion"]) for _, obj in seen]
        assert revisions == sorted(set(revisions))

    over_http(scenario)


def test_watch_of_one_object_without_revision(over_http: Callable[..., None], api: API) -> None:
    async def scenario(client: Http) -> None:
        api.create(config_map("a"))
        api.create(config_map("b"))
        watch = await client.get(f"{CONFIG_MAPS}/b?watch=1")
        kind, obj = await next_event(watch)
        assert (kind, obj["metadata"]["name"]) == ("ADDED", "b")

    over_http(scenario)


def test_streamed_list_ends_with_a_bookmark(over_http: Callable[..., None], api: API) -> None:
    async def scenario(client: Http) -> None:
        api.create(config_map("a"))
        query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        watch = await client.get(f"{CONFIG_MAPS}?{query}")
        assert (await next_event(watch))[0] == "ADDED"
        kind, obj = await next_event(watch)
        assert kind == "BOOKMARK"
        assert obj["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert obj["metadata"]["resourceVersion"] == str(api.store.revision)

    over_http(scenario)


def test_watch_as_table_and_its_end(over_http: Callable[..., None], api: API) -> None:
    async def scenario(client: Http) -> None:
        api.create(config_map("a"))
        watch = await client.get(f"{CONFIG_MAPS}?watch=1&timeoutSeconds=1", headers={"Accept": TABLE})
        _, first = await next_event(watch)
        api.create(config_map("b"))
        _, second = await next_event(watch)
        assert first["columnDefinitions"]
        assert second["columnDefinitions"] is None
        assert second["rows"][0]["cells"][0] == "b"
        assert await watch.content.read() == b""

    over_http(scenario)


def test_watch_of_lost_history(
    over_http: Callable[..., None], api: API, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.store.HISTORY", 1)

    async def scenario(client: Http) -> None:
        since = api.store.revision
        api.create(config_map("a"))
        api.create(config_map("b"))
        assert await status_of(await client.get(f"{CONFIG_MAPS}?watch=1&resourceVersion={since}")) == (
            410,
            "Expired",
        )

    over_http(scenario)


def test_discovery(over_http: Callable[..., None]) -> None:
    async def scenario(client: Http) -> None:
        assert (await (await client.get("/api")).json())["versions"] == ["v1"]
        groups = (await (await client.get("/apis")).json())["groups"]
        assert {"apps", "discovery.k8s.io", "authorization.k8s.io"} <= {group["name"] for group in groups}
        core = await (await client.get("/api/v1")).json()
        by_name = {resource["name"]: resource for resource in core["resources"]}
        assert by_name["pods"]["shortNames"] == ["po"]
        assert by_name["pods/binding"]["kind"] == "Binding"
        assert by_name["nodes"]["namespaced"] is False
        assert (await (await client.get("/apis/apps")).json())["preferredVersion"]["version"] == "v1"
        aggregated = await client.get("/apis", headers={"Accept": f"{AGGREGATED},application/json"})
        assert aggregated.headers["Content-Type"] == AGGREGATED
        listed = (await aggregated.json())["items"][0]
        kinds = {entry["responseKind"]["kind"] for entry in listed["versions"][0]["resources"]}
        assert {"Deployment", "ReplicaSet"} <= kinds

    over_http(scenario)


def test_health_version_and_root(over_http: Callable[..., None]) -> None:
    async def scenario(client: Http) -> None:
        assert await (await client.get("/readyz")).text() == "ok"
        assert (await (await client.get("/version")).json())["minor"] == "37"
        assert "/apis" in (await (await client.get("/")).json())["paths"]

    over_http(scenario)


def test_bookmarks_come_by_themselves_and_a_lost_client_is_noticed(
    over_http: Callable[..., None], api: API, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.http.watching.BOOKMARK_INTERVAL", 0.01)

    async def scenario(client: Http) -> None:
        since = api.store.revision
        watch = await client.get(f"{CONFIG_MAPS}?watch=1&resourceVersion={since}&allowWatchBookmarks=true")
        kind, obj = await next_event(watch)
        assert (kind, obj["metadata"]["resourceVersion"]) == ("BOOKMARK", str(since))
        quiet = await client.get(f"{CONFIG_MAPS}?watch=1&resourceVersion={since}")
        assert len(api.store._watches["ConfigMap"]) == 2
        for response in (watch, quiet):
            response.close()
        while api.store._watches["ConfigMap"]:  # noqa: ASYNC110 - under the scenario's deadline
            await asyncio.sleep(0.005)

    over_http(scenario)
