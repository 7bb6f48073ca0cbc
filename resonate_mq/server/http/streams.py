"""One poll response: bytes of a stream endpoint as an unbounded body (protocol section 1.6)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from resonate_mq.server.endpoints import StreamEndpoint
from resonate_mq.transports.port import TransportError

# the exact content type: starlette would add a charset to a `media_type` of text
HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache",
    "connection": "keep-alive",
    "x-accel-buffering": "no",
}


def stream_response(
    endpoint: StreamEndpoint, group: str, pid: str, credits: int | None, stopping: asyncio.Event
) -> Response:
    """Return the response that carries the stream of one process, or 503 when there are too many."""
    try:
        body = endpoint.stream(group, pid, credits)
    except TransportError as error:
        return PlainTextResponse(str(error), 503)
    return StreamingResponse(_until_stopped(body, stopping), 200, HEADERS)


async def _until_stopped(body: AsyncIterator[bytes], stopping: asyncio.Event) -> AsyncIterator[bytes]:
    """Yield chunks until the stream or the server ends; the endpoint hears of the end in both cases."""
    stop = asyncio.ensure_future(stopping.wait())
    chunk: asyncio.Future[bytes] | None = None
    try:
        while not stop.done():
            chunk = asyncio.ensure_future(anext(body))
            await asyncio.wait((chunk, stop), return_when=asyncio.FIRST_COMPLETED)
            if not chunk.done():
                return
            try:
                yield chunk.result()
            except StopAsyncIteration:
                return
    finally:
        stop.cancel()
        if chunk is not None and not chunk.done():
            chunk.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await chunk
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()
