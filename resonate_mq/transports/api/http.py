"""The HTTP channel: `POST /` with the envelope, over kept-alive connections. aiohttp is imported at the first open.

The HTTP status is ignored wherever the body is an envelope (protocol section 1.4); 300 is an answer, not a
redirect.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson

from resonate_mq.transports.api.port import Envelope
from resonate_mq.transports.port import TransportConfigError, TransportError

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 30.0  # a server that is stopped in the middle must not hold a request for ever
KEEP_ALIVE_S = 20.0  # below the usual idle limits of servers and proxies, so that we close first
_RETRYABLE_TEXT = frozenset({408, 425, 429, 500, 502, 503, 504})


class HttpChannel:
    """A server reached by its URL.

    Args:
        url: `http://host:port`, optionally with a path; user and password in it become Basic authentication.
        token: bearer token for the `Authorization` header; the requester puts it in `head.auth` as well.
        basic_auth: (user, password), instead of a token.
        request_timeout_s: seconds for one request, connecting included.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        basic_auth: tuple[str, str] | None = None,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TransportConfigError(f"server url {url!r}: expected http://HOST:PORT or https://HOST:PORT")
        if parts.username and basic_auth is None:
            basic_auth = (parts.username, parts.password or "")
        host = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
        self.name = urlunsplit((parts.scheme, host, parts.path, "", "")).rstrip("/")
        self._token = token
        self._basic_auth = basic_auth
        self._timeout_s = request_timeout_s
        self._session: Any = None
        self._failures: tuple[type[Exception], ...] = ()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[HttpChannel]:
        """Prepare a connection pool; nothing is dialled before the first request."""
        import aiohttp  # lazily: 0.26 s of import time (D39)

        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        elif self._basic_auth is not None:
            headers["Authorization"] = "Basic " + b64encode(":".join(self._basic_auth).encode()).decode()
        self._failures = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
        session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_TIMEOUT_S),
            connector=aiohttp.TCPConnector(limit=128, keepalive_timeout=KEEP_ALIVE_S),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        try:
            async with session:
                self._session = session
                yield self
        finally:
            self._session = None

    async def send(self, envelope: Envelope) -> Envelope:
        """Return the answer's envelope; a refusal in plain text (413, 431, a proxy's 403) becomes one.

        Raises:
            TransportError: the server cannot be reached, or did not answer as a server of this protocol.
        """
        status, answer = await self._exchange("POST", self.url, orjson.dumps(envelope))
        try:
            decoded = orjson.loads(answer)
        except ValueError:
            decoded = None
        if type(decoded) is dict and type(decoded.get("head")) is dict and "kind" in decoded:
            return decoded
        return self._plain_refusal(envelope, status, answer)

    async def server_info(self, head: dict[str, Any] | None) -> dict[str, Any] | None:
        """Ask `GET /capabilities`, which an official server does not have.

        Raises:
            TransportError: no answer, or none for the moment.
        """
        path, mark, query = self.url.partition("?")
        status, answer = await self._exchange("GET", f"{path.rstrip('/')}/capabilities{mark}{query}", None, head)
        if status in _RETRYABLE_TEXT:
            raise TransportError(f"{self.name}: HTTP {status} to GET /capabilities")
        try:
            decoded = orjson.loads(answer) if status == 200 else None
        except ValueError:
            return None
        return decoded if type(decoded) is dict else None

    async def _exchange(
        self, method: str, url: str, body: bytes | None, head: dict[str, Any] | None = None
    ) -> tuple[int, bytes]:
        if self._session is None:
            raise TransportConfigError(f"{self.name}: the channel is closed; use it inside its open() scope")
        headers = {"Authorization": f"Bearer {head['auth']}"} if head and "auth" in head else None
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return response.status, await response.read()
        except self._failures as error:
            raise TransportError(f"{self.name}: {_reason(error)}") from error

    def _plain_refusal(self, envelope: Envelope, status: int, answer: bytes) -> Envelope:
        text = answer[:200].decode("utf-8", "replace").strip() or "(empty body)"
        if status in _RETRYABLE_TEXT or not 400 <= status < 500:
            raise TransportError(
                f"{self.name}: HTTP {status} without an envelope: {text!r}; is a Resonate server behind this URL?"
            )
        head = {**envelope["head"], "status": status}
        return {"kind": envelope["kind"], "head": head, "data": f"HTTP {status}: {text}"}


def _reason(error: Exception) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
