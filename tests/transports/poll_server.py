"""A hub behind a real HTTP server, as small as can be: what the suite needs of a server, and nothing else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, unquote

import uvicorn

from resonate_mq.transports.poll.hub import PollHub

TOKEN = "right"


class PollEndpoint:
    """ASGI application for `GET /poll/{group}/{pid}`."""

    def __init__(self, hub: PollHub) -> None:
        self._hub = hub

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if dict(scope["headers"]).get(b"authorization") != f"Bearer {TOKEN}".encode():
            await _answer(send, 401, b"Unauthorized")
            return
        _, _, group, pid = scope["raw_path"].decode().split("?")[0].split("/")
        announced = parse_qs(scope["query_string"].decode()).get("credits", [""])[0]
        stream = self._hub.stream(unquote(group), unquote(pid), int(announced) if announced else None)
        writing = asyncio.ensure_future(self._write(stream, send))
        leaving = asyncio.ensure_future(_left(receive))
        await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        writing.cancel()
        leaving.cancel()
        await asyncio.wait({writing, leaving})

    async def _write(self, stream: AsyncIterator[bytes], send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with aclosing(stream) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _left(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Any, status: int, text: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text})


@asynccontextmanager
async def serving(hub: PollHub) -> AsyncIterator[int]:
    """Serve the hub on a free port of 127.0.0.1 until the scope ends; gives the port."""
    config = uvicorn.Config(
        PollEndpoint(hub), log_config=None, lifespan="off", timeout_graceful_shutdown=1, access_log=False
    )
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        running = asyncio.ensure_future(server._serve([listener]))
        try:
            yield port
        finally:
            server.should_exit = server.force_exit = True
            await running
