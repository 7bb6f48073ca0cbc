"""The health port: /health, /ready and /metrics over the smallest HTTP/1.1 that probes and Prometheus speak.

Runs on the lease thread's loop, so that it answers while the worker's own loop is blocked, and says so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

REQUEST_S = 5.0
MAX_REQUEST_BYTES = 8192

Ready = Callable[[], tuple[bool, str]]


def parse_listen(text: str) -> tuple[str, int]:
    """Split `HOST:PORT` or `PORT`; the host defaults to 127.0.0.1.

    Raises:
        ValueError: says what was found and what was expected.
    """
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError(f"health: expected HOST:PORT, got {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


class HealthPort:
    """Answers probes.

    Args:
        listen: `HOST:PORT`.
        ready: whether the worker takes work, and the reason when it does not.
        metrics: Prometheus text.
    """

    def __init__(self, listen: str, ready: Ready, metrics: Callable[[], str]) -> None:
        self._host, self._port = parse_listen(listen)
        self._ready = ready
        self._metrics = metrics
        self.address = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[HealthPort]:
        """Listen while the scope lasts.

        Raises:
            OSError: the port is taken, or the host is not one of this machine.
        """
        async with await asyncio.start_server(self._serve, self._host, self._port, limit=MAX_REQUEST_BYTES) as server:
            host, port = server.sockets[0].getsockname()[:2]
            self.address = f"{host}:{port}"
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(request))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # a probe that went away or never asked
        finally:
            writer.close()

    def _answer(self, request: bytes) -> bytes:
        parts = request.split(b"\r\n", 1)[0].split(b" ")
        if len(parts) != 3 or parts[0] not in (b"GET", b"HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", "only GET\n")
        path = parts[1].split(b"?", 1)[0]
        if path == b"/health":
            return _response(HTTPStatus.OK, "application/json", '{"status":"ok"}\n')
        if path == b"/ready":
            ready, reason = self._ready()
            status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
            body = {"status": "ready"} if ready else {"status": "not ready", "reason": reason}
            return _response(status, "application/json", json.dumps(body) + "\n")
        if path == b"/metrics":
            return _response(HTTPStatus.OK, "text/plain; version=0.0.4", self._metrics())
        return _response(HTTPStatus.NOT_FOUND, "text/plain", "/health, /ready, /metrics\n")


def _response(status: HTTPStatus, content_type: str, body: str) -> bytes:
    payload = body.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + payload
