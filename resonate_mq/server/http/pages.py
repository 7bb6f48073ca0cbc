"""Everything but `POST /`: health, readiness, metrics, capabilities, poll streams, and the routes of yesterday.

Knows the server's parts only by what it shows of them.
"""

import asyncio
from urllib.parse import unquote

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from resonate_mq.server.authentication import TokenGate, bearer
from resonate_mq.server.endpoints import StreamEndpoint
from resonate_mq.server.http.exposition import CONTENT_TYPE, exposition
from resonate_mq.server.http.streams import stream_response
from resonate_mq.server.parts import HttpParts

LEGACY = b'{"error":"This endpoint is no longer supported. Please update to the latest SDK."}'
EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
POLL = "/poll/"


def pages(parts: HttpParts, stopping: asyncio.Event) -> ASGIApp:
    """Return the application for everything but `POST /`."""
    view = _Pages(parts, stopping)
    routes = [
        Route("/health", view.health),
        Route("/ready", view.ready),
        Route("/metrics", view.metrics),
        Route("/capabilities", view.capabilities),
        Route("/poll/{rest:path}", view.poll),
    ]
    routes += [Route(f"/{name}{rest}", view.legacy, methods=EVERY_METHOD) for name in _OLD for rest in _RESTS]
    return Starlette(routes=[*routes, Route("/", view.only_post, methods=[])])


_OLD = ("promises", "schedules", "tasks")
_RESTS = ("", "/{rest:path}")


class _Pages:
    def __init__(self, parts: HttpParts, stopping: asyncio.Event) -> None:
        self._parts = parts
        self._gate = TokenGate(parts.options.token)
        self._stopping = stopping

    async def health(self, request: Request) -> Response:
        return Response(b"", 200)

    async def ready(self, request: Request) -> Response:
        troubles = self._parts.health.troubles()
        if self._stopping.is_set():
            return _json(503, {"ready": False, "reasons": [{"part": "server", "reason": "the server is stopping"}]})
        if troubles:
            reasons = [{"part": one.part, "reason": one.reason} for one in troubles]
            return _json(503, {"ready": False, "reasons": reasons})
        return _json(200, {"ready": True})

    async def metrics(self, request: Request) -> Response:
        if not self._admits(request):
            return PlainTextResponse("Unauthorized", 401)
        return Response(await exposition(self._parts), media_type=CONTENT_TYPE)

    async def capabilities(self, request: Request) -> Response:
        if not self._admits(request):
            return PlainTextResponse("Unauthorized", 401)
        if "server.info" not in self._parts.options.extensions:
            return PlainTextResponse("Not Found", 404)
        return _json(200, self._parts.api.description())

    async def poll(self, request: Request) -> Response:
        if not self._admits(request):
            return PlainTextResponse("Unauthorized", 401)
        raw = request.scope.get("raw_path", b"").decode("latin-1").partition("?")[0]
        group, _, pid = raw.partition(POLL)[2].partition("/")
        endpoint = self._endpoint()
        if not group or not pid or endpoint is None:
            return PlainTextResponse("Not Found", 404)
        credits = request.query_params.get("credits") or request.headers.get("resonate-mq-credits")
        if credits is not None and not (credits.isascii() and credits.isdigit() and len(credits) < 9):
            return PlainTextResponse(f"credits must be an integer >= 0, got {credits[:40]!r}", 400)
        window = None if credits is None else int(credits)
        return stream_response(endpoint, self._parts.presence, unquote(group), unquote(pid), window, self._stopping)

    async def legacy(self, request: Request) -> Response:
        return Response(LEGACY, 410, media_type="application/json")

    async def only_post(self, request: Request) -> Response:
        return PlainTextResponse("Method Not Allowed", 405, headers={"Allow": "POST"})

    def _endpoint(self) -> StreamEndpoint | None:
        for transport in self._parts.transports.values():
            if isinstance(transport, StreamEndpoint):
                return transport
        return None

    def _admits(self, request: Request) -> bool:
        return self._gate.admits(bearer(request.headers.get("authorization")))


def _json(status: int, value: object) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")
