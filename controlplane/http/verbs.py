"""Each HTTP method on a collection, an object or a subresource: parameters in, a call of api.API, an answer
out.

Source: Kubernetes API reference, "Common parameters"; Kubernetes API concepts.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from controlplane import disruption, without_effect
from controlplane.api import API
from controlplane.errors import StatusError, bad_request, method_not_allowed
from controlplane.http import list_options, partial, scale, table
from controlplane.http.encode import answer, read_body
from controlplane.http.target import Target, no_such_path
from controlplane.http.watching import flag, number
from controlplane.meta import Obj
from controlplane.patching import APPLY_PATCH

Handlers = dict[str, Callable[[], Awaitable[web.Response]]]
FIELD_VALIDATION = ("Ignore", "Strict", "Warn")
BUILT_IN = (
    "",
    "status",
    "finalize",
    "ephemeralcontainers",
)  # subresources that are the object seen through another door
# Kinds whose deletion answers with the object instead of a Status (ReturnDeletedObject in k8s.io/kubernetes).
RETURNED = frozenset(
    {"PersistentVolume", "PersistentVolumeClaim", "Pod", "ResourceQuota", "Service", "ServiceAccount"}
)


class Verbs:
    """One request. `warnings` go out as headers."""

    def __init__(self, api: API, request: web.Request, target: Target) -> None:
        self.api = api
        self.request = request
        self.target = target
        self.warnings: list[str] = []

    async def run(self) -> web.Response:
        """Answers the request. Raises StatusError."""
        target, method = self.target, self.request.method
        if target.subresource not in BUILT_IN:
            return await self._subresource()
        if target.subresource and target.subresource not in target.kind.subresources:
            raise no_such_path()
        handlers = self._on_object() if target.name else self._on_collection()
        handler = handlers.get(method)
        if handler is None:
            raise method_not_allowed(f"method {method}")
        return await handler()

    def _on_collection(self) -> Handlers:
        return {"GET": self._list, "POST": self._create, "DELETE": self._delete_collection}

    def _on_object(self) -> Handlers:
        handlers: Handlers = {"GET": self._get, "PUT": self._replace, "PATCH": self._patch}
        return handlers if self.target.subresource else {**handlers, "DELETE": self._delete}

    # parameters

    def selectors(self) -> dict[str, str]:
        """Label and field selector; a path that names an object selects it (for watches)."""
        query = self.request.query
        fields = query.get("fieldSelector", "")
        if self.target.name:
            fields = ",".join(filter(None, (fields, f"metadata.name={self.target.name}")))
        return {"label_selector": query.get("labelSelector", ""), "field_selector": fields}

    def _dry_run(self, options: Obj | None = None) -> bool:
        values = self.request.query.getall("dryRun", []) + list((options or {}).get("dryRun") or ())
        for value in values:
            if value != "All":
                text = f'dryRun: Unsupported value: "{value}": supported values: "All"'
                raise StatusError(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {text}')
        return bool(values)

    def _warn(self) -> Callable[[str], None] | None:
        """What becomes of unknown fields: an error (None), a warning, or nothing."""
        wanted = self.request.query.get("fieldValidation") or "Warn"
        if wanted not in FIELD_VALIDATION:
            supported = 'supported values: "Ignore", "Strict", "Warn"'
            raise bad_request(f'fieldValidation: Unsupported value: "{wanted}": {supported}')
        if wanted == "Strict":
            return None
        return self.warnings.append if wanted == "Warn" else lambda _: None

    def _manager(self) -> str:
        """Who writes: the field manager that the client names, or its program."""
        agent = self.request.headers.get("User-Agent", "").partition("/")[0]
        return self.request.query.get("fieldManager") or agent or "unknown"

    async def _object_body(self) -> Obj:
        """The body as an object of this kind; apiVersion, kind and name may be left to the URL."""
        body = await read_body(self.request)
        if not isinstance(body, dict):
            raise bad_request("the body must be an object")
        kind = self.target.kind
        obj = {"apiVersion": kind.api_version, "kind": kind.name, **body}
        if (obj["apiVersion"], obj["kind"]) != (kind.api_version, kind.name):
            found = f"{obj['apiVersion']}, Kind={obj['kind']}"
            wanted = f"{kind.api_version}, Kind={kind.name}"
            raise bad_request(f"the object in the body ({found}) does not match the URL ({wanted})")
        if obj.get("metadata") is not None and not isinstance(obj["metadata"], dict):
            raise bad_request("metadata: Invalid value: must be an object")
        stored: Obj = self._stored_version(obj)
        return stored

    def _stored_version(self, body: Any) -> Any:
        """An object, or a merge patch, in the version that its kind is stored in."""
        kind = self.target.kind
        if not isinstance(body, dict) or body.get("apiVersion") != kind.api_version:
            return body
        return {**body, "apiVersion": self.api.kinds.get(kind.key).api_version}

    # verbs

    def _show(self, obj: Obj, status: int = 200) -> web.Response:
        if table.wanted(self.request):
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            include = self.request.query.get("includeObject", "Metadata")
            return answer(
                self.request, table.table(self.target.kind, [obj], metadata, include), status, self.warnings
            )
        shown = partial.of(obj) if partial.wanted(self.request) else self.target.presented(obj)
        return answer(self.request, shown, status, self.warnings)

    def _written(self, obj: Obj, status: int = 200) -> web.Response:
        """The answer to a write, with what of it is without effect."""
        if not self.target.subresource:
            self.warnings += without_effect.notes(obj)
        return self._show(obj, status)

    async def _get(self) -> web.Response:
        return self._show(self.api.get(self.target.kind.key, self.target.name, self.target.namespace))

    async def _list(self) -> web.Response:
        kind = self.target.kind
        list_options.check_list(self.request, self.api.store.revision)
        items, revision = self.api.list(kind.key, self.target.namespace, **self.selectors())
        metadata: Obj = {"resourceVersion": str(revision)}
        items = self._page(items, metadata)
        if table.wanted(self.request):
            include = self.request.query.get("includeObject", "Metadata")
            return answer(self.request, table.table(kind, items, metadata, include))
        if partial.wanted(self.request):
            return answer(self.request, partial.list_of(items, metadata))
        body = {
            "kind": f"{kind.name}List",
            "apiVersion": kind.api_version,
            "metadata": metadata,
            "items": [self.target.presented(obj) for obj in items],
        }
        return answer(self.request, body)

    def _page(self, items: list[Obj], metadata: Obj) -> list[Obj]:
        """The part that `limit` and `continue` ask for; what is left is told in `metadata`."""
        limit = number(self.request, "limit")
        start = _decode_continue(self.request.query.get("continue", ""))
        if start is not None:
            items = [obj for obj in items if _position(obj) > start]
        if not limit or len(items) <= limit:
            return items
        metadata["remainingItemCount"] = len(items) - limit
        metadata["continue"] = _encode_continue(_position(items[limit - 1]))
        return items[:limit]

    async def _create(self) -> web.Response:
        obj = await self._object_body()
        created = self.api.create(obj, self.target.namespace, dry_run=self._dry_run(), warn=self._warn())
        return self._written(created, 201)

    async def _replace(self) -> web.Response:
        replaced = self.api.replace(
            self._addressed(await self._object_body()),
            subresource=self.target.subresource,
            dry_run=self._dry_run(),
            warn=self._warn(),
            manager=self._manager(),
        )
        return self._written(replaced)

    def _addressed(self, obj: Obj) -> Obj:
        """The body with the URL's name and namespace. Raises StatusError 400 when it names others."""
        target, given = self.target, obj.get("metadata") or {}
        for field, wanted in (("name", target.name), ("namespace", target.namespace)):
            if given.get(field, wanted) != wanted:
                text = f"the {field} of the object ({given[field]}) does not match the {field} on the URL"
                raise bad_request(f"{text} ({wanted})")
        metadata = {**given, "name": target.name}
        if target.kind.namespaced:
            metadata["namespace"] = target.namespace
        return {**obj, "metadata": metadata}

    async def _patch(self) -> web.Response:
        target = self.target
        if self.request.content_type == APPLY_PATCH:
            return await self._apply()
        patched = self.api.patch(
            target.kind.key,
            target.name,
            target.namespace,
            self._stored_version(await read_body(self.request)),
            self.request.content_type,
            target.subresource,
            dry_run=self._dry_run(),
            warn=self._warn(),
            manager=self._manager(),
        )
        return self._written(patched)

    async def _apply(self) -> web.Response:
        """Server-side apply, which creates what is not there."""
        target, query = self.target, self.request.query
        manager = query.get("fieldManager", "")
        if not manager:
            why = "fieldManager: Required value: is required for apply patch"
            raise StatusError(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {why}')
        config = self._addressed(await self._object_body())
        there = self.api.find(target.kind.key, target.name, target.namespace) is not None
        applied = self.api.apply(
            config,
            manager,
            force=flag(self.request, "force"),
            subresource=target.subresource,
            dry_run=self._dry_run(),
            warn=self._warn(),
        )
        return self._written(applied, 200 if there else 201)

    async def _delete(self) -> web.Response:
        target = self.target
        options = await self._delete_options()
        last = self.api.delete(target.kind.key, target.name, target.namespace, **options)
        held = self.api.find(target.kind.key, target.name, target.namespace) is not None
        if held or target.kind.key in RETURNED:
            return self._show(last)
        details = {
            "name": target.name,
            "group": target.kind.group,
            "kind": target.kind.plural,
            "uid": last["metadata"]["uid"],
        }
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return answer(
            self.request, {**body, "details": {name: value for name, value in details.items() if value}}
        )

    async def _delete_collection(self) -> web.Response:
        kind = self.target.kind
        options = await self._delete_options()
        items, revision = self.api.list(kind.key, self.target.namespace, **self.selectors())
        last = [
            self.api.delete(
                kind.key, obj["metadata"]["name"], obj["metadata"].get("namespace", ""), **options
            )
            for obj in items
        ]
        metadata = {"resourceVersion": str(revision)}
        body = {
            "kind": f"{kind.name}List",
            "apiVersion": kind.api_version,
            "metadata": metadata,
            "items": [self.target.presented(obj) for obj in last],
        }
        return answer(self.request, body)

    async def _delete_options(self) -> dict[str, Any]:
        body = await read_body(self.request)
        options = {} if body is None else body
        if not isinstance(options, dict):
            raise bad_request("the body must be DeleteOptions")
        grace = options.get("gracePeriodSeconds")
        if grace is None:
            grace = number(self.request, "gracePeriodSeconds")
        if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int)):
            raise bad_request("gracePeriodSeconds: Invalid value: must be a number of seconds")
        preconditions = options.get("preconditions") or {}
        if not isinstance(preconditions, dict):
            raise bad_request("preconditions: Invalid value: must be an object")
        orphan = "Orphan" if options.get("orphanDependents") else "Background"
        propagation = (
            options.get("propagationPolicy") or self.request.query.get("propagationPolicy") or orphan
        )
        return {
            "grace_period": grace,
            "propagation": str(propagation),
            "uid": str(preconditions.get("uid") or ""),
            "resource_version": str(preconditions.get("resourceVersion") or ""),
            "dry_run": self._dry_run(options),
        }

    # subresources with a kind of their own

    async def _subresource(self) -> web.Response:
        target = self.target
        if target.subresource not in target.kind.subresources:
            raise no_such_path()
        if target.subresource == "scale":
            return await self._scale()
        if self.request.method != "POST":
            raise method_not_allowed(f"method {self.request.method}")
        body = await read_body(self.request) or {}
        if not isinstance(body, dict):
            raise bad_request("the body must be an object")
        if target.subresource == "binding":
            node = (body.get("target") or {}).get("name")
            if not isinstance(node, str) or not node:
                raise bad_request("target.name: Required value")
            self.api.bind(target.name, target.namespace, node)
        else:
            options = body.get("deleteOptions") or {}
            if not isinstance(options, dict):
                raise bad_request("deleteOptions: Invalid value: must be DeleteOptions")
            dry_run = self._dry_run(options)
            disruption.evict(self.api, target.name, target.namespace, options, dry_run=dry_run)
        return answer(
            self.request, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, 201
        )

    async def _scale(self) -> web.Response:
        target = self.target
        paths = target.kind.scale_paths
        current = self.api.get(target.kind.key, target.name, target.namespace)
        if self.request.method in ("PUT", "PATCH"):
            body = await read_body(self.request)
            patch = scale.patch(scale.of(current, paths), body, self.request, paths)
            current = self.api.patch(
                target.kind.key,
                target.name,
                target.namespace,
                patch,
                dry_run=self._dry_run(),
                manager=self._manager(),
            )
        elif self.request.method != "GET":
            raise method_not_allowed(f"method {self.request.method}")
        return answer(self.request, scale.of(current, paths))


def _position(obj: Obj) -> list[str]:
    return [obj["metadata"].get("namespace", ""), obj["metadata"]["name"]]


def _encode_continue(position: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _decode_continue(token: str) -> list[str] | None:
    if not token:
        return None
    try:
        position = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, binascii.Error):
        position = None
    if not isinstance(position, list) or [type(part) for part in position] != [str, str]:
        raise bad_request("continue: Invalid value: the continue key is not valid")
    return position
