"""Watches: a stream of JSON lines that lasts until the client goes, its time is over, or history is gone.

    ?watch=true&resourceVersion=N    changes after N; without it, what is there comes first as ADDED
    sendInitialEvents=true           what is there as ADDED, then a BOOKMARK that says the picture is complete
    allowWatchBookmarks=true         now and then a BOOKMARK: everything up to this revision has been told

Source: Kubernetes API concepts, "Efficient detection of changes", "Watch bookmarks", "Streaming lists".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from controlplane.api import API
from controlplane.errors import bad_request
from controlplane.http import partial, table
from controlplane.http.encode import object_json
from controlplane.http.list_options import check_watch
from controlplane.http.target import Target
from controlplane.json_text import to_json
from controlplane.meta import Obj
from controlplane.store import Event, Watch

BOOKMARK_INTERVAL = 10.0  # seconds
LONGEST = 3600.0  # seconds, when the client names no timeoutSeconds
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


def number(request: web.Request, name: str) -> int | None:
    """A query parameter that must be a number of 0 or more. Raises StatusError 400."""
    text = request.query.get(name, "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise bad_request(
            f'{name}: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text)


def flag(request: web.Request, name: str) -> bool:
    """A query parameter that is true or false; given without a value it is true."""
    return request.query.get(name, "false").lower() not in ("false", "0")


class WatchStream:
    """One client's watch."""

    def __init__(self, api: API, request: web.Request, target: Target, selectors: dict[str, str]) -> None:
        check_watch(request)
        self._request = request
        self._target = target
        self._partial = partial.wanted(request)
        self._bookmarks = flag(request, "allowWatchBookmarks")
        since = number(request, "resourceVersion")
        self._initial: list[Obj] = []
        self._announce_end = flag(request, "sendInitialEvents")
        if self._announce_end or not since:
            self._initial, since = api.list(target.kind.key, target.namespace, **selectors)
        self.watch = api.watch(target.kind.key, target.namespace, since=since, **selectors)
        self._line = _table_line(request, target) if table.wanted(request) else self._object_line

    async def run(self, opened: set[Watch]) -> web.StreamResponse:
        """Answers the request. While it runs its watch is in `opened`, for whoever has to end it."""
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        opened.add(self.watch)
        try:
            await response.prepare(self._request)
            lines = [self._line(Event("ADDED", obj)) for obj in self._initial]
            if self._announce_end:
                lines.append(self._bookmark({INITIAL_EVENTS_END: "true"}))
            self._initial = []
            await response.write(b"".join(lines))
            await self._follow(response)
            await response.write_eof()
        except (ConnectionResetError, asyncio.CancelledError):
            pass  # the client is gone
        finally:
            opened.discard(self.watch)
            self.watch.close()
        return response

    async def _follow(self, response: web.StreamResponse) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + (number(self._request, "timeoutSeconds") or LONGEST)
        while True:
            remaining = end - loop.time()
            if remaining <= 0:
                return
            try:
                async with asyncio.timeout(min(remaining, BOOKMARK_INTERVAL)):
                    going_on = await self.watch.wait()
            except TimeoutError:
                if self._request.transport is None:
                    return  # the client is gone
                if self._bookmarks:
                    await response.write(self._bookmark({}))
                continue
            await asyncio.sleep(0)  # what else happens in this round of the loop goes with it
            events = self.watch.ready()
            await response.write(b"".join(map(self._line, events)))
            if not going_on or any(event.type == "ERROR" for event in events):
                return

    def _object_line(self, event: Event) -> bytes:
        """An event as JSON; objects of the stored version are encoded once for all watchers."""
        if event.type == "ERROR":
            return _json_line(event.type, to_json(event.object))
        if self._partial:
            return _json_line(event.type, to_json(partial.of(event.object)))
        shown = self._target.presented(event.object)
        body = object_json(shown) if shown is event.object else to_json(shown)
        return _json_line(event.type, body)

    def _bookmark(self, annotations: dict[str, str]) -> bytes:
        kind = self._target.kind
        metadata: Obj = {"resourceVersion": str(self.watch.revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        body = {"kind": kind.name, "apiVersion": kind.api_version, "metadata": metadata}
        if self._partial:
            body = partial.of(body)
        return _json_line("BOOKMARK", to_json(body))


def _json_line(kind: str, body: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), body)


def _table_line(request: web.Request, target: Target) -> Callable[[Event], bytes]:
    """Each event's object is a Table of one row; only the first tells the columns."""
    include = request.query.get("includeObject", "Metadata")
    first = True

    def line(event: Event) -> bytes:
        nonlocal first
        if event.type == "ERROR":
            return _json_line(event.type, to_json(event.object))
        metadata = {"resourceVersion": event.object["metadata"].get("resourceVersion", "")}
        row = table.table(target.kind, [event.object], metadata, include, with_columns=first)
        first = False
        return _json_line(event.type, to_json(row))

    return line
