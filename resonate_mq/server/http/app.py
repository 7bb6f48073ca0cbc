"""Routes of the HTTP API (protocol section 1.4). `POST /` is answered here, on the shortest way; the rest by starlette.

Owns the body limit and what a status looks like in HTTP. Knows no request of the protocol.
"""

import asyncio
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send

from resonate_mq.protocol.envelope import Reply, reply_envelope
from resonate_mq.server.authentication import bearer
from resonate_mq.server.http.pages import pages
from resonate_mq.server.parts import HttpParts

SMALL_BODY = 64 * 1024  # an answer below it fits the socket's buffer: no timeout needed for writing it
CLOSING = (b"connection", b"close")
JSON = (b"content-type", b"application/json")


class HttpApp:
    """The ASGI application."""

    def __init__(self, parts: HttpParts) -> None:
        self._api = parts.api
        self._max_body = parts.options.max_body_bytes
        self._read_s = parts.options.request_read_s
        self._stopping = asyncio.Event()
        self._pages = pages(parts, self._stopping)

    def stop(self) -> None:
        """End all streams; answers from now on close their connection."""
        self._stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == "/":
            await self._post(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        token: str | None = None
        length = 0
        for name, value in scope["headers"]:
            if name == b"authorization":
                token = bearer(value)
            elif name == b"content-length" and value.isdigit():
                length = int(value)
        if length > self._max_body:
            await _too_large(send, self._max_body)
            return
        message = await receive() if not length else await self._first(receive)
        body = message.get("body", b"")
        if message.get("more_body") or message["type"] != "http.request":
            whole = await self._read(message, receive)
            if whole is None:
                await _refuse(send, 408, f"the request body did not arrive within {self._read_s:g} s")
                return
            body = whole
        if len(body) > self._max_body:
            await _too_large(send, self._max_body)
            return
        status, answer = await self._api.handle(body, token)
        await self._send(send, status, answer)

    async def _first(self, receive: Receive) -> Message:
        try:
            async with asyncio.timeout(self._read_s):
                return await receive()
        except TimeoutError:
            return {"type": "http.request", "body": b"", "more_body": True}

    async def _read(self, first: Message, receive: Receive) -> bytes | None:
        """Return the whole body, at most one chunk more than allowed; None when the client took too long."""
        chunks = [first.get("body", b"")]
        size = len(chunks[0])
        message = first
        try:
            async with asyncio.timeout(self._read_s):
                while message["type"] == "http.request" and message.get("more_body") and size <= self._max_body:
                    message = await receive()
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
        except TimeoutError:
            return None
        return b"".join(chunks)

    async def _send(self, send: Send, status: int, answer: bytes) -> None:
        headers = [JSON, (b"content-length", b"%d" % len(answer))]
        if self._stopping.is_set():
            headers.append(CLOSING)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if len(answer) <= SMALL_BODY:
            await send({"type": "http.response.body", "body": answer})
            return
        async with asyncio.timeout(self._read_s):  # a client that does not read must not hold its answer for ever
            await send({"type": "http.response.body", "body": answer})


async def _too_large(send: Send, limit: int) -> None:
    await _refuse(send, 413, f"the request body is larger than {limit} bytes, the limit of this server")


async def _refuse(send: Send, status: int, sentence: str) -> None:
    """Refuse a request nobody has parsed, in the protocol's shape; what follows on the connection is not read."""
    answer: Any = reply_envelope("unknown", "0", Reply(status, sentence))
    body = orjson.dumps(answer)
    headers = [JSON, (b"content-length", b"%d" % len(body)), CLOSING]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
