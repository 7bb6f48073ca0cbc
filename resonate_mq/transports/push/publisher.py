"""Pushes messages by HTTP: POST with the JSON message, any 2xx is a delivery. No redirects, no proxies, no cookies.

A function answers when its work is done, so requests may be long; they are bounded in number, per host and in all.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import quote, urlsplit

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult

from resonate_mq.transports.masking import mask_secrets
from resonate_mq.transports.port import Guarantees, Outcome, Outgoing, Report
from resonate_mq.transports.push.allowed import AllowedHosts, address_refusal

CONNECT_S = 10.0
REQUEST_S = 180.0  # what official push workers count on
CONCURRENCY = 256
CONCURRENCY_PER_HOST = 64
CLOSE_S = 5.0  # for requests under way when the transport closes
MAX_SHOWN_BYTES = 200
MAX_HEADER_BYTES = 500


class HttpPush:
    """Publishes to `http://` and `https://` addresses.

    Args:
        name: `http` or `https`, the scheme of the addresses it serves.
        hosts: where messages may go, see `AllowedHosts`; empty means off (D28).
        token: bearer token sent along.
        request_s: seconds for one request.
        concurrency: requests under way at one time.
        concurrency_per_host: the same per host, so that one slow host leaves room for others.
    """

    guarantees = Guarantees(
        keeps_without_consumer=False,
        survives_broker_restart=False,
        redelivers=False,
        packs=False,
        knows_consumers=False,
    )

    def __init__(
        self,
        name: str = "http",
        hosts: Iterable[str] = (),
        token: str | None = None,
        *,
        request_s: float = REQUEST_S,
        concurrency: int = CONCURRENCY,
        concurrency_per_host: int = CONCURRENCY_PER_HOST,
    ) -> None:
        self.name = name
        self._allowed = AllowedHosts(hosts)
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._request_s = request_s
        self._concurrency = concurrency
        self._per_host = concurrency_per_host
        self._on_ready: list[Callable[[str], None]] = []
        self._session: aiohttp.ClientSession | None = None
        self._under_way: dict[asyncio.Task[None], None] = {}
        self._at_host: Counter[str] = Counter()
        self._waiting: dict[str, set[str]] = {}  # host -> destinations that found no room

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator["HttpPush"]:
        session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=self._request_s, sock_connect=CONNECT_S),
            connector=aiohttp.TCPConnector(limit=0, resolver=_CheckedResolver()),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        async with session:
            self._session = session
            try:
                yield self
            finally:
                self._session = None
                if self._under_way:
                    await asyncio.wait(set(self._under_way), timeout=CLOSE_S)
                for task in list(self._under_way):
                    task.cancel()
                if self._under_way:
                    await asyncio.wait(set(self._under_way))

    def open(self) -> AbstractAsyncContextManager["HttpPush"]:
        """Take messages; on exit wait a moment for requests under way, then give them up."""
        return self._opened()

    def healthy(self) -> tuple[bool, str]:
        """Return (True, "") while open: there is no broker that could be away."""
        return (True, "") if self._session is not None else (False, f"transport '{self.name}' is not open")

    def unicast(self, group: str, pid: str) -> str:
        """Return the URL of a process, which is its name."""
        return pid

    def on_ready(self, callback: Callable[[str], None]) -> None:
        """Register a callback for destinations that have room again."""
        self._on_ready.append(callback)

    async def publish(self, batch: Sequence[Outgoing], report: Report) -> None:
        """Start a request per message; refused ones and those without room are reported before this returns."""
        for outgoing in batch:
            url = str(outgoing.address)
            session = self._session
            if session is None:
                report(outgoing, Outcome.FAILED, f"transport '{self.name}' is not open")
                continue
            refusal = self._refusal(outgoing)
            if refusal:
                report(outgoing, Outcome.FAILED, refusal)
                continue
            host = urlsplit(url).netloc
            if self._at_host[host] >= self._per_host or len(self._under_way) >= self._concurrency:
                self._waiting.setdefault(host, set()).add(url)
                report(outgoing, Outcome.NO_CONSUMER, f"{self._at_host[host]} requests to '{host}' are under way")
                continue
            self._start(session, outgoing, host, report)

    def _refusal(self, outgoing: Outgoing) -> str:
        address = outgoing.address
        if address.cast != "raw":
            return f"transport '{self.name}' pushes to URLs only, not to {address}"
        return self._allowed.refusal(str(address))

    def _start(self, session: aiohttp.ClientSession, outgoing: Outgoing, host: str, report: Report) -> None:
        self._at_host[host] += 1
        task = asyncio.create_task(self._push(session, outgoing, report))
        self._under_way[task] = None

        def ended(_: object) -> None:
            del self._under_way[task]
            self._at_host[host] -= 1
            if not self._at_host[host]:
                del self._at_host[host]
            self._room_at(host)

        task.add_done_callback(ended)

    def _room_at(self, host: str) -> None:
        waiting = self._waiting.pop(host, None)
        if waiting is None and self._waiting:
            waiting = self._waiting.pop(next(iter(self._waiting)))  # it was the room in all that was missing
        for destination in waiting or ():
            for callback in self._on_ready:
                callback(destination)

    async def _push(self, session: aiohttp.ClientSession, outgoing: Outgoing, report: Report) -> None:
        url = str(outgoing.address)
        shown = mask_secrets(url)
        outcome, reason = Outcome.FAILED, f"{shown}: given up, the transport closed"
        try:
            async with session.post(
                yarl.URL(url), data=outgoing.payload, headers={"Message-Id": _header(outgoing)}, allow_redirects=False
            ) as response:
                if 200 <= response.status < 300:
                    outcome, reason = Outcome.CONFIRMED, ""
                else:
                    reason = f"{shown} answered {response.status}: {await _beginning(response)}"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
            reason = f"{shown}: {mask_secrets(str(cause)) or type(cause).__name__}"
        finally:
            report(outgoing, outcome, reason)


class _CheckedResolver(AbstractResolver):
    """Refuses names that lead to addresses nobody may push to, whatever the name says (D28)."""

    def __init__(self) -> None:
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await self._inner.resolve(host, port, family)
        for result in results:
            refusal = address_refusal(result["host"])
            if refusal:
                raise OSError(f"host '{host}': {refusal}")
        return results

    async def close(self) -> None:
        await self._inner.close()


def _header(outgoing: Outgoing) -> str:
    return quote(outgoing.message_id, safe="/:@!$&'()*+,;=~ ")[:MAX_HEADER_BYTES]


async def _beginning(response: aiohttp.ClientResponse) -> str:
    beginning = await response.content.read(MAX_SHOWN_BYTES)
    return beginning.decode("utf-8", "replace").strip()
