"""Kept-alive HTTP/1.1 connections to one server, as lean as a request of 200 bytes deserves.

Owns sockets, pooling and time limits. One request at a time on a connection; bytes in, status and bytes out. A
general HTTP client costs several times the CPU of everything else a request needs. Knows no envelope.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import cast
from urllib.parse import urlsplit

import httptools

CONNECT_TIMEOUT_S = 5.0
KEEP_ALIVE_S = 20.0  # below the usual idle limits of servers and proxies, so that we close first
MAX_ANSWER_BYTES = 256 * 1024 * 1024


class HttpConnection(asyncio.Protocol):
    """One socket. `idle_since` is the loop time of its last answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.idle_since = 0.0
        self.usable = False
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._body: list[bytes] = []
        self._size = 0

    async def request(self, message: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Send a whole request and return (status, body).

        Raises:
            OSError: the connection broke; the server may have got the request.
            TimeoutError: no answer within `timeout_s`.
        """
        transport = self._transport
        if transport is None or not self.usable:
            raise ConnectionResetError("the connection was closed before the request")
        answer: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()
        self._answer = answer
        self._parser = httptools.HttpResponseParser(self)
        self._body, self._size = [], 0
        transport.write(message)
        timer = self._loop.call_later(timeout_s, self._fail, TimeoutError("no answer in time"))
        try:
            return await answer
        except BaseException:
            self.abort()  # whatever comes later is the answer to a question nobody remembers
            raise
        finally:
            timer.cancel()

    def abort(self) -> None:
        """Drop it at once."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close it, idle as it is."""
        self.usable = False
        if self._transport is not None:
            self._transport.close()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self.usable = True

    def data_received(self, data: bytes) -> None:
        """Feed the answer's bytes to the parser."""
        if self._parser is None:
            self.abort()  # bytes that nobody asked for
            return
        self._size += len(data)
        if self._size > MAX_ANSWER_BYTES:
            self._fail(ConnectionError(f"an answer of more than {MAX_ANSWER_BYTES} bytes"))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not HTTP/1.1: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone; a request under way has no answer."""
        self.usable = False
        self._fail(exc if isinstance(exc, OSError) else ConnectionResetError("the server closed the connection"))

    # -- httptools callbacks

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Hand out the answer, unless it only announces one (1xx)."""
        parser, answer = self._parser, self._answer
        if parser is None or answer is None:
            return
        status = parser.get_status_code()
        if status < 200:
            return
        if not parser.should_keep_alive():
            self.close()
        self._parser = None
        self.idle_since = self._loop.time()
        if not answer.done():
            answer.set_result((status, self._body[0] if len(self._body) == 1 else b"".join(self._body)))

    def _fail(self, error: OSError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class ConnectionPool:
    """Connections to the server of `url`, made when needed. Lives on one event loop."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self.tls else 80)
        self._idle: deque[HttpConnection] = deque()
        self._open: set[HttpConnection] = set()

    async def request(self, message: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Send a whole request over a free connection; raises like `HttpConnection.request`."""
        connection = self._free() or await self._connect()
        try:
            answer = await connection.request(message, timeout_s)
        except (TimeoutError, asyncio.CancelledError):
            self._distrust()
            raise
        finally:
            if connection.usable:
                self._idle.append(connection)
            else:
                self._open.discard(connection)
        return answer

    def close(self) -> None:
        """Drop every connection."""
        for connection in self._open:
            connection.abort()
        self._open.clear()
        self._idle.clear()

    def _distrust(self) -> None:
        """Drop the idle connections: what silenced one line has often silenced all of them."""
        while self._idle:
            connection = self._idle.pop()
            connection.close()
            self._open.discard(connection)

    def _free(self) -> HttpConnection | None:
        """The connection used last, so that the others may grow old and be closed."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            oldest = self._idle[0]
            if oldest.usable and now - oldest.idle_since < KEEP_ALIVE_S:
                break
            self._idle.popleft().close()
            self._open.discard(oldest)
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            self._open.discard(connection)
        return None

    async def _connect(self) -> HttpConnection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(
                lambda: HttpConnection(loop), self._host, self._port, ssl=self.tls
            )
        self._open.add(connection)
        return connection
