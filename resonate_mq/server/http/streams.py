"""One poll response: bytes of a stream endpoint as an unbounded body (protocol section 1.6).

A message costs one `send`; what ends a stream (the endpoint, the client, the server's stop) is watched once a stream.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from resonate_mq.server.endpoints import StreamEndpoint
from resonate_mq.server.presence import Presence
from resonate_mq.transports.port import TransportError

HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),  # a proxy that collects bytes would hold hints back
]


def stream_response(
    endpoint: StreamEndpoint,
    presence: Presence,
    group: str,
    pid: str,
    credits: int | None,
    stopping: asyncio.Event,
) -> Response:
    """Return the response that carries the stream of one process, or 503 when there are too many."""
    try:
        body = endpoint.stream(group, pid, credits)
    except TransportError as error:
        return PlainTextResponse(str(error), 503)
    # whoever announces no credits is no worker of ours: its group gets one standard message for each hint (D41)
    plain = presence.plain_member(group) if credits is None else contextlib.nullcontext()
    return _Stream(body, plain, stopping)


class _Stream(Response):
    def __init__(
        self, body: AsyncIterator[bytes], noted: contextlib.AbstractContextManager[None], stopping: asyncio.Event
    ) -> None:
        super().__init__()
        self._chunks = body
        self._noted = noted
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send chunks until the endpoint ends the stream, the client goes, or the server stops."""
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        pump = asyncio.create_task(self._pump(send))
        ends = (pump, asyncio.create_task(_gone(receive)), asyncio.create_task(_set(self._stopping)))
        try:
            with self._noted:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            close = getattr(self._chunks, "aclose", None)
            if close is not None:
                await close()  # the endpoint has to know before anybody asks again
        if not pump.cancelled():
            pump.result()
        await send({"type": "http.response.body", "body": b""})

    async def _pump(self, send: Send) -> None:
        async for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _set(event: asyncio.Event) -> None:
    await event.wait()
