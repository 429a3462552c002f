"""The application: which path goes where, and what becomes of errors; and the server on given sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Mapping, Sequence

from aiohttp import web

from controlplane.api import API
from controlplane.errors import StatusError
from controlplane.http import reviews
from controlplane.http.auth import Authenticate, unauthorized
from controlplane.http.discovery import VERSION, answer_discovery
from controlplane.http.documents import Documents
from controlplane.http.encode import BODY_LIMIT, answer, failure
from controlplane.http.target import Handler, no_such_path, parse
from controlplane.http.verbs import Verbs
from controlplane.http.watching import WatchStream, flag
from controlplane.store import Watch

HEALTH = ("healthz", "livez", "readyz")
SHUTDOWN = 1.0  # seconds that open requests get when the server ends
_REASONS = {404: "NotFound", 405: "MethodNotAllowed", 413: "RequestEntityTooLarge"}
USER: web.RequestKey[str] = web.RequestKey("user", str)

log = logging.getLogger(__name__)


class _Application:
    """Answers every request."""

    def __init__(self, api: API, auth: Authenticate, handlers: Mapping[tuple[str, str], Handler]) -> None:
        self._api = api
        self._auth = auth
        self._handlers = handlers
        self._watches: set[Watch] = set()
        self._documents = Documents(api.kinds)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Whatever happens becomes an answer."""
        try:
            user = self._auth(request)
            if user is None:
                raise unauthorized()
            request[USER] = user
            return await self._dispatch(request)
        except StatusError as error:
            return failure(request, error)
        except web.HTTPException as error:
            return failure(
                request, StatusError(error.status, _REASONS.get(error.status, "BadRequest"), error.reason)
            )
        except RecursionError:
            return failure(request, StatusError(400, "BadRequest", "the body is too deeply nested"))
        except Exception:
            log.exception("%s %s", request.method, request.path)
            return failure(
                request, StatusError(500, "InternalError", "Internal error occurred: see the lab's log")
            )

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        parts = [part for part in request.path.split("/") if part]
        first = parts[0] if parts else ""
        if first in HEALTH:
            return web.Response(text="ok")
        if parts == ["version"]:
            return answer(request, VERSION)
        if not parts:
            return answer(
                request,
                {
                    "paths": [
                        "/api",
                        "/api/v1",
                        "/apis",
                        *(f"/{name}" for name in HEALTH),
                        "/openapi/v2",
                        "/openapi/v3",
                        "/version",
                    ]
                },
            )
        if first == "openapi":
            return await self._documents.answer(request, parts[1:])
        if first not in ("api", "apis"):
            raise no_such_path()
        review = reviews.find(request.path)
        if review is not None:
            return await reviews.answer_review(request, review, request[USER])
        if len(parts) <= (2 if first == "api" else 3):
            return answer_discovery(request, self._api.kinds)
        return await self._resource(request)

    async def _resource(self, request: web.Request) -> web.StreamResponse:
        target = parse(self._api.kinds, request.path)
        handler = self._handlers.get((target.kind.plural, target.subresource))
        if handler is not None:
            return await handler(request, target)
        verbs = Verbs(self._api, request, target)
        if request.method == "GET" and not target.subresource and flag(request, "watch"):
            return await WatchStream(self._api, request, target, verbs.selectors()).run(self._watches)
        response = await verbs.run()
        if request.method != "GET":
            await self._api.store.synced()
        return response

    async def close(self, _: web.Application) -> None:
        """Ends all watches, so that nobody holds up the server's end."""
        for watch in tuple(self._watches):
            watch.close()


def make_app(
    api: API, *, auth: Authenticate, handlers: Mapping[tuple[str, str], Handler] | None = None
) -> web.Application:
    """The application.

    `auth` says who is asking. `handlers` answer subresources that need more than the store, by (plural,
    subresource), e.g. ("pods", "log"); they get the request and its Target, and may raise StatusError.
    """
    answerer = _Application(api, auth, handlers or {})
    app = web.Application(client_max_size=BODY_LIMIT)
    app.router.add_route("*", "/{path:.*}", answerer.answer)
    app.on_shutdown.append(answerer.close)
    return app


async def serve(
    app: web.Application, sockets: Sequence[socket.socket], ssl_context: ssl.SSLContext | None
) -> None:
    """Answers on listening sockets until cancelled: Unix sockets in the clear, all others with TLS if a
    context is given.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN)
    await runner.setup()
    try:
        for listening in sockets:
            context = None if listening.family == socket.AF_UNIX else ssl_context
            await web.SockSite(runner, listening, ssl_context=context).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
