"""The OpenAPI documents as they go over the wire: made when first asked for, kept until the table of kinds changes.

Making all of them takes a tenth of a second, so that is done in a thread, beside the loop where all else runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from controlplane.http import openapi, openapi_v2
from controlplane.http.target import no_such_path
from controlplane.json_text import to_json
from controlplane.kinds import Kinds

JSON = "application/json"


class Documents:
    """Answers /openapi/v2 and /openapi/v3 of one API."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._changes = kinds.changes
        self._made: dict[str, bytes] = {}

    async def answer(self, request: web.Request, parts: list[str]) -> web.Response:
        """The document at /openapi/PARTS. Raises StatusError 404."""
        if parts == ["v2"]:
            if openapi_v2.MEDIA_TYPE in request.headers.get("Accept", ""):
                body = await self._kept(
                    "v2 protobuf", lambda: openapi_v2.encode(openapi_v2.document(self._kinds))
                )
                kind = f"{openapi_v2.MEDIA_TYPE}.v1.0+protobuf"
                return web.Response(body=body, headers={"Content-Type": kind})
            return await self._json("v2", lambda: openapi_v2.document(self._kinds))
        if parts == ["v3"]:
            return await self._json("v3", lambda: openapi.root(self._kinds))
        place = "/".join(parts[1:])
        if parts[:1] != ["v3"] or place not in openapi.places(self._kinds):
            raise no_such_path()
        return await self._json(f"v3/{place}", lambda: openapi.document(self._kinds, place))

    async def _json(self, name: str, make: Callable[[], object]) -> web.Response:
        body = await self._kept(name, lambda: to_json(make()))
        return web.Response(body=body, content_type=JSON)

    async def _kept(self, name: str, make: Callable[[], bytes]) -> bytes:
        if self._changes != self._kinds.changes:
            self._changes = self._kinds.changes
            self._made.clear()
        if name not in self._made:
            changes, made = self._changes, await asyncio.to_thread(make)
            if changes != self._kinds.changes:
                return made  # already old: the next one who asks gets a new one
            self._made[name] = made
        return self._made[name]
