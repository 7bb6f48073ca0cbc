"""The socket and the HTTP/1.1 protocol on it: uvicorn's parser with our limits, inside the running loop.

Owns header and time limits and the graceful stop. uvicorn's own server object is not used: it takes over signals and
wakes ten times a second.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from resonate_mq.server.http.app import HttpApp
from resonate_mq.server.options import ServerConfigError
from resonate_mq.server.parts import HttpParts

logger = logging.getLogger(__name__)

BACKLOG = 2048
KEEP_ALIVE_S = 75.0  # longer than clients keep idle connections, so that they close first
CLOSE_PAUSE_S = 0.02


class _Limits:
    """What one listener allows each connection."""

    def __init__(self, max_header_bytes: int, request_read_s: float) -> None:
        self.max_header_bytes = max_header_bytes
        self.request_read_s = request_read_s


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a bound on the headers' size and on the time a client may take for sending them."""

    limits: _Limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first request."""
        super().connection_made(transport)
        self._header_bytes = 0
        self._patience: asyncio.TimerHandle | None = None
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._header_bytes = 0
        self._wait_for_headers()

    def on_url(self, url: bytes) -> None:
        """Count the request line as well."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header, unless there are too many bytes of them."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Give the request to the app; the body has its own clock there."""
        self._stop_waiting()
        if self._header_bytes <= self.limits.max_header_bytes:
            super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless the connection is being closed for its headers."""
        if not self.transport.is_closing():
            super().data_received(data)

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self.limits.max_header_bytes and not self.transport.is_closing():
            self._refuse(
                b"431 Request Header Fields Too Large",
                f"request line and headers are larger than {self.limits.max_header_bytes} bytes",
            )

    def _wait_for_headers(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(self.limits.request_read_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if not self.transport.is_closing():
            self._refuse(b"408 Request Timeout", f"no request within {self.limits.request_read_s:g} s")

    def _refuse(self, status: bytes, sentence: str) -> None:
        text = sentence.encode()
        self.transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%b" % (status, len(text), text)
        )
        self.transport.close()


@asynccontextmanager
async def listening(parts: HttpParts) -> AsyncIterator[str]:
    """Serve HTTP; yields the URL. On exit no connection is taken any more, requests in progress are finished.

    Raises:
        ServerConfigError: the address cannot be bound; says which and what to do.
    """
    options = parts.options
    app = HttpApp(parts)
    config = Config(
        app, http=LimitedProtocol, ws="none", lifespan="off", loop="none", log_config=None, access_log=False
    )
    config.timeout_keep_alive = KEEP_ALIVE_S  # type: ignore[assignment]  # uvicorn hands it to call_later
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()

    class BoundProtocol(LimitedProtocol):
        limits = _Limits(options.max_header_bytes, options.request_read_s)

    def connect() -> asyncio.Protocol:
        return BoundProtocol(config=config, server_state=state, app_state={}, _loop=loop)

    try:
        server = await loop.create_server(connect, options.host, options.port, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise ServerConfigError(
            f"cannot listen on {options.host}:{options.port}: {error}; is another server running there? "
            "choose another port"
        ) from error
    try:
        yield _url(options.host, server.sockets[0])
    finally:
        app.stop()
        server.close()
        await _drain(state, options.shutdown_s)


def _url(host: str, sock: Any) -> str:
    port = sock.getsockname()[1]
    shown = "127.0.0.1" if host in ("0.0.0.0", "localhost") else "::1" if host == "::" else host
    return f"http://[{shown}]:{port}" if sock.family == socket.AF_INET6 else f"http://{shown}:{port}"


async def _drain(state: ServerState, shutdown_s: float) -> None:
    """Let requests in progress end, close idle connections, then close the rest."""
    for connection in list(state.connections):
        connection.shutdown()
    try:
        async with asyncio.timeout(shutdown_s):
            while state.tasks:
                await asyncio.wait(list(state.tasks))
            # transports flush what was written to them before they close
            for _ in range(10):
                if not state.connections:
                    break
                await asyncio.sleep(CLOSE_PAUSE_S)
    except TimeoutError:
        logger.warning("requests were cut off by the stop", extra={"requests": len(state.tasks)})
        for task in list(state.tasks):
            task.cancel()
    for connection in list(state.connections):
        connection.transport.close()
