"""The HTTP channel: `POST /` with the envelope, over kept-alive connections.

The HTTP status is ignored wherever the body is an envelope (protocol section 1.4); 300 is an answer, not a
redirect, and no redirect is ever followed: it would carry the token elsewhere.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import orjson

from resonate_mq.transports.api.connection import ConnectionPool
from resonate_mq.transports.api.port import Envelope
from resonate_mq.transports.port import TransportConfigError, TransportError

REQUEST_TIMEOUT_S = 30.0  # a server that is stopped in the middle must not hold a request for ever
_RETRYABLE_TEXT = frozenset({408, 425, 429, 500, 502, 503, 504})


class HttpChannel:
    """A server reached by its URL.

    Args:
        url: `http://host:port`, optionally with a path; user and password in it become Basic authentication.
        token: bearer token for the `Authorization` header; the requester puts it in `head.auth` as well.
        basic_auth: (user, password), instead of a token.
        request_timeout_s: seconds one request may take once it is connected.

    Raises:
        TransportConfigError: the URL is not an HTTP URL.
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
            basic_auth = (unquote(parts.username), unquote(parts.password or ""))
        host = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
        self.name = urlunsplit((parts.scheme, host, parts.path, "", "")).rstrip("/")
        self._timeout_s = request_timeout_s
        self._pool: ConnectionPool | None = None
        authorization = None
        if token is not None:
            authorization = f"Bearer {token}"
        elif basic_auth is not None:
            authorization = "Basic " + b64encode(":".join(basic_auth).encode()).decode()
        self._authorization = authorization
        query = f"?{parts.query}" if parts.query else ""
        self._post = _head("POST", f"{parts.path or '/'}{query}", host, authorization)
        self._info_target = f"{parts.path.rstrip('/')}/capabilities{query}"
        self._host = host

    @asynccontextmanager
    async def open(self) -> AsyncIterator[HttpChannel]:
        """Prepare a connection pool; nothing is dialled before the first request."""
        pool = self._pool = ConnectionPool(self.url)
        try:
            yield self
        finally:
            self._pool = None
            pool.close()

    async def send(self, envelope: Envelope) -> Envelope:
        """Return the answer's envelope; a refusal in plain text (413, 431, a proxy's 403) becomes one.

        Raises:
            TransportError: the server cannot be reached, or did not answer as a server of this protocol.
        """
        body = orjson.dumps(envelope)
        status, answer = await self._exchange(b"%s%d\r\n\r\n%s" % (self._post, len(body), body))
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
        authorization = f"Bearer {head['auth']}" if head and "auth" in head else self._authorization
        request = _head("GET", self._info_target, self._host, authorization) + b"0\r\n\r\n"
        status, answer = await self._exchange(request)
        if status in _RETRYABLE_TEXT:
            raise TransportError(f"{self.name}: HTTP {status} to GET /capabilities")
        try:
            decoded = orjson.loads(answer) if status == 200 else None
        except ValueError:
            return None
        return decoded if type(decoded) is dict else None

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if self._pool is None:
            raise TransportConfigError(f"{self.name}: the channel is closed; use it inside its open() scope")
        try:
            return await self._pool.request(request, self._timeout_s)
        except TimeoutError as error:
            raise TransportError(f"{self.name}: no answer in time") from error
        except OSError as error:
            raise TransportError(f"{self.name}: {str(error) or type(error).__name__}") from error

    def _plain_refusal(self, envelope: Envelope, status: int, answer: bytes) -> Envelope:
        text = answer[:200].decode("utf-8", "replace").strip() or "(empty body)"
        if status in _RETRYABLE_TEXT or not 400 <= status < 500:
            raise TransportError(
                f"{self.name}: HTTP {status} without an envelope: {text!r}; is a Resonate server behind this URL?"
            )
        head = {**envelope["head"], "status": status}
        return {"kind": envelope["kind"], "head": head, "data": f"HTTP {status}: {text}"}


def _head(method: str, target: str, host: str, authorization: str | None) -> bytes:
    """Return a request's head up to the value of Content-Length.

    Raises:
        TransportConfigError: a line break in a part of it would smuggle a header.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Content-Type: application/json"]
    if authorization is not None:
        lines.append(f"Authorization: {authorization}")
    if any("\r" in line or "\n" in line or not line.isascii() for line in lines):
        raise TransportConfigError("url or token: characters that cannot stand in an HTTP header")
    return "\r\n".join([*lines, "Content-Length: "]).encode()
