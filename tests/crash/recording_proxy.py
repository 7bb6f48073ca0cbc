"""An HTTP proxy between one worker and the server that reads every envelope on its way (the kill points).

Owns nothing but the relay: what it saw is told before the worker gets it. A request can be held, an answer kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from aiohttp import web


@dataclass(frozen=True, slots=True)
class Answer:
    """One request and its answer, taken out of batches and fences.

    Attributes:
        kind: for example task.acquire, or the inner kind of a fence: promise.record.
        id: of the promise or task it is about.
        task: the task that made it, for fences; else `id`.
        version: the version named in the request, -1 if none.
        state: of the promise in the answer, "" if none.
        at: wall-clock time it was seen.
    """

    kind: str
    id: str
    task: str
    version: int
    status: int
    state: str
    at: float


Seen = Callable[[list[Answer]], None]


class RecordingProxy:
    """Relays `POST /` and everything else to `upstream`.

    Attributes:
        answers: everything answered so far.
        on_answers: called with the answers of one message before they are relayed.
        hold: a request for which it returns True waits until `let_go` is set.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None
        self.url = ""
        self.answers: list[Answer] = []
        self.kinds: set[str] = set()
        self.heads: set[str] = set()
        self.on_answers: Seen = lambda answers: None
        self.hold: Callable[[dict[str, Any]], bool] = lambda envelope: False
        self.held = asyncio.Event()
        self.let_go = asyncio.Event()
        self._streams: set[asyncio.Task[object]] = set()

    @classmethod
    @asynccontextmanager
    async def running(cls, upstream: str) -> AsyncIterator[RecordingProxy]:
        """Listen on a free port until the scope ends."""
        proxy = cls(upstream)
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/", proxy._relay)
        app.router.add_get("/{path:.*}", proxy._stream)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            proxy._session = session
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            proxy.url = f"http://{host}:{port}"
            try:
                yield proxy
            finally:
                await runner.cleanup()

    def recorded(self) -> dict[str, float]:
        """Return the promises that were answered as resolved, with the time of the first such answer."""
        found: dict[str, float] = {}
        for answer in self.answers:
            if answer.state == "resolved" and answer.kind in ("promise.record", "promise.settle", "task.fulfill"):
                found.setdefault(answer.id, answer.at)
        return found

    def cut_streams(self) -> None:
        """End the streams of messages to the worker, as when its machine has gone."""
        for stream in self._streams:
            stream.cancel()

    async def _relay(self, request: web.Request) -> web.Response:
        body = await request.read()
        envelope = orjson.loads(body)
        self._note(envelope)
        if self.hold(envelope):
            self.held.set()
            await self.let_go.wait()
        assert self._session is not None
        try:
            async with self._session.post(self._upstream + "/", data=body, headers=_headers(request)) as response:
                status, answer = response.status, await response.read()
        except aiohttp.ClientError as error:
            return web.Response(status=502, text=str(error))
        seen = list(_answers(envelope, orjson.loads(answer)))
        self.answers += seen
        self.on_answers(seen)
        return web.Response(status=status, body=answer, content_type="application/json")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        task: asyncio.Task[object] | None = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)
        try:
            async with self._session.get(self._upstream + request.raw_path, headers=_headers(request)) as upstream:
                response = web.StreamResponse(status=upstream.status)
                response.content_type = upstream.content_type
                await response.prepare(request)
                async for chunk in upstream.content.iter_any():
                    await response.write(chunk)
                return response
        except (aiohttp.ClientError, OSError) as error:
            if request.transport is not None:
                request.transport.abort()  # a stream that had begun must end here as it ended there
            return web.Response(status=502, text=str(error))

    def _note(self, envelope: dict[str, Any]) -> None:
        self.kinds.add(envelope["kind"])
        self.heads |= set(envelope["head"])
        for inner in _requests(envelope):
            self.kinds.add(inner["kind"])
            self.heads |= set(inner["head"])
            action = inner["data"].get("action")
            if isinstance(action, dict):
                self.kinds.add(action["kind"])


def _headers(request: web.Request) -> dict[str, str]:
    kept = ("Content-Type", "Authorization", "Accept")
    return {name: request.headers[name] for name in kept if name in request.headers}


def _requests(envelope: dict[str, Any]) -> list[dict[str, Any]]:
    if envelope["kind"] != "batch":
        return [envelope]
    return [inner for sequence in envelope["data"]["sequences"] for inner in sequence]


def _answers(request: dict[str, Any], answer: dict[str, Any]) -> list[Answer]:
    if request["kind"] != "batch":
        return [_answer(request, answer)]
    if answer["head"]["status"] != 200:
        return []
    pairs = zip(request["data"]["sequences"], answer["data"]["sequences"], strict=True)
    return [_answer(*pair) for asked, answered in pairs for pair in zip(asked, answered, strict=False)]


def _answer(request: dict[str, Any], answer: dict[str, Any]) -> Answer:
    kind, data, status = request["kind"], request["data"], answer["head"]["status"]
    task = data.get("id", "")
    about, result = task, answer["data"]
    if kind == "task.fence":
        kind, about = data["action"]["kind"], data["action"]["data"]["id"]
        result = result["action"]["data"] if status == 200 else result
    promise = result.get("promise") if isinstance(result, dict) else None
    state = promise["state"] if isinstance(promise, dict) else ""
    return Answer(kind, about, task, data.get("version", -1), status, state, time.time())
